"""What the rows of a model's table are pieces of: read without their bytes, and checked to be each piece exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import Corrupt, InvalidArgument
from alluxio_lance.sidecar.models.small import ModelRows
from alluxio_lance.weights.chunks import chunk_count
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.paths import check_paths
from alluxio_lance.weights.rows import MODEL_SCHEMA, SMALL_COLUMNS, Kind, has_nulls

__all__ = ["Contents", "Part", "damaged", "read_contents"]

_BATCH_ROWS: Final = 4096


def damaged(label: str, fault: str, **details: Any) -> Corrupt:
    """Make the error that says what is wrong with a model's table."""
    return Corrupt(f"{label} is damaged: {fault} - restore the table, or roll back", **details)


@dataclass(slots=True)
class Part:
    """A tensor, a file or the notes."""

    kind: Kind
    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    rows: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """By number of the piece: its row in the table, and its SHA-256."""

    @property
    def title(self) -> str:
        """Names it in messages."""
        return "the notes" if self.kind is Kind.NOTES else f"{self.kind} {self.name[:200]!r}"


@dataclass(frozen=True, slots=True)
class Contents:
    """All parts of a model."""

    label: str
    num_rows: int
    parts: Sequence[Part]

    def of(self, kind: Kind) -> list[Part]:
        """Return the parts of one kind."""
        return [part for part in self.parts if part.kind is kind]

    @property
    def notes(self) -> Part:
        """The one part that is the notes."""
        return self.of(Kind.NOTES)[0]


def read_contents(reader: ModelRows, num_rows: int, label: str, go_on: Callable[[], None] = lambda: None) -> Contents:
    """Read what the rows are.

    Parameters
    ----------
    reader
        The version.
    num_rows
        Rows that it must have.
    label
        Names it in messages.
    go_on
        Asked all the time; raises when nobody wants it any more.

    Raises
    ------
    Corrupt
        When it is no whole model: a piece is missing or comes twice, or something is none.
    """
    parts: dict[tuple[Kind, str], Part] = {}
    row = 0
    for batch in reader.batches(SMALL_COLUMNS, batch_rows=_BATCH_ROWS):
        go_on()
        _check_types(batch, label)
        for values in _rows(batch, label):
            _add(parts, row, values, label)
            row += 1
    if row != num_rows:
        raise damaged(
            label, f"it has {num_rows} rows by its catalog, and {row} in the store", expected=num_rows, found=row
        )
    found = Contents(label, num_rows, list(parts.values()))
    _check(found)
    return found


def _rows(batch: pa.RecordBatch, label: str) -> Iterator[tuple[Any, ...]]:
    try:
        return zip(*(batch.column(name).to_pylist() for name in SMALL_COLUMNS), strict=True)
    except UnicodeDecodeError as error:
        raise damaged(label, f"a name in it is no UTF-8 ({error})") from error


def _check_types(batch: pa.RecordBatch, label: str) -> None:
    for name in SMALL_COLUMNS:
        wanted, found = MODEL_SCHEMA.field(name).type, batch.schema.field(name).type
        if found != wanted or has_nulls(batch.column(name)):
            nulls = " with nulls" * (found == wanted)
            raise damaged(label, f"its column {name!r} is {found}{nulls}, not {wanted}", expected=str(wanted))


def _add(parts: dict[tuple[Kind, str], Part], row: int, values: tuple[Any, ...], label: str) -> None:
    text, name, chunk, dtype, shape, size, hash = values
    try:
        kind = Kind(text)
    except ValueError:
        raise damaged(label, f"row {row} is a piece of {text[:40]!r}, which this release does not know") from None
    fresh = Part(kind, name, dtype, tuple(shape), size)
    part = parts.setdefault((kind, name), fresh)
    if (part.dtype, part.shape, part.size) != (fresh.dtype, fresh.shape, fresh.size):
        raise damaged(label, f"the pieces of {part.title} do not agree on what it is")
    if chunk in part.rows:
        raise damaged(label, f"piece {chunk} of {part.title} is there twice")
    part.rows[chunk] = row, hash


def _check(contents: Contents) -> None:
    label = contents.label
    for part in contents.parts:
        if fault := next(_faults(part), None):
            raise damaged(label, fault)
    if [part.name for part in contents.of(Kind.NOTES)] != [""]:
        raise damaged(label, f"it has {len(contents.of(Kind.NOTES))} notes instead of one without a name")
    try:
        check_paths(part.name for part in contents.of(Kind.FILE))
    except InvalidArgument as error:
        raise damaged(label, error.message) from error


def _faults(part: Part) -> Iterator[str]:
    if part.kind is not Kind.TENSOR and (part.dtype or part.shape):
        yield f"{part.title} has an element type or a shape, which only tensors have"
    if part.size < 0:
        yield f"{part.title} would have {part.size} bytes"
    if part.kind is Kind.TENSOR:
        try:
            size = TensorSpec(name=part.name, dtype=part.dtype, shape=part.shape).size
        except InvalidArgument as error:
            yield error.message
        else:
            if size != part.size:
                yield f"{part.title} has {part.size} bytes, and by its shape {size}"
    # Without a loop over what a wrong size says: that may be any number.
    if len(part.rows) != chunk_count(part.size) or min(part.rows) != 0 or max(part.rows) != chunk_count(part.size) - 1:
        yield f"{part.title} of {part.size} bytes has the pieces {_numbers(part.rows)} instead of 0 to {chunk_count(part.size) - 1}"


def _numbers(chunks: Any) -> str:
    known = sorted(chunks)
    return ", ".join(map(str, known[:8])) + ", …" * (len(known) > 8)  # noqa: PLR2004 - so many are enough to read
