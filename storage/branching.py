"""Lance's branches: begun at a version, removed, and merged by copying their rows."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa

from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import writing
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.lines import Line, branch_location
from alluxio_lance.storage.models import delta as models
from alluxio_lance.storage.opening import open_latest, open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.reading import LanceTableReader
from alluxio_lance.storage.tagging import untag_line
from alluxio_lance.weights.rows import is_model

__all__ = ["branch", "merge", "unbranch"]


def branch(place: Place, location: str, name: str, version: int, write: Write) -> int:
    """Begin a branch at a version of the main line, and commit the same content on it under our name.

    Lance's own commit, with which a branch begins, can carry no properties.

    Raises
    ------
    NotFound
        When the version does not exist.
    """
    own = branch_location(location, name)
    table = open_version(place, location, version)
    unbranch(place, location, name)
    with lance_faults(place.address(own).uri):
        table.create_branch(name, version)
    return writing.restore(place, own, version, write)


def unbranch(place: Place, location: str, name: str) -> None:
    """Remove a branch with its tags and files; one that is missing, half made or half removed is no error.

    First goes what names it, so that nobody opens a half one.
    """
    line = Line(location, name)
    own = branch_location(location, name)
    table = open_latest(place, location)
    if table is not None:
        with lance_faults(place.address(location).uri):
            untag_line(table, line)
            if name in table.branches.list():
                table.branches.delete(name)
    # Also the folders, which Lance leaves where folders are more than a part of names.
    place.drop(own)


def merge(place: Place, location: str, name: str, version: int, write: Write) -> int:
    """Overwrite the main line with the rows of a branch's version.

    The files are copied, so that the branch can go; of a model, the rows that the main line has not.

    Raises
    ------
    NotFound
        When the branch or its version does not exist.
    """
    own = branch_location(location, name)
    where = f"version {version} of {place.address(own).uri}"
    with closing(LanceTableReader(open_version(place, own, version), where)) as reader:
        rows = pa.RecordBatchReader.from_batches(reader.schema, reader.batches(reader.schema.names))
        source = Source(reader=rows, num_rows=reader.num_rows, description=where)
        overwrite = models.overwrite if is_model(reader.schema) else writing.overwrite
        return overwrite(place, location, source, write)
