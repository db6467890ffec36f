"""What register, update and merge were called with, as the journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alluxio_lance.errors import AlreadyExists, InvalidArgument
from alluxio_lance.lifecycle.versioning import parse_version
from alluxio_lance.manager import Bump, Mode

__all__ = ["MergeParams", "RegisterParams", "UpdateParams", "already_there", "as_params", "check_bump", "check_update"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterParams:
    """What register was called with."""

    version: str | None
    message: str
    metadata: Mapping[str, Any]
    provenance: Mapping[str, Any]
    activate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateParams:
    """What update was called with, and from where it continues."""

    mode: Mode | None
    """None: only the metadata change."""
    on: Sequence[str]
    bump: Bump | None
    version: str | None
    message: str
    metadata: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    activate: bool
    branch: str = ""
    base: str | None = None
    """The semantic version that it continues from, recorded before the first byte is written: the pointer may have moved
    when somebody completes it after a crash. None until then."""
    active: str | None = None
    """The version that was active then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeParams:
    """What merge was called with, and what it brings where."""

    branch: str
    bump: Bump | None
    message: str
    activate: bool
    source: str | None = None
    """The semantic version of the branch, recorded before the first byte is written."""
    base: str | None = None
    """That of the main line which the new version follows, recorded with it."""
    active: str | None = None
    """The version that was active then."""


def as_params(params: RegisterParams | UpdateParams | MergeParams) -> dict[str, Any]:
    """Write parameters as the journal keeps them."""
    return asdict(params)


def already_there(type: str, name: str) -> AlreadyExists:
    """Make the error of a name that is taken."""
    return AlreadyExists(f"{type}/{name} exists already: use `alluxio-lance update {type}/{name} …` for a new version")


def check_update(mode: Mode, on: Sequence[str], bump: Bump | None, version: str | None, branch: str = "") -> None:
    """Refuse arguments of update that do not go together.

    Raises
    ------
    InvalidArgument
        With what is accepted.
    """
    if mode not in ("append", "overwrite", "upsert"):
        raise InvalidArgument(f"mode {mode!r} is unknown: give append, overwrite or upsert")
    if mode == "upsert" and not on:
        raise InvalidArgument("an upsert needs the key columns: give on='id'")
    if mode != "upsert" and on:
        raise InvalidArgument(f"on={list(on)!r} goes with mode='upsert' only")
    check_bump(bump)
    if version is not None:
        parse_version(version)
        if bump is not None:
            raise InvalidArgument("bump and version exclude each other: give one")
    if branch and (bump or version):
        raise InvalidArgument(
            f"a version on the branch {branch!r} is called after the branch, with the next number: leave bump and version out"
        )


def check_bump(bump: Bump | None) -> None:
    """Refuse an unknown part of a semantic version.

    Raises
    ------
    InvalidArgument
        With what is accepted.
    """
    if bump not in (None, "major", "minor", "patch"):
        raise InvalidArgument(f"bump {bump!r} is unknown: give major, minor or patch")
