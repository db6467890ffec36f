"""A model as rows: pieces of its tensors and files, each with the hash of its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.weights.chunks import CHUNK_BYTES
from alluxio_lance.weights.header import TensorSpec, make_head
from alluxio_lance.weights.paths import check_paths
from alluxio_lance.weights.strict_json import check_plain, read_json

__all__ = [
    "CHUNK_BYTES",
    "MODEL_SCHEMA",
    "NOTES_KEY",
    "OWN_FOLDER",
    "SMALL_COLUMNS",
    "File",
    "Kind",
    "Notes",
    "Tensor",
    "has_nulls",
    "is_model",
    "source_of",
]

OWN_FOLDER: Final = ".alluxio-lance/"
"""Files below it are made while the other parts go by, and come last."""
_BATCH_BYTES: Final = 2 * CHUNK_BYTES
_BATCH_ROWS: Final = 4096
NOTES_KEY: Final = "alluxio_lance"
"""Under which the metadata of a safetensors file have the notes."""
_MARK: Final = b"alluxio-lance.model"
_FORMAT: Final = b"1"
_JSON: Final = {str: "text", dict: "object"}


class Kind(StrEnum):
    """What a row is a piece of."""

    TENSOR = "tensor"
    FILE = "file"
    NOTES = "notes"
    """The one row with what `Notes` holds, as JSON with sorted keys."""


MODEL_SCHEMA: Final = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("chunk", pa.int32(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.field("item", pa.int64(), nullable=False)), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("hash", pa.binary(32), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
    ],
    metadata={_MARK: _FORMAT},
)
"""kind; the tensor's name or the file's path ("" for notes); the number of the piece; the tensor's element type and shape
("" and [] for others); the bytes of the whole part; SHA-256 of the piece; the piece. A part without bytes has one piece."""
SMALL_COLUMNS: Final = [name for name in MODEL_SCHEMA.names if name != "data"]
"""All but the bytes."""


def is_model(schema: pa.Schema) -> bool:
    """Tell whether a table with this schema holds a model."""
    return (schema.metadata or {}).get(_MARK) is not None


def has_nulls(column: pa.Array) -> bool:
    """Tell whether a value is missing, or one in a list; Arrow believes what a schema says of that."""
    return bool(column.null_count or (pa.types.is_list(column.type) and column.flatten().null_count))


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor on its way into the store."""

    spec: TensorSpec
    data: Callable[[], memoryview]
    """Gives its bytes, row-major and little-endian; called once, when it is its turn, and let go of after that."""
    stored: Callable[[memoryview], object] | None = None
    """Told of every piece in turn, with the bytes that go into the store, before the next part is asked for."""


