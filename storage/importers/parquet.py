"""Parquet files and folders of them, with the columns that ``key=value`` folders tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.storage.importers.files import faults_of, list_files, regular_file
from alluxio_lance.storage.importers.kind import Importer
from alluxio_lance.storage.importers.values import strings

__all__ = ["PARQUET", "PARQUET_SUFFIXES"]

PARQUET_SUFFIXES: Final = (".parquet", ".pq")
_BATCH_BYTES: Final = 8 << 20
_MOST_ROWS: Final = 1 << 16


def _open(path: Path, options: Mapping[str, Any]) -> Source:
    files = [path] if path.is_file() else [file for file in list_files(path) if file.suffix in PARQUET_SUFFIXES]
    if not files:
        raise InvalidArgument(f"the folder {path} has no Parquet file (named *.parquet)")
    opened = [_metadata(file) for file in files]
    partitions = [_partition(file, path) for file in files]
    schema = _common_schema(files, [schema for schema, _ in opened], partitions)
    if "columns" in options:
        schema = _selected(schema, strings("columns", options["columns"]), path)
    return Source(
        reader=stream(schema, _batches(files, partitions, schema)),
        num_rows=sum(metadata.num_rows for _, metadata in opened),
        num_bytes=sum(
            metadata.row_group(group).total_byte_size
            for _, metadata in opened
            for group in range(metadata.num_row_groups)
        ),
        description=str(path),
    )


def _metadata(path: Path) -> tuple[pa.Schema, pq.FileMetaData]:
    with faults_of(regular_file(path)), pq.ParquetFile(path) as file:
        return file.schema_arrow, file.metadata


def _partition(file: Path, root: Path) -> dict[str, str]:
    """Return what the ``key=value`` folders between the root and the file say."""
    if file == root:
        return {}
    folders = file.relative_to(root).parts[:-1]
    return dict(folder.split("=", 1) for folder in folders if "=" in folder)


def _common_schema(
    files: Sequence[Path], schemas: Sequence[pa.Schema], partitions: Sequence[dict[str, str]]
) -> pa.Schema:
    first = schemas[0]
    for file, schema, partition in zip(files, schemas, partitions, strict=True):
        if not schema.equals(first) or partition.keys() != partitions[0].keys():
            raise InvalidArgument(f"{file} has other columns than {files[0]}: {_difference(first, schema)}")
    fields = [pa.field(key, _partition_type(key, partitions)) for key in partitions[0] if key not in first.names]
    return pa.schema([*first, *fields])


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    mine = {(field.name, str(field.type), field.nullable) for field in first}
    theirs = {(field.name, str(field.type), field.nullable) for field in other}
    names = sorted({name for name, _, _ in mine ^ theirs})
    return ", ".join(names) if names else "their order, or the partition folders"


def _partition_type(key: str, partitions: Sequence[dict[str, str]]) -> pa.DataType:
    numbers = all(partition[key].removeprefix("-").isdecimal() for partition in partitions)
    return pa.int64() if numbers else pa.string()


def _selected(schema: pa.Schema, columns: list[str], path: Path) -> pa.Schema:
    missing = [name for name in columns if name not in schema.names]
    if missing or not columns:
        raise InvalidArgument(f"{path} has no column {missing}; it has {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in columns])


def _batches(
    files: Sequence[Path], partitions: Sequence[dict[str, str]], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for path, partition in zip(files, partitions, strict=True):
        with faults_of(path), pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            stored = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=_rows(file.metadata), columns=stored):
                yield _completed(batch, partition, schema)


def _rows(metadata: pq.FileMetaData) -> int:
    """Return how many rows have about the bytes of one batch."""
    total = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return int(max(1, min(_MOST_ROWS, _BATCH_BYTES * max(metadata.num_rows, 1) // max(total, 1))))


def _completed(batch: pa.RecordBatch, partition: Mapping[str, str], schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        batch.column(field.name)
        if field.name in batch.schema.names
        else pa.repeat(pa.scalar(partition[field.name]).cast(field.type), batch.num_rows)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


PARQUET: Final = Importer(
    name="parquet",
    accepts="a Parquet file or a folder of Parquet files",
    open=_open,
    options={"columns": "a list of the columns to read"},
)
