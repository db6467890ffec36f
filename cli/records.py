"""The JSON records of ``--json``: stable names, ISO moments in UTC. Documented in docs/cli.md."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from alluxio_lance.values import Event, Resource, Version

__all__ = ["event_record", "moment", "resource_record", "schema_of", "schema_record", "version_record"]


def moment(at: datetime) -> str:
    """Return a moment in ISO 8601, in UTC."""
    return at.astimezone(UTC).isoformat()


def _when(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def schema_of(version: Version) -> pa.Schema:
    """Return the Arrow schema of a version."""
    return pa.ipc.read_schema(pa.py_buffer(version.schema))


def schema_record(version: Version) -> list[dict[str, Any]]:
    """Return the columns of a version: name, Arrow type as text, whether nulls may occur."""
    return [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in schema_of(version)]


def version_record(version: Version) -> dict[str, Any]:
    """Return everything about a version but its schema."""
    return {
        "type": version.type,
        "name": version.name,
        "semver": version.semver,
        "full_name": str(version),
        "version": version.version,
        "content_hash": version.content_hash,
        "state": version.state.value,
        "uri": version.uri,
        "location": version.location,
        "num_rows": version.num_rows,
        "num_bytes": version.num_bytes,
        "message": version.message,
        "metadata": dict(version.metadata),
        "provenance": dict(version.provenance),
        "created_at": moment(version.created_at),
        "created_by": version.created_by,
        "operation": version.operation,
        "branch": version.branch,
        "stage": version.stage,
        "tags": list(version.tags),
        "metrics": dict(version.metrics),
        "cold_bytes": version.cold_bytes,
        "archived_at": _when(version.archived_at),
        "read_at": _when(version.read_at),
        "purge_at": _when(version.purge_at),
    }


def resource_record(resource: Resource) -> dict[str, Any]:
    """Return everything about a resource; ``active`` is a version or null."""
    return {
        "type": resource.type,
        "name": resource.name,
        "kind": resource.kind.value,
        "uri": resource.uri,
        "active": version_record(resource.active) if resource.active else None,
        "versions": resource.versions,
        "created_at": moment(resource.created_at),
        "updated_at": moment(resource.updated_at),
        "labels": dict(resource.labels),
        "branches": list(resource.branches),
        "purge_at": _when(resource.purge_at),
    }


def event_record(event: Event) -> dict[str, Any]:
    """Return everything about an event."""
    return {
        "sequence": event.sequence,
        "at": moment(event.at),
        "verb": event.verb.value,
        "type": event.type,
        "name": event.name,
        "actor": event.actor,
        "operation": event.operation,
        "before": event.before,
        "after": event.after,
        "semver": event.semver,
        "message": event.message,
        "origin": event.origin,
        "request_id": event.request_id,
        "outcome": event.outcome.value,
        "hash": event.hash,
    }
