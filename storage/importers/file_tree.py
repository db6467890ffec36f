"""Any other files: one row for each, with its path, content, size and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.storage.importers.files import existing, faults_of, list_files
from alluxio_lance.storage.importers.kind import Importer

__all__ = ["FILES"]

_BATCH_BYTES: Final = 8 << 20
_LARGEST: Final = 1 << 30
"""Bytes. A file is one value and is held in memory while it is written."""
_SCHEMA: Final = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("bytes", pa.large_binary(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", pa.timestamp("us", "UTC"), nullable=False),
    ]
)


def _open(path: Path, _options: Mapping[str, Any]) -> Source:
    root, files = (path, list_files(path)) if path.is_dir() else (path.parent, [existing(path)])
    if not files:
        raise InvalidArgument(f"the folder {path} has no files")
    total = 0
    for file in files:
        size = file.stat().st_size
        total += size
        if size > _LARGEST:
            raise InvalidArgument(
                f"{file} has {size} bytes; a file of a tree has at most {_LARGEST}: cut or convert it"
            )
    return Source(
        reader=stream(_SCHEMA, _batches(root, files)), num_rows=len(files), num_bytes=total, description=str(path)
    )


def _batches(root: Path, files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[str, bytes, int, datetime]] = []
    size = 0
    for file in files:
        with faults_of(file):
            content = file.read_bytes()
            modified = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        rows.append((file.relative_to(root).as_posix(), content, len(content), modified))
        size += len(content)
        if size >= _BATCH_BYTES:
            yield _batch(rows)
            rows, size = [], 0
    if rows:
        yield _batch(rows)


def _batch(rows: Sequence[tuple[str, bytes, int, datetime]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


FILES: Final = Importer(name="files", accepts="a folder of any other files", open=_open)
