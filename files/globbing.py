"""Patterns of paths: ``*`` and ``?`` within a name, ``[…]`` one character of it, ``**`` any folders.

As in a shell, a name that begins with a dot matches only a pattern that begins with one: such are unfinished files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.files.namespace import FileStatus

__all__ = ["glob", "has_magic"]

_MAGIC: Final = re.compile(r"[*?[]")
_ANY: Final = "**"

Lister = Callable[[str, bool], list[FileStatus]]
"""Lists a folder, with all that lies below when the second argument is true."""


def has_magic(path: str) -> bool:
    """Tell whether it is a pattern."""
    return _MAGIC.search(path) is not None


def glob(pattern: str, listed: Lister) -> list[FileStatus]:
    """Find the files that match an absolute pattern, sorted by path; folders that cannot match are not listed."""
    parts = pattern.strip("/").split("/")
    fixed = next((at for at, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
    return sorted(_below("/" + "/".join(parts[:fixed]), parts[fixed:], listed), key=lambda file: file.path)


def _below(folder: str, parts: list[str], listed: Lister) -> list[FileStatus]:
    first, rest = parts[0], parts[1:]
    deep = first == _ANY
    try:
        found = listed(folder, deep)
    except NotFound:
        # Nothing matches, or the folder went away while others were listed.
        return []
    if deep:
        matches = _expression(parts).fullmatch
        start = len(folder.rstrip("/")) + 1
        return [file for file in found if not file.is_folder and matches(file.path[start:])]
    matches = _expression([first]).fullmatch
    named = [file for file in found if matches(file.path.rpartition("/")[2])]
    if not rest:
        return [file for file in named if not file.is_folder]
    return [file for each in named if each.is_folder for file in _below(each.path, rest, listed)]


def _expression(parts: list[str]) -> re.Pattern[str]:
    *folders, last = parts
    above = "".join(_DEEP if part == _ANY else f"{_name(part)}/" for part in folders)
    try:
        return re.compile(above + (f"{_DEEP}[^/.][^/]*" if last == _ANY else _name(last)), re.DOTALL)
    except re.error as error:
        raise InvalidArgument(f"{'/'.join(parts)!r} is no pattern: {error.msg}") from None


def _name(part: str) -> str:
    """Write a pattern of one name as a regular expression that does not cross a slash."""
    hidden = r"(?!\.)" if part[0] in "*?[" else ""
    return hidden + "".join(_RUNS.get(token[0]) or _token(token) for token in _TOKEN.findall(part))


def _token(token: str) -> str:
    if len(token) == 1:
        return re.escape(token)
    inside = _SPECIAL.sub(r"\\\g<0>", token[1:-1])
    return f"(?!/)[^{inside[1:]}]" if inside.startswith("!") and len(inside) > 1 else f"(?!/)[{inside}]"


_TOKEN: Final = re.compile(r"\*+|\[!?(?:\][^\]]*|[^\]]+)\]|.", re.DOTALL)
_DEEP: Final = "(?:[^/.][^/]*/)*"
_RUNS: Final = {"*": "[^/]*", "?": "[^/]"}
_SPECIAL: Final = re.compile(r"[\\\[&~|^]")
