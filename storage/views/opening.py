"""Opening a version by the nearest way, and telling beforehand which way that is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

import lance

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.caching import share
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.fragments import data_folder, fragment_files
from alluxio_lance.storage.lines import line_of
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.patience import PATIENCE, within
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.reading import LanceTableReader
from alluxio_lance.storage.scanning import PlainRows
from alluxio_lance.storage.views.folder import View
from alluxio_lance.storage.views.rows import NearRows
from alluxio_lance.storage.views.survey import Survey
from alluxio_lance.storage.views.table import Manifest, Table
from alluxio_lance.ways import Explanation, FileWay, Way

__all__ = ["explain", "open_nearest"]

_LOG: Final = logging.getLogger(__name__)


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
    whole = cache(lambda: open_version(place, location, version))
    if place.way() is Way.LOCAL:
        dataset = whole()
        plain = PlainRows(
            dataset, where, lambda: _looked(_table(place, location, dataset, known or {}, whole), known or {}, views)
        )
        return LanceTableReader(dataset, where, plain)

    def opened() -> LanceTableReader:
        line = line_of(location)
        # A load waits for every answer that is asked for in turn.
        look = place.look(line.root, data_folder(line))
        # Without a hash nothing will be near.
        manifest = _manifest(place, location, version) if known else None
        described = _described(manifest, version, views, where) if isinstance(manifest, Manifest) else None
        table = _table(place, location, described or whole(), known or {}, whole)
        survey = Survey(table, look, known or {}, views)
        try:
            if described is not None and not survey.all_near:
                # Now: what is open can be read even when the table goes.
                whole()
            rows = NearRows(table, survey, known or {}, views, patience, manifest)
            return LanceTableReader(table.described, where, rows, table.whole)
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
    whole = cache(lambda: open_version(place, location, version))
    table = _table(place, location, whole(), known, whole)
    return Explanation(files=_looked(table, known, views), share=share(place, location, version))


def _manifest(place: Place, location: str, version: int) -> Manifest | AlluxioLanceError:
    """Read the manifest, or tell why it cannot be read."""
    try:
        return Manifest.read(place, line_of(location), version)
    except AlluxioLanceError as error:
        return error


def _described(manifest: Manifest, version: int, views: Path, where: str) -> lance.LanceDataset | None:
    """Open a version by its manifest alone: Lance asks an endpoint several things in turn. None where that fails."""
    try:
        with View(views) as view:
            dataset = manifest.opened(view, where)
    except (OSError, AlluxioLanceError):
        # What is wrong is said by who opens it through the endpoint, or makes a view to read from.
        _LOG.debug("%s is not opened by its manifest", where, exc_info=True)
        return None
    return dataset if dataset.version == version else None


def _looked(table: Table, known: Mapping[str, StoredFile], views: Path) -> tuple[FileWay, ...]:
    with closing(Survey(table, table.place.look(table.line.root, data_folder(table.line)), known, views)) as survey:
        return survey.listed()


def _table(
    place: Place,
    location: str,
    described: lance.LanceDataset,
    known: Mapping[str, StoredFile],
    whole: Callable[[], lance.LanceDataset],
) -> Table:
    """Find the files of a version that is open; they are listed only when the catalog does not name them all."""
    line = line_of(location)
    where = f"version {described.version} of {place.address(location).uri}"
    with lance_faults(where):
        sizes = {path: file.size for path, file in known.items()}
        fragments = fragment_files(described, line, sizes)
        if not all(path in sizes for fragment in fragments for path in fragment.paths):
            sizes = place.files(line.root)
            fragments = fragment_files(described, line, sizes)
    return Table(
        place=place, line=line, described=described, whole=whole, fragments=fragments, sizes=sizes, where=where
    )
