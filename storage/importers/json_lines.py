"""JSON lines: one object in each line, read block by block."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.json

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.storage.importers.files import faults_of, regular_file
from alluxio_lance.storage.importers.kind import Importer
from alluxio_lance.storage.importers.values import arrow_types, whole

__all__ = ["JSON"]

_BLOCK: Final = 16 << 20
"""Bytes. A line has to fit into a block, and the first block tells columns and types."""
_HEAD: Final = 64


def _open(path: Path, options: Mapping[str, Any]) -> Source:
    regular_file(path)
    types = arrow_types("types", options.get("types", {}))
    block = whole("block_bytes", options.get("block_bytes", _BLOCK), 1 << 10, 1 << 30)
    with faults_of(path):
        with pa.input_stream(path, compression="detect") as file:
            if file.read(_HEAD).lstrip().startswith(b"["):
                raise InvalidArgument(f"{path} is a JSON array: give JSON lines, one object in each line (jq -c '.[]')")
        reader = pyarrow.json.open_json(
            path,
            read_options=pyarrow.json.ReadOptions(block_size=block),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema(types) if types else None),
        )
    return Source(reader=stream(reader.schema, _batches(path, reader)), description=str(path))


def _batches(path: Path, reader: Any) -> Any:
    try:
        with faults_of(path), reader:
            yield from reader
    except InvalidArgument as error:
        raise InvalidArgument(
            f"{error.message}. Columns and types come from the file's first block; "
            "name them with types={'column': 'string'}, or read larger blocks with block_bytes"
        ) from error


JSON: Final = Importer(
    name="json",
    accepts="a file of JSON lines",
    open=_open,
    options={
        "types": "Arrow types by column, such as {'id': 'int32'}",
        "block_bytes": "bytes to read at a time; the first block tells columns and types",
    },
)
