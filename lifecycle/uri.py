"""The grammar of ``alluxio://`` URIs: which resource, and which of its versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from alluxio_lance.errors import InvalidURI

__all__ = [
    "GRAMMAR",
    "Active",
    "ContentHash",
    "FilePath",
    "Label",
    "LanceVersion",
    "ResourceName",
    "Selector",
    "SemverPrefix",
    "parse_name",
    "parse_selector",
    "parse_uri",
]

GRAMMAR: Final = """\
alluxio://TYPE/NAME               the active version (NAME may contain slashes)
alluxio://TYPE/NAME@1.4.0         a semantic version; @1.4 the highest 1.4.x, @1 the highest 1.x.y
alluxio://TYPE/NAME@1.4.0-exp.3   the third version of the branch exp, which began at 1.4.0
alluxio://TYPE/NAME@v7            the Lance version 7
alluxio://TYPE/NAME@sha-3fa9c1d2  a content hash (at least 8 hexadecimal digits)
alluxio://TYPE/NAME@production    a stage, a tag, or a branch (its newest version)
alluxio:///path/to/file           a plain file path in the Alluxio namespace"""

_SCHEME: Final = "alluxio://"
_WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LONGEST_NAME: Final = 200
_NUMBERS: Final = re.compile(r"(0|[1-9]\d{0,8})(?:\.(0|[1-9]\d{0,8}))?(?:\.(0|[1-9]\d{0,8}))?", re.ASCII)
_ON_BRANCH: Final = re.compile(
    r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})-([A-Za-z][A-Za-z0-9-]{0,62})\.([1-9]\d{0,8})", re.ASCII
)
_LANCE: Final = re.compile(r"v([1-9]\d{0,17})", re.ASCII)
_LIKE_LANCE: Final = re.compile(r"v\d+")
_HASH: Final = re.compile(r"sha-([0-9a-f]{8,64})")
_LABEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Active:
    """The active version."""

    def __str__(self) -> str:
        return "active"


@dataclass(frozen=True, slots=True)
class SemverPrefix:
    """One semantic version, or the highest of the main line that begins with these numbers."""

    major: int
    minor: int | None = None
    patch: int | None = None
    branch: str = ""
    """With ``serial``, a whole version on a branch: ``1.4.0-exp.3``."""
    serial: int = 0

    def __str__(self) -> str:
        numbers = ".".join(str(part) for part in (self.major, self.minor, self.patch) if part is not None)
        return f"{numbers}-{self.branch}.{self.serial}" if self.branch else numbers


@dataclass(frozen=True, slots=True)
class LanceVersion:
    """The version of the Lance table with this number."""

    number: int

    def __str__(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True, slots=True)
class ContentHash:
    """The version whose content hash begins with these digits."""

    prefix: str

    def __str__(self) -> str:
        return f"sha-{self.prefix}"


@dataclass(frozen=True, slots=True)
class Label:
    """The version that holds this stage or tag, or the newest one of this branch."""

    text: str

    def __str__(self) -> str:
        return self.text


Selector = Active | SemverPrefix | LanceVersion | ContentHash | Label


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A resource and a selector of one of its versions."""

    type: str
    name: str
    selector: Selector = Active()

    def __str__(self) -> str:
        plain = f"{_SCHEME}{self.type}/{self.name}"
        return plain if isinstance(self.selector, Active) else f"{plain}@{self.selector}"


@dataclass(frozen=True, slots=True)
class FilePath:
    """A plain file in the Alluxio namespace."""

    path: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.path}"


def _fault(text: str, place: int, why: str) -> InvalidURI:
    pointer = " " * place + "^"
    return InvalidURI(f"{why}\n  {text}\n  {pointer}\nThe grammar is:\n{GRAMMAR}", uri=text, place=place)


def _word_fault(segment: str) -> str | None:
    if not segment:
        return "a part of the name is empty"
    if not _WORD.fullmatch(segment):
        return (
            f"{segment!r} may only have letters, digits, '.', '_' and '-', and begins and ends with a letter or digit"
        )
    if segment.endswith(".lance"):
        return f"{segment!r} may not end with '.lance', the ending of tables"
    return None


def parse_uri(text: str) -> ResourceName | FilePath:
    """Read an ``alluxio://`` URI.

    Raises
    ------
    InvalidURI
        With the place of the fault (``details["place"]``, a column) and the grammar.
    """
    if not text.startswith(_SCHEME):
        raise _fault(text, 0, f"a URI begins with {_SCHEME}")
    rest = text[len(_SCHEME) :]
    if rest.startswith("/"):
        return _parse_path(text, rest)
    path, at, selector = rest.partition("@")
    type_, slash, name = path.partition("/")
    if not slash or not name:
        raise _fault(text, len(_SCHEME) + len(path), "a name must follow the type: TYPE/NAME")
    place = len(_SCHEME)
    for segment in path.split("/"):
        why = _word_fault(segment)
        if why:
            raise _fault(text, place, why)
        place += len(segment) + 1
    if len(path) > _LONGEST_NAME:
        raise _fault(text, len(_SCHEME) + _LONGEST_NAME, f"type and name have at most {_LONGEST_NAME} characters")
    return ResourceName(type_, name, _selector(text, place, selector) if at else Active())


def _parse_path(text: str, path: str) -> FilePath:
    place = len(_SCHEME) + 1
    for segment in path[1:].split("/"):
        if segment in ("", ".", ".."):
            raise _fault(text, place, "a path has no empty parts, '.' or '..'")
        if "\0" in segment:
            raise _fault(text, place, "a path has no NUL character")
        place += len(segment) + 1
    return FilePath(path)


def _selector(text: str, place: int, selector: str) -> Selector:
    if selector == "active":
        return Active()
    if match := _NUMBERS.fullmatch(selector):
        return SemverPrefix(*(None if part is None else int(part) for part in match.groups()))  # type: ignore[arg-type]  # the first group always matches
    if match := _ON_BRANCH.fullmatch(selector):
        major, minor, patch, branch, serial = match.groups()
        return SemverPrefix(int(major), int(minor), int(patch), branch, int(serial))
    if match := _LANCE.fullmatch(selector):
        return LanceVersion(int(match[1]))
    if match := _HASH.fullmatch(selector):
        return ContentHash(match[1])
    if selector.startswith("sha-"):
        raise _fault(text, place, "a content hash is 'sha-' and 8 to 64 hexadecimal digits in lower case")
    if _LABEL.fullmatch(selector) and not _LIKE_LANCE.fullmatch(selector):
        return Label(selector)
    raise _fault(text, place, f"{selector!r} is no version, hash, stage, tag or branch")


def parse_selector(text: str) -> Selector:
    """Read what may stand behind the ``@``: ``1.4.0``, ``1.4``, ``v7``, ``sha-…``, ``production``.

    Raises
    ------
    InvalidURI
        When the text is none of these.
    """
    return _selector(text, 0, text.removeprefix("@"))


def parse_name(type: str, name: str) -> ResourceName:
    """Check a type and a name that came apart, as the manager's verbs take them.

    Raises
    ------
    InvalidURI
        When either would not fit into a URI.
    """
    parsed = parse_uri(f"{_SCHEME}{type}/{name}")
    if not isinstance(parsed, ResourceName) or parsed.type != type or parsed.name != name:
        raise InvalidURI(f"{type!r} and {name!r} are no type and name of a resource\nThe grammar is:\n{GRAMMAR}")
    return parsed
