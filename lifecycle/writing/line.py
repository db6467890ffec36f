"""A line of versions, the main one or a branch, as the catalog knows it: read once for each write, under the commit lock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from alluxio_lance.errors import NotActive, NotFound, Restoring
from alluxio_lance.lifecycle.ports import Catalog, Store
from alluxio_lance.lifecycle.versioning import Triple, parse_version
from alluxio_lance.values import State, Version

__all__ = ["Line", "read_line", "triple_of"]

_USABLE: Final = (State.ACTIVE, State.REGISTERED, State.DEPRECATED)


@dataclass(frozen=True, kw_only=True)
class Line:
    """All versions of a line, and where its table lies.

    Versions come and go only under the commit lock, so who holds it reads them once. Their states may change meanwhile.
    """

    type: str
    name: str
    branch: str
    """Empty: the main line."""
    location: str
    """Of the line's own table."""
    versions: tuple[Version, ...]
    """Those that wait to be purged included: their numbers are taken, and their rows are still there."""

    @property
    def resource(self) -> str:
        """The name for messages."""
        return f"{self.type}/{self.name}"

    @cached_property
    def active(self) -> Version | None:
        """The active version, which is always one of the main line."""
        return next((version for version in self.versions if version.state is State.ACTIVE), None)

    @property
    def active_semver(self) -> str | None:
        """Its semantic version."""
        return self.active.semver if self.active else None

    @cached_property
    def known(self) -> frozenset[int]:
        """Lance's numbers of all versions. Those of archived ones are not in the hot table, and belong to them still."""
        return frozenset(version.version for version in self.versions)

    @property
    def highest(self) -> int:
        """The highest of these numbers; 0 when there is none."""
        return max(self.known, default=0)

    @property
    def taken(self) -> list[Triple]:
        """The semantic versions that no new version may get."""
        return [triple_of(version) for version in self.versions]

    @property
    def next_serial(self) -> int:
        """The number behind the branch's name that the next version gets."""
        return max((int(version.semver.rpartition(".")[2]) for version in self.versions), default=0) + 1

    @property
    def newest_hot(self) -> Version | None:
        """The newest version whose rows lie in the hot table."""
        hot = (v for v in self.versions if v.state is not State.ARCHIVED and v.cold_bytes is None)
        return max(hot, key=_number, default=None)

    def find(self, semver: str | None) -> Version | None:
        """Find a version of this line."""
        return next((version for version in self.versions if version.semver == semver), None)

    def base(self) -> Version:
        """Choose the version to continue from: the active one, else the newest that is neither archived nor deleted.

        Raises
        ------
        Restoring
            When all that is left is archived; ``details["semver"]`` names the one that has to be brought back first.
        NotActive
            When all is deleted.
        """
        if self.active is not None:
            return self.active
        usable = [version for version in self.versions if version.state in _USABLE]
        if usable:
            return max(usable, key=_number)
        archived = [version for version in self.versions if version.state is State.ARCHIVED]
        if archived:
            newest = max(archived, key=_number)
            raise Restoring(
                f"{self.resource} {newest.semver}, from which this would continue, is archived and is being brought back: try again when it is",
                semver=newest.semver,
                progress=0.0,
            )
        where = f"on the branch {self.branch!r} of {self.resource}" if self.branch else f"of {self.resource}"
        raise NotActive(
            f"there is no version {where} to continue from, all are deleted: take a deletion back with `alluxio-lance undelete`"
        )


def read_line(catalog: Catalog, store: Store, type: str, name: str, branch: str = "") -> Line:
    """Read a line of versions.

    Raises
    ------
    NotFound
        When there is no such resource or branch.
    """
    listed = catalog.versions(type, name, branch=branch)
    location = catalog.location(type, name)
    if location is None:
        raise NotFound(f"there is no {type}/{name}: see `alluxio-lance list`")
    if branch and branch not in {each.name for each in catalog.branches(type, name)}:
        have = ", ".join(each.name for each in catalog.branches(type, name)) or "none"
        raise NotFound(
            f"{type}/{name} has no branch {branch!r} (it has: {have}): begin one with `alluxio-lance branch {type}/{name} {branch}`"
        )
    return Line(
        type=type,
        name=name,
        branch=branch,
        location=store.branch_location(location, branch),
        versions=(*listed, *catalog.versions(type, name, branch=branch, deleted=True)),
    )


def triple_of(version: Version) -> Triple:
    """Return the semantic version as numbers; on a branch, that of its base."""
    return parse_version(version.semver.partition("-")[0])


def _number(version: Version) -> int:
    return version.version
