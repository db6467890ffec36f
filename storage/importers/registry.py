"""The table of importers, and the choice of one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import IN_MEMORY, InMemory, Source, find_kind
from alluxio_lance.storage.importers.arrow_files import ARROW
from alluxio_lance.storage.importers.delimited import CSV
from alluxio_lance.storage.importers.detection import detect
from alluxio_lance.storage.importers.file_tree import FILES
from alluxio_lance.storage.importers.files import existing
from alluxio_lance.storage.importers.images import IMAGES
from alluxio_lance.storage.importers.json_lines import JSON
from alluxio_lance.storage.importers.kind import Importer
from alluxio_lance.storage.importers.lance_folders import LANCE
from alluxio_lance.storage.importers.parquet import PARQUET

__all__ = ["open_source"]

_PATHS: Final = {importer.name: importer for importer in (PARQUET, CSV, JSON, ARROW, LANCE, IMAGES, FILES)}


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
    NotFound
        When there is nothing at the path.
    InvalidArgument
        When the data are of no accepted kind, empty, unreadable or broken, or an option is unknown or wrong.
    """
    if isinstance(data, str | os.PathLike):
        return _open_path(data, format, options)
    kind = find_kind(data)
    if kind is None:
        raise InvalidArgument(f"{type(data).__name__} is not accepted. {_accepted()}")
    if format is not None or options:
        raise InvalidArgument(f"format and options are for paths; {kind.accepts} has none")
    return kind.open(data)


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
    kinds: list[Importer | InMemory] = [*_PATHS.values(), *IN_MEMORY]
    return "Accepted are " + ", ".join(importer.accepts for importer in kinds)
