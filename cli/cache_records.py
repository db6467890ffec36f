"""The JSON record of ``cache status --json``. Documented in docs/cli.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alluxio_lance.cli.records import moment

if TYPE_CHECKING:
    from alluxio_lance.client.cache import CacheStatistics, LeaseInfo, ResidentVersion

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
