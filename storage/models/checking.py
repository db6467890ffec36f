"""Whether the rows of a model are one: each piece as it streams past, and at the end that nothing is missing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.weights.chunks import chunk_bytes, chunk_count
from alluxio_lance.weights.elements import tensor_bytes
from alluxio_lance.weights.header import TensorSpec, make_head
from alluxio_lance.weights.paths import check_paths
from alluxio_lance.weights.rows import MODEL_SCHEMA, SMALL_COLUMNS, Kind, Notes, has_nulls

__all__ = ["checked"]

_MOST_PARTS: Final = 1 << 20
"""Tensors and files of one model: about as many as the head of a safetensors file can name."""
_LONGEST_NOTES: Final = 64 << 20
_LONGEST_NAMES: Final = 100_000_000
"""Characters of all names of one kind: the head of a safetensors file has no more bytes."""
_KINDS: Final = frozenset(Kind)


def checked(source: Source) -> Source:
    """Have the rows of a model checked while they are read. In memory are the names and shapes of its parts, and its notes.

    Raises
    ------
    InvalidArgument
        At once for another schema; while it is read for the first row that cannot be, and before the end when a part is
        not whole.
    """
    where = source.description or "the model"
    if not source.reader.schema.equals(MODEL_SCHEMA, check_metadata=True):
        raise InvalidArgument(
            f"{where} is marked as a model and has other columns than models have: save it with save_model or `alluxio-lance model save`"
        )
    pieces = _Pieces(where)
    return Source(
        reader=stream(MODEL_SCHEMA, pieces.tap(source.reader)),
        num_rows=source.num_rows,
        num_bytes=source.num_bytes,
        description=source.description,
    )


@dataclass(slots=True)
class _Part:
    """A tensor, a file or the notes, as far as it has come."""

    dtype: str
    shape: list[int]
    size: int
    next: int = 0
    """All pieces before this one are there."""
    early: set[int] = field(default_factory=set)
    """Pieces that came before others; none where parts come in order."""

    @property
    def count(self) -> int:
        """How many pieces it has."""
        return chunk_count(self.size)

    def add(self, chunk: int) -> bool:
        """Note a piece; False when it is there already."""
        if chunk < self.next or chunk in self.early:
            return False
        self.early.add(chunk)
        while self.next in self.early:
            self.early.remove(self.next)
            self.next += 1
        return True


class _Pieces:
    """What has come of a model. The rows may come in any order: those of a table that was updated lie in any."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._parts: dict[tuple[Kind, str], _Part] = {}
        self._notes: dict[int, bytes] = {}
        self._named: Counter[Kind] = Counter()

    def tap(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on whose rows are pieces of a model; fail instead of ending when some are missing."""
        for batch in batches:
            self._check(batch)
            yield batch
        self._finish()

    def _check(self, batch: pa.RecordBatch) -> None:
        try:
            batch.validate(full=True)
            rows = batch.select(SMALL_COLUMNS).to_pylist()
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise self._fault(f"rows that are none: {error}") from error
        if nulls := [name for name in MODEL_SCHEMA.names if has_nulls(batch.column(name))]:
            raise self._fault(f"a null in the column {nulls[0]!r}")
        for row, data in zip(rows, _values(batch.column("data")), strict=True):
            self._row(row, data)

    def _row(self, row: Mapping[str, Any], data: memoryview) -> None:
        if row["kind"] not in _KINDS:
            raise self._fault(f"a row of the kind {row['kind'][:40]!r}: known are {', '.join(Kind)}")
        kind, name, chunk = Kind(row["kind"]), row["name"], row["chunk"]
        what = f"piece {chunk} of the {kind} {name[:200]!r}"
        part = self._part(kind, name, row)
        if not 0 <= chunk < part.count:
            raise self._fault(f"{what}, and by its size it has {part.count}")
        expected = chunk_bytes(part.size, chunk)
        if data.nbytes != expected:
            raise self._fault(f"{what} with {data.nbytes} bytes instead of {expected}")
        if not part.add(chunk):
            raise self._fault(f"{what} twice")
        if hashlib.sha256(data).digest() != row["hash"]:
            raise self._fault(f"{what} with a hash that is not the SHA-256 of its bytes")
        if kind is Kind.NOTES:
            self._notes[chunk] = bytes(data)

    def _part(self, kind: Kind, name: str, row: Mapping[str, Any]) -> _Part:
        dtype, shape, size = row["dtype"], row["shape"], row["size"]
        part = self._parts.get((kind, name))
        if part is None:
            if len(self._parts) == _MOST_PARTS:
                raise self._fault(f"more than {_MOST_PARTS} tensors and files")
            self._named[kind] += len(name)
            if self._named[kind] > _LONGEST_NAMES:
                raise self._fault(f"names of {kind}s with more than {_LONGEST_NAMES} characters together")
            self._check_part(kind, name, dtype, shape, size)
            part = self._parts[kind, name] = _Part(dtype, shape, size)
        elif (part.dtype, part.shape, part.size) != (dtype, shape, size):
            raise self._fault(f"pieces of the {kind} {name[:200]!r} that are described in two ways")
        return part

    def _check_part(self, kind: Kind, name: str, dtype: str, shape: list[int], size: int) -> None:
        what = f"the {kind} {name[:200]!r}"
        if kind is Kind.TENSOR:
            expected = tensor_bytes(dtype, shape, f"{what} of {self._where}")
            if size != expected:
                raise self._fault(f"{what} with {size} bytes, and by its shape {expected}")
        elif dtype or shape or size < 0:
            raise self._fault(f"{what} with an element type, a shape or a negative size")
        if kind is Kind.NOTES and (name or size > _LONGEST_NOTES):
            raise self._fault("notes that have a name or more than 64 MiB")

    def _finish(self) -> None:
        for (kind, name), part in self._parts.items():
            if part.next != part.count:
                raise self._fault(f"no piece {part.next} of the {kind} {name[:200]!r}: it is cut short")
        if not self._notes:
            raise self._fault("no notes: save it with save_model or `alluxio-lance model save`")
        try:
            self._check_together(b"".join(data for _, data in sorted(self._notes.items())))
        except InvalidArgument as fault:
            raise InvalidArgument(f"{self._where} is no whole model: {fault.message}") from fault

    def _check_together(self, notes: bytes) -> None:
        """Check what its parts are to one another."""
        tensors = [
            TensorSpec(name=name, dtype=part.dtype, shape=tuple(part.shape))
            for (kind, name), part in self._parts.items()
            if kind is Kind.TENSOR
        ]
        files = {name: part.size for (kind, name), part in self._parts.items() if kind is Kind.FILE}
        said = Notes.from_json(notes)
        said.check_names({tensor.name for tensor in tensors})
        check_paths(files)
        # The files that sidecars make of it: what has no head is refused now, not when somebody wants to load it.
        make_head(tensors, said.to_metadata())
        make_head(TensorSpec(name=path, dtype="U8", shape=(size,)) for path, size in files.items())

    def _fault(self, what: str) -> InvalidArgument:
        return InvalidArgument(f"{self._where} is no whole model: it has {what}")


def _values(column: pa.Array) -> Iterator[memoryview]:
    """View each value where it lies: ``to_pylist`` would copy them."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8) if len(column) else ()
    view = memoryview(data or b"").cast("B")
    for number in range(len(column)):
        yield view[int(bounds[number]) : int(bounds[number + 1])]
