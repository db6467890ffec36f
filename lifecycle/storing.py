"""What a resource takes, version by version, in the hot and in the cold tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alluxio_lance.lifecycle.ports import Catalog, ColdCopy, Store, Usage
from alluxio_lance.lifecycle.writing.line import Line, read_line
from alluxio_lance.upkeep import StorageReport, VersionStorage
from alluxio_lance.values import State, Version

__all__ = ["storage_of"]


def storage_of(catalog: Catalog, store: Store, type: str, name: str) -> StorageReport:
    """Report on a resource. Versions that wait to be purged are in it: they take their bytes until then.

    Raises
    ------
    NotFound
        When there is no such resource.
    """
    copies = catalog.cold_copies(type, name)
    branches = ("", *(branch.name for branch in catalog.branches(type, name)))
    lines = [read_line(catalog, store, type, name, branch) for branch in branches]
    usages = [store.usage(line.location, _hot(line, copies)) for line in lines]
    rows = [row for line, usage in zip(lines, usages, strict=True) for row in _rows(line, usage, copies)]
    return StorageReport(
        type=type,
        name=name,
        table_bytes=usages[0].table,
        cold_bytes=sum(copy.num_bytes for copy in copies.values()),
        versions=tuple(rows),
    )


def _hot(line: Line, copies: Mapping[str, ColdCopy]) -> Sequence[int]:
    return sorted(version.version for version in line.versions if _is_hot(version, copies))


def _is_hot(version: Version, copies: Mapping[str, ColdCopy]) -> bool:
    return version.state is not State.ARCHIVED and version.semver not in copies


def _rows(line: Line, usage: Usage, copies: Mapping[str, ColdCopy]) -> list[VersionStorage]:
    newest_first = sorted(line.versions, key=lambda version: version.version, reverse=True)
    return [_row(version, usage, copies) for version in newest_first]


def _row(version: Version, usage: Usage, copies: Mapping[str, ColdCopy]) -> VersionStorage:
    total = usage.total.get(version.version, 0)
    unique = usage.unique.get(version.version, 0)
    copy = copies.get(version.semver)
    return VersionStorage(
        semver=version.semver,
        branch=version.branch,
        state=version.state,
        hot_bytes=total,
        unique_bytes=unique,
        shared_bytes=total - unique,
        cold_bytes=copy.num_bytes if copy else 0,
        cached_bytes=None if usage.cached is None else usage.cached.get(version.version, 0),
    )
