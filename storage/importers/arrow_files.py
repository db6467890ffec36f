"""Arrow IPC: the file format, the stream format, Feather."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import Source, stream
from alluxio_lance.storage.importers.files import faults_of, regular_file
from alluxio_lance.storage.importers.kind import Importer

__all__ = ["ARROW"]

_FILE: Final = b"ARROW1"
_OLD_FEATHER: Final = b"FEA1"


def _open(path: Path, _options: Mapping[str, Any]) -> Source:
    with regular_file(path).open("rb") as file:
        magic = file.read(len(_FILE))
    if magic.startswith(_OLD_FEATHER):
        raise InvalidArgument(
            f"{path} is a Feather file of version 1: write it anew with pyarrow.feather.write_feather"
        )
    with faults_of(path):
        if magic == _FILE:
            with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file_reader:
                return Source(
                    reader=stream(file_reader.schema, _file_batches(path)),
                    num_bytes=path.stat().st_size,
                    description=str(path),
                )
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream_reader:
            return Source(
                reader=stream(stream_reader.schema, _stream_batches(path)),
                num_bytes=path.stat().st_size,
                description=str(path),
            )


def _file_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with faults_of(path), pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
        for number in range(reader.num_record_batches):
            yield _checked(reader.get_batch(number))


def _stream_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with faults_of(path), pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
        for batch in reader:
            yield _checked(batch)


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Look at every offset and text: unlike other formats this one is taken from the file without being decoded."""
    batch.validate(full=True)
    return batch


ARROW: Final = Importer(name="arrow", accepts="an Arrow IPC file or stream (.arrow, .feather)", open=_open)
