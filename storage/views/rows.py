"""The rows of a version whose files lie partly or wholly on this node, with the endpoint behind all of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.fragments import FragmentFiles
from alluxio_lance.storage.patience import Pump
from alluxio_lance.storage.scanning import Shape, Span, scan
from alluxio_lance.storage.views.mending import mend
from alluxio_lance.storage.views.pieces import Piece, cut
from alluxio_lance.storage.views.preparing import Fault
from alluxio_lance.storage.views.survey import Survey
from alluxio_lance.storage.views.table import Manifest, Table
from alluxio_lance.storage.views.window import Window
from alluxio_lance.ways import FileWay

__all__ = ["NearRows"]

_LOG: Final = logging.getLogger(__name__)


class NearRows:
    """The rows of a table: each piece from this node's files where they are all there and right, else by the endpoint.

    Parameters
    ----------
    table
        The version.
    survey
        What lies on this node; it is closed with this.
    known
        What each file must be.
    views
        The folder in which views are made.
    patience
        Seconds without a batch of the endpoint after which it counts as hanging.
    manifest
        What views begin with, or why it could not be read; None when nothing is near.
    """

    def __init__(
        self,
        table: Table,
        survey: Survey,
        known: Mapping[str, StoredFile],
        views: Path,
        patience: float,
        manifest: Manifest | AlluxioLanceError | None,
    ) -> None:
        self._table = table
        self._survey = survey
        self._known = known
        self._views = views
        self._patience = patience
        self._checked: set[str] = set()
        self._manifest = manifest
        if isinstance(manifest, AlluxioLanceError) and survey.blocks:
            self._give_up(f"no view can be made without its manifest: {manifest}")
        self._lock = threading.Lock()
        self._streams = 0
        self._closed = False

    @property
    def ways(self) -> tuple[FileWay, ...]:
        """By which way each file is read, as far as it is known now."""
        return self._survey.listed()

    def scan(self, shape: Shape, span: Span) -> Iterator[pa.RecordBatch]:
        """Stream rows in order; fragments without any of them are not even looked at."""
        first, stop, span = _overlapping(self._table.fragments, span)
        with self._files_held(), ExitStack() as stack:
            pieces = cut(self._table.fragments[first:stop], self._survey, first)
            window = self._window(stack, [piece for piece in pieces if piece.near])
            for piece in pieces:
                here, span = span.within(piece.rows), span.after(piece.rows)
                if window is None or not piece.near:
                    yield from self._far(piece, shape, here)
                    continue
                for fault in window.prepare(piece):
                    self._fall_back(piece.fragments, fault)
                # Fragments with a fault are far by now, and the others are not.
                yield from self._read(window, piece.fragments, piece.first, shape, here)
                window.release(piece)

    def _window(self, stack: ExitStack, pieces: list[Piece]) -> Window | None:
        if not pieces or not isinstance(self._manifest, Manifest):
            return None
        survey = self._survey
        try:
            return stack.enter_context(
                Window(self._table, self._manifest, survey.blocks, self._known, self._views, pieces, self._checked)
            )
        except (OSError, AlluxioLanceError) as error:
            self._give_up(f"no view can be made in {self._views}: {error}")
            return None

    def _give_up(self, why: str) -> None:
        """Read all through the endpoint from now on."""
        _LOG.warning("%s is read through the endpoint: %s", self._table.where, why)
        for path in list(self._survey.blocks):
            self._survey.fall_back([path], path, why)

    def _read(
        self, window: Window, fragments: Sequence[FragmentFiles], first: int, shape: Shape, span: Span
    ) -> Iterator[pa.RecordBatch]:
        """Read fragments that were made ready; those in which a fault was found are far by now."""
        while fragments:
            part = cut(fragments, self._survey, first)[0]
            if part.near:
                count = yield from self._read_near(window, part, shape, span.within(part.rows))
            else:
                yield from self._far(part, shape, span.within(part.rows))
                count = len(part.fragments)
            span = span.after(sum(fragment.rows for fragment in fragments[:count]))
            fragments, first = fragments[count:], first + count

    def _read_near(self, window: Window, part: Piece, shape: Shape, span: Span) -> Generator[pa.RecordBatch, None, int]:
        """Read rows of a part from the view and return how many of its fragments are done with.

        That is all, or those up to the one in which it breaks off, which goes on through the endpoint.
        """
        done = span.start
        try:
            for batch in window.scan(part, shape, span):
                done += batch.num_rows
                yield batch
        except AlluxioLanceError as error:
            broken, before = _find(part.fragments, done)
            one = part.fragments[broken]
            self._fall_back([one], Fault(one.paths[0], f"its blocks broke off after {done - before} rows: {error}"))
            rest = Span(done, span.stop).after(before).within(one.rows)
            yield from self._far(Piece(part.first + broken, near=False, fragments=[one]), shape, rest)
            return broken + 1
        return len(part.fragments)

    def _fall_back(self, fragments: Sequence[FragmentFiles], fault: Fault) -> None:
        """Read the one of some fragments that has a file through the endpoint from now on."""
        _LOG.warning("%s: %s is read through the endpoint: %s", self._table.where, fault.path, fault.why)
        for fragment in fragments:
            if fault.path in fragment.paths:
                self._survey.fall_back(fragment.paths, fault.path, fault.why)
        if fault.wrong:
            self._survey.damaged.add(fault.path)

    def _far(self, piece: Piece, shape: Shape, span: Span) -> Iterator[pa.RecordBatch]:
        """Read rows of a piece through the endpoint."""
        table = self._table
        if self._survey.is_called_near(piece.paths):
            self._survey.fall_back(piece.paths, piece.paths[0], "the reader was closed before it was read")
        for path in self._survey.damaged.intersection(piece.paths):
            mend(table.place, table.line.root, path, self._known.get(path))
            self._survey.damaged.discard(path)

        def rest() -> Iterator[pa.RecordBatch]:
            dataset = table.whole()
            return scan(dataset, shape, table.where, span, dataset.get_fragments()[piece.first : piece.stop])

        with closing(Pump(self._patience, table.where, rest)) as batches:
            yield from batches

    # -- the files -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _files_held(self) -> Iterator[None]:
        """Keep the files open for a stream; after `close` there are none, and all is read through the endpoint."""
        with self._lock:
            self._streams += 1
        try:
            yield
        finally:
            self._let_go(-1)

    def close(self) -> None:
        """Close the files as soon as no stream reads them."""
        self._closed = True
        self._let_go(0)

    def _let_go(self, change: int) -> None:
        with self._lock:
            self._streams += change
            if self._closed and not self._streams:
                self._survey.close()


def _overlapping(fragments: Sequence[FragmentFiles], span: Span) -> tuple[int, int, Span]:
    """Tell which fragments have rows of a span, the one behind the last too, and the span counted from the first."""
    first, before = _find(fragments, span.start) if fragments else (0, 0)
    stop = _find(fragments, span.stop - 1)[0] + 1 if span.rows else first
    return first, stop, span.after(before)


def _find(fragments: Sequence[FragmentFiles], row: int) -> tuple[int, int]:
    """Tell in which fragment a row is, and how many rows are before that fragment."""
    before = 0
    for number, fragment in enumerate(fragments[:-1]):
        if row < before + fragment.rows:
            return number, before
        before += fragment.rows
    return len(fragments) - 1, before
