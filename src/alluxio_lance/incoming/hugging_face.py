"""Hugging Face ``datasets.Dataset``, in slices of its Arrow table; the library is not imported here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming.source import Source, stream

__all__ = ["is_hugging_face", "open_hugging_face"]

_ROWS: Final = 1000
_MEDIA: Final = frozenset({"Image", "Audio", "Video", "Pdf"})
"""Features that Arrow keeps as ``struct<bytes, path>``."""

Convert = Callable[[pa.Array], pa.Array]


def is_hugging_face(data: Any) -> bool:
    """Tell whether this comes from Hugging Face's library."""
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(data).__mro__)


def open_hugging_face(data: Any) -> Source:
    """Stream a ``Dataset``, in the order of its indices.

    Images, audio and video become one binary column with the encoded bytes (read from their files where they are not
    embedded); the names of a ``ClassLabel`` go into the field's metadata as a JSON list, under ``names``; arrays of a
    fixed shape become fixed shape tensors.
    """
    if type(data).__name__ != "Dataset":
        raise InvalidArgument(
            f"datasets.{type(data).__name__} is not accepted: give one split, a datasets.Dataset, such as data['train']"
        )
    plan = {
        name: _field(name, feature, data.features.arrow_schema.field(name)) for name, feature in data.features.items()
    }
    schema = pa.schema([field for field, _ in plan.values()])

    def batches() -> Iterator[pa.RecordBatch]:
        for table in data.with_format("arrow").iter(batch_size=_ROWS):
            for batch in table.to_batches():
                columns = [convert(batch.column(name)) for name, (_, convert) in plan.items()]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return Source(reader=stream(schema, batches()), num_rows=len(data), description="datasets.Dataset")


def _field(name: str, feature: Any, field: pa.Field) -> tuple[pa.Field, Convert]:
    kind = type(feature).__name__
    if kind in _MEDIA and pa.types.is_struct(field.type):
        return pa.field(name, pa.large_binary(), field.nullable), lambda column: _media(name, column)
    if kind == "ClassLabel":
        return field.with_metadata({"names": json.dumps(feature.names)}), _same
    if isinstance(field.type, pa.BaseExtensionType):
        return _array(name, field)
    return field, _same


def _same(column: pa.Array) -> pa.Array:
    return column


def _array(name: str, field: pa.Field) -> tuple[pa.Field, Convert]:
    """Make a fixed shape tensor of an ``ArrayXD``; one with an open first dimension stays nested lists."""
    shape = getattr(field.type, "shape", None)
    if shape is None or None in shape:
        return pa.field(name, field.type.storage_type, field.nullable), lambda column: column.storage
    type_ = pa.fixed_shape_tensor(pa.type_for_alias(field.type.value_type), shape)

    def convert(column: pa.Array) -> pa.Array:
        if column.null_count:
            raise InvalidArgument(f"column {name!r} of datasets.Dataset has a null array")
        values = column.storage
        while pa.types.is_list(values.type):
            values = values.flatten()
        return pa.ExtensionArray.from_storage(
            type_, pa.FixedSizeListArray.from_arrays(values, type_.storage_type.list_size)
        )

    return pa.field(name, type_, field.nullable), convert


def _media(name: str, column: pa.StructArray) -> pa.Array:
    embedded = pa.compute.struct_field(column, "bytes").cast(pa.large_binary())
    outside = pa.compute.and_(column.is_valid(), embedded.is_null())
    if not pa.compute.any(outside).as_py():
        return embedded
    paths = pa.compute.struct_field(column, "path")
    return pa.array(
        [
            _read(name, path.as_py()) if out.as_py() else value.as_py()
            for out, path, value in zip(outside, paths, embedded, strict=True)
        ],
        pa.large_binary(),
    )


def _read(name: str, path: str | None) -> bytes:
    if path is None:
        raise InvalidArgument(f"column {name!r} of datasets.Dataset has a value with neither bytes nor a path")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"the file {path} of column {name!r} cannot be read: {error.strerror}") from error