@dataclass(frozen=True, slots=True)
class File:
    """A file on its way into the store."""

    path: str
    """Relative, with slashes."""
    data: Callable[[], memoryview]
    stored: Callable[[memoryview], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What belongs to a model's bytes and is neither a tensor nor a file; part of the content hash."""

    tied: Mapping[str, str] = field(default_factory=dict)
    """Names that share the memory of another tensor: alias to the name under which it is stored."""
    views: Mapping[str, str] = field(default_factory=dict)
    """Tensors whose element type the format does not have, stored as another of the same bytes: ``complex128``."""
    quantized: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """How the integers of a tensor stand for numbers."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What a framework wants to find again."""

    def to_json(self) -> bytes:
        """Write them; the same notes are the same bytes. `InvalidArgument` when they are no JSON."""
        said = {"tied": self.tied, "views": self.views, "quantized": self.quantized, "extra": self.extra}
        try:
            return json.dumps(said, default=dict, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument(f"the notes of the model are no JSON: {error}") from error

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of the safetensors file that has the model's tensors."""
        return {"format": "pt", NOTES_KEY: self.to_json().decode()}

    @classmethod
    def from_json(cls, text: bytes | memoryview) -> Notes:
        """Read them; `InvalidArgument` when they are none."""
        try:
            found = read_json(bytes(text))
            check_plain(found)
        except ValueError as error:
            raise InvalidArgument(f"the notes of the model are no JSON: {error}") from error
        known = {"tied", "views", "quantized", "extra"}
        if not isinstance(found, dict) or set(found) != known or not all(isinstance(found[key], dict) for key in known):
            raise InvalidArgument(f"the notes of the model are no object with {', '.join(sorted(known))}")
        for key, kind in (("tied", str), ("views", str), ("quantized", dict)):
            if not all(isinstance(value, kind) for value in found[key].values()):
                raise InvalidArgument(f"the notes of the model have a value in {key!r} that is no {_JSON[kind]}")
        return cls(**found)

    def check_names(self, names: Container[str]) -> None:
        """Refuse ties that no tensors with these names can have.

        Raises
        ------
        InvalidArgument
            When an alias is the name of a tensor, or is tied to none.
        """
        for alias, name in self.tied.items():
            if alias in names or name not in names:
                raise InvalidArgument(
                    f"{alias[:200]!r} cannot be tied to {name[:200]!r}: the one is to have no bytes, the other some"
                )


def source_of(
    tensors: Sequence[Tensor], files: Sequence[File] = (), notes: Notes | None = None, description: str = "the model"
) -> Source:
    """Make the rows of a model, piece by piece: no more than one part and one batch are in memory.

    Raises
    ------
    InvalidArgument
        At once for names, shapes and paths that cannot be; while it is read when a part has other bytes than it says.
    """
    notes = notes or Notes()
    head = make_head(tensor.spec for tensor in tensors)
    check_paths(file.path for file in files)
    names = head.tensors.keys()
    notes.check_names(names)
    # In one order whatever the caller's is: the same model has the same content hash, and is read as its file lies.
    given = {tensor.spec.name: tensor for tensor in tensors}
    ordered = [given[name] for name in names], sorted(files, key=_turn)
    return Source(
        reader=stream(MODEL_SCHEMA, _batches(_pieces(*ordered, notes))),
        num_bytes=head.length - head.data,
        description=description,
    )


def _turn(file: File) -> tuple[bool, str]:
    return file.path.startswith(OWN_FOLDER), file.path


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: Kind
    name: str
    chunk: int
    dtype: str
    shape: tuple[int, ...]
    size: int
    data: memoryview
    stored: Callable[[memoryview], object] | None


def _pieces(tensors: Iterable[Tensor], files: Iterable[File], notes: Notes) -> Iterator[_Piece]:
    text = notes.to_json()
    yield from _cut(Kind.NOTES, "", "", (), memoryview(text), None)
    for tensor in tensors:
        spec = tensor.spec
        data = _flat(tensor.data())
        if data.nbytes != spec.size:
            raise InvalidArgument(f"tensor {spec.name!r} has {data.nbytes} bytes, and by its shape {spec.size}")
        yield from _cut(Kind.TENSOR, spec.name, spec.dtype, spec.shape, data, tensor.stored)
    for file in files:
        yield from _cut(Kind.FILE, file.path, "", (), _flat(file.data()), file.stored)


def _flat(data: memoryview) -> memoryview:
    """View bytes as bytes; Python refuses to do so where one dimension is 0."""
    return data.cast("B") if data.nbytes else memoryview(b"")


def _cut(
    kind: Kind,
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    data: memoryview,
    stored: Callable[[memoryview], object] | None,
) -> Iterator[_Piece]:
    for chunk, start in enumerate(range(0, max(data.nbytes, 1), CHUNK_BYTES)):
        yield _Piece(kind, name, chunk, dtype, shape, data.nbytes, data[start : start + CHUNK_BYTES], stored)


def _batches(pieces: Iterable[_Piece]) -> Iterator[pa.RecordBatch]:
    batch = _Batch()
    for piece in pieces:
        if not batch.has_room(piece):
            yield batch.made()
            batch = _Batch()
        batch.add(piece)
    yield batch.made()


class _Batch:
    """Rows on their way: the bytes are copied once, and hashed where they lie then.

    Somebody may be writing into the tensors, a training that goes on or another process, and what is stored and what is
    said of it must be the same.
    """

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._hashes: list[bytes] = []
        self._ends = [0]
        # Pages that no piece reaches are never touched.
        self._data = np.empty(_BATCH_BYTES, np.uint8)

    def has_room(self, piece: _Piece) -> bool:
        return self._ends[-1] + piece.data.nbytes <= _BATCH_BYTES and len(self._pieces) < _BATCH_ROWS

    def add(self, piece: _Piece) -> None:
        start, end = self._ends[-1], self._ends[-1] + piece.data.nbytes
        copy = self._data[start:end]
        copy[:] = np.frombuffer(piece.data, np.uint8)
        self._pieces.append(piece)
        self._hashes.append(hashlib.sha256(copy.data).digest())
        self._ends.append(end)
        if piece.stored is not None:
            piece.stored(copy.data)

    def made(self) -> pa.RecordBatch:
        pieces = self._pieces
        values = [None, pa.py_buffer(np.array(self._ends, np.int64)), pa.py_buffer(self._data[: self._ends[-1]])]
        columns = [
            pa.array([piece.kind for piece in pieces], pa.string()),
            pa.array([piece.name for piece in pieces], pa.string()),
            pa.array([piece.chunk for piece in pieces], pa.int32()),
            pa.array([piece.dtype for piece in pieces], pa.string()),
            pa.array([piece.shape for piece in pieces], MODEL_SCHEMA.field("shape").type),
            pa.array([piece.size for piece in pieces], pa.int64()),
            pa.array(self._hashes, pa.binary(32)),
            pa.Array.from_buffers(pa.large_binary(), len(pieces), values),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=MODEL_SCHEMA)
