"""Protobuf messages as values."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from alluxio_lance.codes import COLUMN_KINDS, KINDS, OUTCOMES, PAGES, STATES, WAYS, read_verb
from alluxio_lance.layout import Column, Layout, Region, Segment
from alluxio_lance.structs import from_struct
from alluxio_lance.v1 import cache_pb2, common_pb2
from alluxio_lance.values import Event, Progress, Resource, Version
from alluxio_lance.ways import CacheShare, FileWay

__all__ = ["event", "file_way", "layout", "moment", "progress", "resource", "share", "version"]


def moment(message: Timestamp) -> datetime:
    """Read a moment, in UTC."""
    return message.ToDatetime(UTC)


def version(message: common_pb2.Version) -> Version:
    """Read a version."""
    return Version(
        type=message.type,
        name=message.name,
        semver=message.semver,
        version=message.version,
        content_hash=message.content_hash,
        state=STATES.value(message.state),
        location=message.location,
        num_rows=message.num_rows,
        num_bytes=message.num_bytes,
        schema=message.schema,
        message=message.message,
        metadata=from_struct(message.metadata),
        provenance=from_struct(message.provenance),
        created_at=moment(message.created_at),
        created_by=message.created_by,
        operation=message.operation,
        branch=message.branch,
        stage=message.stage if message.HasField("stage") else None,
        tags=tuple(message.tags),
        metrics=from_struct(message.metrics),
        cold_bytes=message.cold_bytes if message.HasField("cold_bytes") else None,
        archived_at=moment(message.archived_at) if message.HasField("archived_at") else None,
        read_at=moment(message.read_at) if message.HasField("read_at") else None,
        purge_at=moment(message.purge_at) if message.HasField("purge_at") else None,
    )


def resource(message: common_pb2.Resource) -> Resource:
    """Read a resource."""
    return Resource(
        type=message.type,
        name=message.name,
        kind=KINDS.value(message.kind),
        active=version(message.active) if message.HasField("active") else None,
        versions=message.versions,
        created_at=moment(message.created_at),
        updated_at=moment(message.updated_at),
        labels=dict(message.labels),
        branches=tuple(message.branches),
        purge_at=moment(message.purge_at) if message.HasField("purge_at") else None,
    )


def event(message: common_pb2.Event) -> Event:
    """Read an event."""
    return Event(
        sequence=message.sequence,
        at=moment(message.at),
        verb=read_verb(message.verb),
        type=message.type,
        name=message.name,
        actor=message.actor,
        operation=message.operation,
        before=message.before if message.HasField("before") else None,
        after=message.after if message.HasField("after") else None,
        semver=message.semver if message.HasField("semver") else None,
        message=message.message,
        origin=message.origin,
        request_id=message.request_id if message.HasField("request_id") else None,
        outcome=OUTCOMES.value(message.outcome),
        hash=message.hash,
    )


def progress(message: common_pb2.Progress) -> Progress:
    """Read a progress."""
    return Progress(
        step=message.step,
        rows=message.rows,
        total_rows=message.total_rows if message.HasField("total_rows") else None,
        bytes=message.bytes,
        total_bytes=message.total_bytes if message.HasField("total_bytes") else None,
    )


def share(message: common_pb2.CacheShare) -> CacheShare:
    """Read how much of a version is cached."""
    return CacheShare(bytes=message.bytes, cached_bytes=message.cached_bytes, pinned=message.pinned)


def file_way(message: common_pb2.FileWay) -> FileWay:
    """Read a file and its way."""
    return FileWay(
        path=message.path,
        bytes=message.bytes,
        way=WAYS.value(message.way),
        why=message.why,
        cached_percent=message.cached_percent if message.HasField("cached_percent") else None,
    )


def layout(message: cache_pb2.Layout) -> Layout:
    """Read a layout."""
    return Layout(
        type=message.type,
        name=message.name,
        semver=message.semver,
        version=message.version,
        content_hash=message.content_hash,
        num_rows=message.num_rows,
        shard_rows=message.shard_rows,
        branch=message.branch,
        columns=tuple(_column(column) for column in message.columns),
    )


def _column(message: cache_pb2.Column) -> Column:
    return Column(
        name=message.name,
        kind=COLUMN_KINDS.value(message.kind),
        dtype=message.dtype,
        shape=tuple(message.shape),
        nullable=message.nullable,
        null_count=message.null_count,
        schema=message.schema,
        segments=tuple(_segment(segment) for segment in message.segments),
    )


def _segment(message: cache_pb2.Segment) -> Segment:
    return Segment(
        id=message.id,
        rows=message.rows,
        length=message.length,
        pages=PAGES.value(message.pages),
        data=_region(message.data),
        offsets=_region(message.offsets),
        validity=_region(message.validity),
    )


def _region(message: cache_pb2.Region) -> Region:
    return Region(message.offset, message.length)
