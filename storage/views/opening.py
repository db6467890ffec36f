"""Opening a version by the nearest way, and telling beforehand which way that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import lance

from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.caching import share
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.fragments import fragment_files
from alluxio_lance.storage.lines import line_of
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.patience import PATIENCE, Pump, within
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.reading import LanceTableReader
from alluxio_lance.storage.scanning import PlainRows
from alluxio_lance.storage.views.rows import NearRows
from alluxio_lance.storage.views.survey import Survey
from alluxio_lance.storage.views.table import Manifest, Table
from alluxio_lance.ways import Explanation, FileWay, Way

__all__ = ["explain", "open_nearest"]


def open_nearest(
    place: Place,
    location: str,
    version: int,
    known: Mapping[str, StoredFile] | None,
    views: Path,
    *,
    patience: float = PATIENCE,
) -> LanceTableReader:
    """Open a version for reading.

    Parameters
    ----------
    known
        What the catalog knows of its files: only what can be checked against it is read from block files.
    views
        The folder in which views are made.
    patience
        Seconds to wait for an answer of the endpoint.

    Raises
    ------
    NotFound
        When the table or version does not exist.
    Unavailable
        When the place does not answer.
    """
    where = f"version {version} of {place.address(location).uri}"
    if place.way() is Way.LOCAL:
        dataset = open_version(place, location, version)
        plain = PlainRows(
            dataset, where, lambda: _looked(_table(place, location, dataset, known or {}), known or {}, views)
        )
        return LanceTableReader(dataset, where, plain)

    def opened() -> LanceTableReader:
        # The manifest is fetched while the version is opened: a load waits for every request that is made in turn.
        # Without a hash nothing will be near, and it is not wanted.
        manifests = _manifests(place, location, version) if known else iter(())
        with closing(Pump(patience, where, lambda: manifests)) as coming:
            table = _table(place, location, open_version(place, location, version), known or {})
            survey = Survey(table, known or {}, views)
            try:
                rows = NearRows(table, survey, known or {}, views, patience, lambda: next(coming))
                return LanceTableReader(table.dataset, where, rows)
            except BaseException:
                survey.close()
                raise

    return within(patience, where, opened)


def explain(place: Place, location: str, version: int, known: Mapping[str, StoredFile], views: Path) -> Explanation:
    """Tell by which way each file would be read now: nothing is copied, and no byte of a file is read.

    Raises
    ------
    NotFound
        When the table or version does not exist.
    """
    table = _table(place, location, open_version(place, location, version), known)
    return Explanation(files=_looked(table, known, views), share=share(place, location, version))


def _manifests(place: Place, location: str, version: int) -> Iterator[Manifest]:
    """Read the one manifest when it is asked for."""
    yield Manifest.read(place, line_of(location), version)


def _looked(table: Table, known: Mapping[str, StoredFile], views: Path) -> tuple[FileWay, ...]:
    with closing(Survey(table, known, views)) as survey:
        return survey.listed()


def _table(place: Place, location: str, dataset: lance.LanceDataset, known: Mapping[str, StoredFile]) -> Table:
    """Find the files of a version that is open; they are listed only when the catalog does not name them all."""
    line = line_of(location)
    where = f"version {dataset.version} of {place.address(location).uri}"
    with lance_faults(where):
        sizes = {path: file.size for path, file in known.items()}
        fragments = fragment_files(dataset, line, sizes)
        if not all(path in sizes for fragment in fragments for path in fragment.paths):
            sizes = place.files(line.root)
            fragments = fragment_files(dataset, line, sizes)
    return Table(place=place, line=line, dataset=dataset, fragments=fragments, sizes=sizes, where=where)
