"""Semantic versions: reading them, and choosing the next one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa
import semver

from alluxio_lance.errors import AlreadyExists, InvalidArgument
from alluxio_lance.manager import Bump, Mode

__all__ = ["Triple", "is_compatible", "natural_bump", "next_version", "parse_version"]

Triple = tuple[int, int, int]

_HIGHEST: Final = 999_999_999
"""What a URI may name, and the columns of the catalog hold on every engine."""


def parse_version(text: str) -> Triple:
    """Read ``MAJOR.MINOR.PATCH``.

    Raises
    ------
    InvalidArgument
        When it is something else. Pre-releases and build parts are refused: the content hash is the build part here,
        and stages say what is not yet released.
    """
    try:
        parsed = semver.Version.parse(text)
    except (TypeError, ValueError):
        raise InvalidArgument(f"{text!r} is no semantic version: give MAJOR.MINOR.PATCH, such as 1.4.0") from None
    if parsed.prerelease or parsed.build:
        raise InvalidArgument(f"{text!r} has a pre-release or build part: give MAJOR.MINOR.PATCH alone")
    return _checked((parsed.major, parsed.minor, parsed.patch))


def _checked(version: Triple) -> Triple:
    if max(version) > _HIGHEST:
        raise InvalidArgument(f"version {'.'.join(map(str, version))} has a number above {_HIGHEST:,}")
    return version


def is_compatible(old: pa.Schema, new: pa.Schema) -> bool:
    """Tell whether a reader of ``old`` can read ``new``: every column is there, with its type, and no new nulls."""
    for field in old:
        at = new.get_field_index(field.name)
        if at < 0:
            return False
        candidate = new.field(at)
        if candidate.type != field.type or (candidate.nullable and not field.nullable):
            return False
    return True


def natural_bump(mode: Mode | None, old: pa.Schema, new: pa.Schema) -> Bump:
    """Choose what changes: metadata alone (``mode`` None) the patch, rows the minor, an incompatible schema the major."""
    if not is_compatible(old, new):
        return "major"
    return "patch" if mode is None else "minor"


def next_version(base: Triple, bump: Bump, taken: Iterable[Triple]) -> Triple:
    """Bump ``base``; where the result is taken (after a rollback), go on from the highest version of its line.

    Raises
    ------
    InvalidArgument
        When the number would be too high.
    """
    versions = set(taken)
    major, minor, patch = base
    if bump == "major":
        return _checked((max([major, *(v[0] for v in versions)]) + 1, 0, 0))
    if bump == "minor":
        return _checked((major, max([minor, *(v[1] for v in versions if v[0] == major)]) + 1, 0))
    return _checked((major, minor, max([patch, *(v[2] for v in versions if v[:2] == (major, minor))]) + 1))


def chosen_version(text: str, taken: Iterable[Triple]) -> Triple:
    """Read a version that the caller chose.

    Raises
    ------
    AlreadyExists
        When it is taken: versions never change.
    """
    chosen = parse_version(text)
    if chosen in set(taken):
        raise AlreadyExists(
            f"version {text} exists already, and versions never change: choose another, or leave it out"
        )
    return chosen
