"""What the disk tier knows of one column: the key it is found by, and the index entry that makes it a hot column again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, Self

from blake3 import blake3

from alluxio_lance.layout import PAGE, Column, ColumnKind, Pages, Region, Segment
from alluxio_lance.sidecar.memfd import round_up
from alluxio_lance.sidecar.plan import ColumnPlan, Plan

__all__ = ["Entry", "Kept", "Key", "bytes_of"]

FORMAT: Final = 1
"""Counts on when segments of the same column would be laid out in another way than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """All that determines the bytes of a column's segments; ``digest`` is the name of its folder."""

    content_hash: str
    column: str
    shard_rows: int
    kind: ColumnKind
    """As planned by the type: what becomes ARROW because of its data has the kind of its type here."""
    dtype: str
    shape: tuple[int, ...]
    nullable: bool
    unit: int | None = None
    """One unit of the column, the rows of which are ``shard_rows``; None: the whole column, in shards."""

    @classmethod
    def of(cls, content_hash: str, plan: Plan, column: ColumnPlan, unit: int | None = None) -> Self:
        """Return the key of one column of a version's plan, or of one unit of it."""
        return cls(
            content_hash=content_hash,
            column=column.name,
            shard_rows=plan.shard_rows,
            kind=column.shape.kind,
            dtype=column.shape.dtype,
            shape=column.shape.shape,
            nullable=column.field.nullable,
            unit=unit,
        )

    @property
    def record(self) -> dict[str, Any]:
        """What the index has of it; whole columns have no entry ``unit``."""
        record = asdict(self)
        if self.unit is None:
            del record["unit"]
        return record

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        return _digest(self)


@lru_cache(16384)  # windows look for the same units again and again, and an epoch has thousands
def _digest(key: Key) -> str:
    return blake3(_canonical({"format": FORMAT, **key.record})).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """One segment on the disk: its description, whose id is 0, and the BLAKE3 of its bytes."""

    segment: Segment
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One column on the disk."""

    key: Key
    owner: tuple[str, str]
    """Type and name of the resource that it was loaded for; what is purged there goes here, too."""
    kind: ColumnKind
    """As it is laid out."""
    null_count: int
    segments: tuple[Kept, ...]

    @property
    def size(self) -> int:
        """What it takes on the disk, in whole pages: the segments and this entry."""
        return _on_disk(kept.segment for kept in self.segments)

    @property
    def pages(self) -> Pages:
        """The pages that its segments were laid out for."""
        return max((kept.segment.pages for kept in self.segments), key=list(Pages).index, default=Pages.SMALL)

    def to_bytes(self) -> bytes:
        """Write it as JSON that carries its own BLAKE3."""
        record = _canonical({**asdict(self), "key": self.key.record})
        return _canonical({"format": FORMAT, "entry": json.loads(record), "hash": blake3(record).hexdigest()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ValueError
            When it is something else, or of another format.
        """
        try:
            outer = json.loads(data)
            record = outer["entry"]
            if outer["format"] != FORMAT or blake3(_canonical(record)).hexdigest() != outer["hash"]:
                raise ValueError("it has another format or other bytes than were written")
            return cls._read(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no index entry: {error!r}") from error

    @classmethod
    def _read(cls, record: dict[str, Any]) -> Self:
        key = record["key"]
        return cls(
            key=Key(**{**key, "kind": ColumnKind(key["kind"]), "shape": tuple(key["shape"])}),
            owner=(record["owner"][0], record["owner"][1]),
            kind=ColumnKind(record["kind"]),
            null_count=record["null_count"],
            segments=tuple(Kept(_segment(kept["segment"]), kept["hash"]) for kept in record["segments"]),
        )

    def column(self, plan: ColumnPlan, segments: Sequence[Segment]) -> Column:
        """Describe the column with its segments as they lie in memory now."""
        shape = plan.shape if self.kind is plan.shape.kind else plan.as_arrow().shape
        return Column(
            name=plan.name,
            kind=shape.kind,
            dtype=shape.dtype,
            shape=shape.shape,
            nullable=plan.field.nullable,
            null_count=self.null_count,
            schema=plan.schema,
            segments=tuple(segments),
        )


def bytes_of(column: Column) -> int:
    """Return what a column will take on the disk."""
    return _on_disk(column.segments)


def _on_disk(segments: Iterable[Segment]) -> int:
    return PAGE + sum(round_up(segment.length, PAGE) for segment in segments)


def _segment(record: dict[str, Any]) -> Segment:
    regions = {name: Region(**record[name]) for name in ("data", "offsets", "validity")}
    return Segment(**{**record, **regions, "pages": Pages(record["pages"])})


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
