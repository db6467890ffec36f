"""Semantic versions as the catalog's columns hold them: ``1.4.0``, and ``1.4.0-exp.3`` on a branch."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import sqlalchemy as sa

from alluxio_lance.catalog.schema import versions
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.ports import Draft

__all__ = ["SEMVER", "Numbers", "draft_text", "numbers", "semver_is", "semver_text"]

_V = versions.c
_GRAMMAR: Final = re.compile(
    r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:-([A-Za-z][A-Za-z0-9-]{0,62})\.([1-9][0-9]{0,8}))?", re.ASCII
)


class Numbers(NamedTuple):
    """The parts of a semantic version."""

    major: int
    minor: int
    patch: int
    branch: str = ""
    serial: int = 0


def semver_text(major: int, minor: int, patch: int, branch: str = "", serial: int = 0) -> str:
    """Write a semantic version."""
    return f"{major}.{minor}.{patch}-{branch}.{serial}" if branch else f"{major}.{minor}.{patch}"


def draft_text(draft: Draft) -> str:
    """Write the semantic version that a draft will have."""
    return semver_text(*draft.semver, draft.branch, draft.serial)


def numbers(semver: str) -> Numbers:
    """Read a semantic version.

    Raises
    ------
    InvalidArgument
        When the text is neither MAJOR.MINOR.PATCH nor MAJOR.MINOR.PATCH-BRANCH.N.
    """
    match = _GRAMMAR.fullmatch(semver)
    if match is None:
        raise InvalidArgument(
            f"{semver!r} is no semantic version: give MAJOR.MINOR.PATCH, as in 1.4.0, or with a branch 1.4.0-exp.3"
        )
    major, minor, patch, branch, serial = match.groups()
    return Numbers(int(major), int(minor), int(patch), branch or "", int(serial or 0))


SEMVER: Final = sa.and_(*(_V[part] == sa.bindparam(part) for part in ("branch", "major", "minor", "patch", "serial")))
"""The condition that a version is the one whose `numbers` are bound, for statements that are built once."""


def semver_is(semver: str) -> sa.ColumnElement[bool]:
    """Build the condition that a version is this one."""
    major, minor, patch, branch, serial = numbers(semver)
    return sa.and_(_V.branch == branch, _V.major == major, _V.minor == minor, _V.patch == patch, _V.serial == serial)
