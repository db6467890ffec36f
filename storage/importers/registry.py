"""The table of importers, and the choice of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.ports import Source
from alluxio_lance.storage.importers.arrow_data import open_batches, open_c_stream, open_reader, open_table
from alluxio_lance.storage.importers.arrow_files import ARROW
from alluxio_lance.storage.importers.delimited import CSV
from alluxio_lance.storage.importers.detection import detect
from alluxio_lance.storage.importers.file_tree import FILES
from alluxio_lance.storage.importers.files import existing
from alluxio_lance.storage.importers.frames import is_pandas, is_polars, open_pandas, open_polars
from alluxio_lance.storage.importers.hugging_face import is_hugging_face, open_hugging_face
from alluxio_lance.storage.importers.images import IMAGES
from alluxio_lance.storage.importers.json_lines import JSON
from alluxio_lance.storage.importers.kind import Importer, InMemory
from alluxio_lance.storage.importers.lance_folders import LANCE
from alluxio_lance.storage.importers.parquet import PARQUET

__all__ = ["open_source"]

_PATHS: Final = {importer.name: importer for importer in (PARQUET, CSV, JSON, ARROW, LANCE, IMAGES, FILES)}


def _is_table(data: Any) -> bool:
    return isinstance(data, pa.Table | pa.RecordBatch)


def _is_reader(data: Any) -> bool:
    return isinstance(data, pa.RecordBatchReader)


def _speaks_arrow(data: Any) -> bool:
    return hasattr(data, "__arrow_c_stream__")


def _is_iterable(data: Any) -> bool:
    return isinstance(data, Iterable) and not isinstance(data, bytes | bytearray | memoryview | Mapping)


# The first row that recognises the data opens them; the libraries' own frames come before what they can export.
_IN_MEMORY: Final = (
    InMemory("a pyarrow Table or RecordBatch", _is_table, open_table),
    InMemory("a pyarrow RecordBatchReader", _is_reader, open_reader),
    InMemory("a pandas DataFrame", is_pandas, open_pandas),
    InMemory("a polars DataFrame or LazyFrame", is_polars, open_polars),
    InMemory("a Hugging Face datasets.Dataset", is_hugging_face, open_hugging_face),
    InMemory("an object with Arrow's C stream", _speaks_arrow, open_c_stream),
    InMemory("an iterable of pyarrow RecordBatches", _is_iterable, open_batches),
)


def open_source(data: Any, *, format: str | None, options: Mapping[str, Any]) -> Source:
    """Open data of any accepted kind as a stream.

    Parameters
    ----------
    data
        A path, or data in this process.
    format
        The importer of a path, where its bytes, ending or content do not tell.
    options
        Options of that importer.

    Raises
    ------
    InvalidArgument
        When the data are of no accepted kind, empty, unreadable or broken, or an option is unknown or wrong.
    """
    if isinstance(data, str | os.PathLike):
        return _open_path(data, format, options)
    for kind in _IN_MEMORY:
        if kind.recognises(data):
            if format is not None or options:
                raise InvalidArgument(f"format and options are for paths; {kind.accepts} has none")
            return kind.open(data)
    raise InvalidArgument(f"{type(data).__name__} is not accepted. {_accepted()}")


def _open_path(data: str | os.PathLike[str], format: str | None, options: Mapping[str, Any]) -> Source:
    if format is not None and format not in _PATHS:
        raise InvalidArgument(f"there is no format {format!r}; there are {', '.join(_PATHS)}")
    path = existing(data)
    name = format or detect(path)
    if name is None:
        raise InvalidArgument(
            f"{path} is of no known kind. {_accepted()}. Name its format if it is one of {', '.join(_PATHS)}"
        )
    importer = _PATHS[name]
    importer.check(options)
    return importer.open(path, options)


def _accepted() -> str:
    kinds: list[Importer | InMemory] = [*_PATHS.values(), *_IN_MEMORY]
    return "Accepted are " + ", ".join(importer.accepts for importer in kinds)
