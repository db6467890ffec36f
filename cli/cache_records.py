"""The JSON record of ``cache status --json``. Documented in docs/cli.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alluxio_lance.cli.records import moment
from alluxio_lance.cli.ways_records import ways_record

if TYPE_CHECKING:
    from alluxio_lance.client.statistics import CacheStatistics, LeaseInfo, ResidentVersion
    from alluxio_lance.ways import DiskStatistics

__all__ = ["cache_record"]


def cache_record(statistics: CacheStatistics) -> dict[str, Any]:
    """Return budget, hot versions, readers and counters."""
    return {
        "node": statistics.node,
        "pid": statistics.pid,
        "started_at": moment(statistics.started_at),
        "budget_bytes": statistics.budget_bytes,
        "used_bytes": statistics.used_bytes,
        "opens": statistics.opens,
        "hits": statistics.hits,
        "evictions": statistics.evictions,
        "failed_loads": statistics.failed_loads,
        "versions": [_version(version) for version in statistics.versions],
        "leases": [_lease(lease) for lease in statistics.leases],
        "disk": _disk(statistics.disk),
    }


def _disk(disk: DiskStatistics) -> dict[str, Any]:
    return {
        "budget_bytes": disk.budget_bytes,
        "used_bytes": disk.used_bytes,
        "columns": disk.columns,
        "hits": disk.hits,
        "misses": disk.misses,
        "dropped_writes": disk.dropped_writes,
        "corrupt": disk.corrupt,
        "mapped_bytes": disk.mapped_bytes,
    }


def _version(version: ResidentVersion) -> dict[str, Any]:
    return {
        "type": version.type,
        "name": version.name,
        "semver": version.semver,
        "version": version.version,
        "role": version.role,
        "status": version.status,
        "bytes": version.bytes,
        "segments": version.segments,
        "columns": list(version.columns),
        "rows": version.rows,
        "pages": version.pages.value if version.pages else None,
        "leases": version.leases,
        "last_opened_at": moment(version.last_opened_at) if version.last_opened_at else None,
        "load_seconds": version.load_seconds,
        "ways": ways_record(version.ways),
        "cached_percent": version.cached_percent,
    }


def _lease(lease: LeaseInfo) -> dict[str, Any]:
    return {
        "id": lease.id,
        "type": lease.type,
        "name": lease.name,
        "semver": lease.semver,
        "pid": lease.pid,
        "user": lease.user,
        "command": lease.command,
        "connections": lease.connections,
        "since": moment(lease.since),
    }
