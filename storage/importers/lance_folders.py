"""A Lance table somewhere else on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, NotFound
from alluxio_lance.incoming import Source, stream
from alluxio_lance.storage.importers.kind import Importer
from alluxio_lance.storage.importers.values import text, whole
from alluxio_lance.storage.local import LocalRoot
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.reading import LanceTableReader

__all__ = ["LANCE"]


def _open(path: Path, options: Mapping[str, Any]) -> Source:
    if not path.is_dir():
        raise InvalidArgument(f"{path} is no Lance table: that is a folder")
    version = options.get("version")
    if isinstance(version, str):
        chosen: int | str | None = text("version", version)
    else:
        chosen = None if version is None else whole("version", version, 1, (1 << 63) - 1)
    try:
        dataset = open_version(LocalRoot(path.parent), path.name, chosen)
        reader = LanceTableReader(dataset, str(path))
    except NotFound as missing:
        raise InvalidArgument(f"{path} is no Lance table, or has no version {chosen}") from missing
    except AlluxioLanceError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.message}") from error
    return Source(
        reader=stream(reader.schema, _batches(reader)),
        num_rows=reader.num_rows,
        description=str(path) if chosen is None else f"{path} (version {chosen})",
    )


def _batches(reader: LanceTableReader) -> Iterator[Any]:
    with reader:
        yield from reader.batches(reader.schema.names)


LANCE: Final = Importer(
    name="lance",
    accepts="a folder with a Lance table",
    open=_open,
    options={"version": "the version to read, a number or a tag; the newest by default"},
)
