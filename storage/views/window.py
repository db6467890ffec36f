"""A view with the table open in it, in which the next pieces are made ready while one is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import lance
import pyarrow as pa
from blake3 import blake3

from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.raw.scanning import RawScanner
from alluxio_lance.storage.scanning import Shape, Span
from alluxio_lance.storage.views.folder import View
from alluxio_lance.storage.views.pieces import Piece
from alluxio_lance.storage.views.preparing import Fault, Preparation
from alluxio_lance.storage.views.survey import AHEAD
from alluxio_lance.storage.views.table import Manifest, Table

__all__ = ["Window"]

_PLAIN_AHEAD: Final = 8
"""Pieces that are hashed ahead where none of their files is joined: so that no processor waits while memory is cleared or
rows are copied, and few enough that the page cache still has a piece when it is read."""


class Window:
    """What one stream reads near pieces from.

    Parameters
    ----------
    table, manifest
        The version.
    blocks, known, checked
        As for `Preparation`.
    views
        The folder in which the view is made.
    pieces
        The pieces that are near, in the order in which they will be asked for.

    Raises
    ------
    OSError, AlluxioLanceError
        When no view can be made.
    """

    def __init__(
        self,
        table: Table,
        manifest: Manifest,
        blocks: Mapping[str, tuple[int, ...]],
        known: Mapping[str, StoredFile],
        views: Path,
        pieces: Sequence[Piece],
        checked: set[str],
    ) -> None:
        # Pieces are hashed side by side, each by one thread. A piece that is all alone has all processors.
        self._view = View(views, hash_threads=1 if len(pieces) > 1 else blake3.AUTO)
        self._where = f"the blocks on this node of {table.where}"
        try:
            self._dataset = self._open(table, manifest)
            self._scanner = RawScanner(self._dataset, self._where, lambda name: self._view.find(f"data/{name}"))
        except BaseException:
            self._view.close()
            raise
        self._preparation = Preparation(self._view, table.line.prefix, views, blocks, known, checked)
        self._pool = ThreadPoolExecutor(AHEAD, "alluxio-lance-check")
        self._coming = deque(pieces)
        self._ready: dict[Piece, Future[list[Fault]]] = {}
        self._blocks = blocks
        self._begin()

    def _open(self, table: Table, manifest: Manifest) -> lance.LanceDataset:
        opened = manifest.opened(self._view, self._where)
        if opened.version != table.described.version or opened.count_rows() != table.described.count_rows():
            raise Corrupt(
                f"{self._where} begin with another manifest", expected=table.described.version, found=opened.version
            )
        return opened

    def _begin(self) -> None:
        """Have pieces made ready, as many as may be at once; those of joined files take room on the disk."""
        while self._coming:
            joins = any(len(self._blocks[path]) > 1 for path in self._coming[0].paths)
            if len(self._ready) >= (AHEAD if joins else _PLAIN_AHEAD):
                return
            piece = self._coming.popleft()
            self._ready[piece] = self._pool.submit(self._preparation.prepare, piece.paths)

    def prepare(self, piece: Piece) -> list[Fault]:
        """Wait until a piece is ready, begin with later ones, and return what cannot be used of it."""
        ready = self._ready.pop(piece)
        self._begin()
        return ready.result()

    def scan(self, piece: Piece, shape: Shape, span: Span) -> Iterator[pa.RecordBatch]:
        """Stream rows of a piece."""
        fragments = self._dataset.get_fragments()[piece.first : piece.stop]
        return self._scanner.scan(shape, span, fragments)

    def release(self, piece: Piece) -> None:
        """Let go of what was made for a piece."""
        self._preparation.release(piece.paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._preparation.stop()
        self._pool.shutdown(cancel_futures=True)
        self._preparation.close()
        self._view.close()
