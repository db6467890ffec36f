"""CSV and TSV files, also compressed, read block by block."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow.csv

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.storage.importers.files import faults_of, regular_file
from alluxio_lance.storage.importers.kind import Importer
from alluxio_lance.storage.importers.values import arrow_types, strings, text, whole

__all__ = ["CSV"]

_BLOCK: Final = 4 << 20
"""Bytes. The types of the columns are told by the first block."""


def _open(path: Path, options: Mapping[str, Any]) -> Source:
    regular_file(path)
    with faults_of(path):
        reader = pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(
                block_size=whole("block_bytes", options.get("block_bytes", _BLOCK), 1 << 10, 1 << 30),
                skip_rows=whole("skip_rows", options.get("skip_rows", 0), 0, 1 << 31),
                column_names=strings("column_names", options["column_names"]) if "column_names" in options else None,
                encoding=text("encoding", options.get("encoding", "utf8")),
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=_delimiter(path, options), newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=arrow_types("types", options.get("types", {})),
                null_values=strings("null_values", options["null_values"]) if "null_values" in options else None,
                strings_can_be_null="null_values" in options,
            ),
        )
    return Source(reader=stream(reader.schema, _batches(path, reader)), description=str(path))


def _delimiter(path: Path, options: Mapping[str, Any]) -> str:
    delimiter = text("delimiter", options.get("delimiter", "\t" if ".tsv" in path.suffixes else ","))
    if len(delimiter) != 1:
        raise InvalidArgument(f"option 'delimiter' is one character, not {delimiter!r}")
    return delimiter


def _batches(path: Path, reader: pyarrow.csv.CSVStreamingReader) -> Any:
    try:
        with faults_of(path), reader:
            yield from reader
    except InvalidArgument as error:
        raise InvalidArgument(
            f"{error.message}. The types come from the file's first block; name others with types={{'column': 'string'}}"
        ) from error


CSV: Final = Importer(
    name="csv",
    accepts="a CSV or TSV file",
    open=_open,
    options={
        "delimiter": "the character between values",
        "column_names": "the names, for a file without a line of names",
        "skip_rows": "lines to leave out at the top",
        "types": "Arrow types by column, such as {'id': 'int32'}",
        "null_values": "texts that mean null",
        "encoding": "the file's encoding, utf8 by default",
        "block_bytes": "bytes to read at a time; the first block tells the types",
    },
)
