"""Values as protobuf messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from alluxio_lance.codes import COLUMN_KINDS, KINDS, OUTCOMES, PAGES, STATES, WAYS
from alluxio_lance.layout import Column, Layout, Region, Segment
from alluxio_lance.structs import to_struct
from alluxio_lance.v1 import cache_pb2, common_pb2
from alluxio_lance.values import Event, Progress, Resource, Version
from alluxio_lance.ways import CacheShare, FileWay

__all__ = ["event", "file_way", "layout", "moment", "progress", "resource", "share", "timestamp", "version"]


def timestamp(moment: datetime) -> Timestamp:
    """Write a moment."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def moment(value: datetime | None) -> Timestamp | None:
    """Write a moment that may be none."""
    return None if value is None else timestamp(value)


def version(value: Version) -> common_pb2.Version:
    """Write a version."""
    return common_pb2.Version(
        type=value.type,
        name=value.name,
        semver=value.semver,
        version=value.version,
        content_hash=value.content_hash,
        state=STATES.number(value.state),
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
        branch=value.branch,
        stage=value.stage,
        tags=value.tags,
        metrics=to_struct("metrics", value.metrics),
        cold_bytes=value.cold_bytes,
        archived_at=moment(value.archived_at),
        read_at=moment(value.read_at),
        purge_at=moment(value.purge_at),
    )


def resource(value: Resource) -> common_pb2.Resource:
    """Write a resource."""
    return common_pb2.Resource(
        type=value.type,
        name=value.name,
        kind=KINDS.number(value.kind),
        active=None if value.active is None else version(value.active),
        versions=value.versions,
        created_at=timestamp(value.created_at),
        updated_at=timestamp(value.updated_at),
        labels=value.labels,
        branches=value.branches,
        purge_at=moment(value.purge_at),
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
        origin=value.origin,
        request_id=value.request_id,
        outcome=OUTCOMES.number(value.outcome),
        hash=value.hash,
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


def share(value: CacheShare) -> common_pb2.CacheShare:
    """Write how much of a version is cached."""
    return common_pb2.CacheShare(bytes=value.bytes, cached_bytes=value.cached_bytes, pinned=value.pinned)


def file_way(value: FileWay) -> common_pb2.FileWay:
    """Write a file and its way."""
    return common_pb2.FileWay(
        path=value.path,
        bytes=value.bytes,
        way=WAYS.number(value.way),
        why=value.why,
        cached_percent=value.cached_percent,
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
        branch=value.branch,
        columns=[_column(column) for column in value.columns],
    )


def _column(value: Column) -> cache_pb2.Column:
    return cache_pb2.Column(
        name=value.name,
        kind=COLUMN_KINDS.number(value.kind),
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
        pages=PAGES.number(value.pages),
        data=_region(value.data),
        offsets=_region(value.offsets),
        validity=_region(value.validity),
    )


def _region(value: Region) -> cache_pb2.Region:
    return cache_pb2.Region(offset=value.offset, length=value.length)
