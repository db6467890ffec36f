"""Values as protobuf messages."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from alluxio_lance.layout import Column, ColumnKind, Layout, Pages, Region, Segment
from alluxio_lance.structs import to_struct
from alluxio_lance.v1 import cache_pb2, common_pb2
from alluxio_lance.values import Event, Kind, Progress, Resource, State, Version

__all__ = ["PAGES", "event", "layout", "progress", "resource", "timestamp", "version"]

_STATES: Final = {
    State.REGISTERED: common_pb2.STATE_REGISTERED,
    State.ACTIVE: common_pb2.STATE_ACTIVE,
    State.DEPRECATED: common_pb2.STATE_DEPRECATED,
    State.ARCHIVED: common_pb2.STATE_ARCHIVED,
    State.DELETED: common_pb2.STATE_DELETED,
}
_KINDS: Final = {Kind.DATASET: common_pb2.KIND_DATASET, Kind.MODEL: common_pb2.KIND_MODEL}
_COLUMN_KINDS: Final = {
    ColumnKind.FIXED: cache_pb2.COLUMN_KIND_FIXED,
    ColumnKind.VARIABLE: cache_pb2.COLUMN_KIND_VARIABLE,
    ColumnKind.ARROW: cache_pb2.COLUMN_KIND_ARROW,
}
PAGES: Final = {
    Pages.SMALL: cache_pb2.PAGES_SMALL,
    Pages.TRANSPARENT: cache_pb2.PAGES_TRANSPARENT,
    Pages.HUGE: cache_pb2.PAGES_HUGE,
}


def timestamp(moment: datetime) -> Timestamp:
    """Write a moment."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def version(value: Version) -> common_pb2.Version:
    """Write a version."""
    return common_pb2.Version(
        type=value.type,
        name=value.name,
        semver=value.semver,
        version=value.version,
        content_hash=value.content_hash,
        state=_STATES[value.state],
        location=value.location,
        num_rows=value.num_rows,
        num_bytes=value.num_bytes,
        schema=value.schema,
        message=value.message,
        metadata=to_struct("metadata", value.metadata),
        provenance=to_struct("provenance", value.provenance),
        created_at=timestamp(value.created_at),
        created_by=value.created_by,
        operation=value.operation,
    )


def resource(value: Resource) -> common_pb2.Resource:
    """Write a resource."""
    return common_pb2.Resource(
        type=value.type,
        name=value.name,
        kind=_KINDS[value.kind],
        active=None if value.active is None else version(value.active),
        versions=value.versions,
        created_at=timestamp(value.created_at),
        updated_at=timestamp(value.updated_at),
    )


def event(value: Event) -> common_pb2.Event:
    """Write an event."""
    return common_pb2.Event(
        sequence=value.sequence,
        at=timestamp(value.at),
        verb=value.verb,
        type=value.type,
        name=value.name,
        actor=value.actor,
        operation=value.operation,
        before=value.before,
        after=value.after,
        semver=value.semver,
        message=value.message,
    )


def progress(value: Progress) -> common_pb2.Progress:
    """Write a progress."""
    return common_pb2.Progress(
        step=value.step,
        rows=value.rows,
        total_rows=value.total_rows,
        bytes=value.bytes,
        total_bytes=value.total_bytes,
    )


def layout(value: Layout) -> cache_pb2.Layout:
    """Write a layout."""
    return cache_pb2.Layout(
        type=value.type,
        name=value.name,
        semver=value.semver,
        version=value.version,
        content_hash=value.content_hash,
        num_rows=value.num_rows,
        shard_rows=value.shard_rows,
        columns=[_column(column) for column in value.columns],
    )


def _column(value: Column) -> cache_pb2.Column:
    return cache_pb2.Column(
        name=value.name,
        kind=_COLUMN_KINDS[value.kind],
        dtype=value.dtype,
        shape=value.shape,
        nullable=value.nullable,
        null_count=value.null_count,
        schema=value.schema,
        segments=[_segment(segment) for segment in value.segments],
    )


def _segment(value: Segment) -> cache_pb2.Segment:
    return cache_pb2.Segment(
        id=value.id,
        rows=value.rows,
        length=value.length,
        pages=PAGES[value.pages],
        data=_region(value.data),
        offsets=_region(value.offsets),
        validity=_region(value.validity),
    )


def _region(value: Region) -> cache_pb2.Region:
    return cache_pb2.Region(offset=value.offset, length=value.length)
