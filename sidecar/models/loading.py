"""Loads a model from its table into sealed files in shared memory, or leaves nothing behind.

First what the rows are is read, without their bytes: from it follows where each piece goes. Then the bytes, in one pass,
copied and verified by other threads than the one that reads. Of a small model all is read at once.

Every byte is verified once. What comes from block files of this node was: the hash of each whole file, names, shapes and
hashes of pieces included, is the one in the catalog before a row of it is read. All else, a local root and whatever comes
through the endpoint, has no such hash, and each piece is compared with its SHA-256 in the table. Read from blocks, a piece
is therefore not guarded against what happens to its bytes after its file was hashed: a block file that the worker's user
changes in that moment, a fault of the memory. The rows of datasets never were.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Final

import numpy as np
import pyarrow as pa

from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.lifecycle.ports import TableReader
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.account import Account
from alluxio_lance.sidecar.budget import Room
from alluxio_lance.sidecar.fill.column import HotColumn
from alluxio_lance.sidecar.memfd import free_huge_bytes
from alluxio_lance.sidecar.models.contents import Contents, Part, damaged, read_contents
from alluxio_lance.sidecar.models.file import FileFilling
from alluxio_lance.sidecar.models.placing import Placing
from alluxio_lance.sidecar.models.planning import COLUMNS
from alluxio_lance.sidecar.models.runs import Piece, Run, runs_of
from alluxio_lance.sidecar.models.small import SMALL_BYTES, InPlace, ModelRows, SmallModel
from alluxio_lance.sidecar.plan import ColumnPlan, Plan
from alluxio_lance.values import Progress
from alluxio_lance.ways import all_blocks
from alluxio_lance.weights.chunks import CHUNK_BYTES, chunk_bytes
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import Kind, Notes

__all__ = ["load_model"]

_THREADS: Final = min(4, os.cpu_count() or 1)
_WAITING: Final = _THREADS + 1
"""Batches that are read and not copied yet, at most: one for each thread, and the next."""
_U8: Final = "U8"


def load_model(
    reader: TableReader,
    plan: Plan,
    room: Room,
    *,
    prefer: Pages = Pages.HUGE,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[HotColumn]:
    """Bring the columns of a model's plan into shared memory; arguments and result as of `loader.load`.

    Raises
    ------
    NoSpace
        When they do not fit.
    Corrupt
        When the table is no whole model, or a piece has other bytes than were registered.
    """
    small = plan.stored_bytes is not None and plan.stored_bytes <= SMALL_BYTES
    with (
        InPlace() if small else ThreadPoolExecutor(1, "alluxio-lance-allocate") as taker,
        InPlace() if small else ThreadPoolExecutor(_THREADS, "alluxio-lance-model") as copiers,
    ):
        run = _Run(SmallModel(reader) if small else reader, plan, Account(room), copiers, on_progress, cancelled)
        try:
            run.load(prefer, taker)
            columns = [filling.done() for filling in run.fillings]
        except BaseException:
            run.undo()
            raise
        # Not before all of them are described: what fails on the way closes those that are.
        for filling in run.fillings:
            filling.let_go()
        return columns


class _Run:
    def __init__(
        self,
        reader: ModelRows,
        plan: Plan,
        account: Account,
        copiers: Executor,
        on_progress: OnProgress | None,
        cancelled: Callable[[], bool],
    ) -> None:
        self._reader = reader
        self._plan = plan
        self._account = account
        self._copiers = copiers
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._fillings: dict[str, FileFilling] = {}
        self._copying: deque[Future[int]] = deque()
        self._copied = self._total = 0

    @property
    def fillings(self) -> list[FileFilling]:
        """The files, in the order of the plan."""
        return list(self._fillings.values())

    def load(self, prefer: Pages, taker: Executor) -> None:
        contents = read_contents(self._reader, self._plan.num_rows, self._plan.label, self._go_on)
        self._start(contents, prefer, taker)
        pieces = [piece for filling in self.fillings for piece in _pieces(contents, filling)]
        self._total = sum(piece.size for piece in pieces)
        for run in runs_of(pieces):
            self._read(run)
        while self._copying:
            self._end_one()
        for filling in self.fillings:
            filling.finish()
        self._account.settle(sum(filling.taken for filling in self.fillings))
        self._report()

    def undo(self) -> None:
        for filling in self.fillings:
            filling.cancel()
        wait(self._copying)
        for filling in self.fillings:
            filling.close()
        self._account.settle(0)

    # -- memory ----------------------------------------------------------------------------------------------------

    def _start(self, contents: Contents, prefer: Pages, taker: Executor) -> None:
        """Claim the memory of all files, then have it taken, in the order in which rows come."""
        pool = free_huge_bytes()
        need = huge = 0
        fresh = []
        for column in self._plan.columns:
            filling = self._filling(column, contents, prefer, pool)
            need += filling.need
            if filling.pages is Pages.HUGE:
                pool -= filling.need
                huge += filling.need
            fresh.append(filling)
        self._account.reserve(need, huge=huge)
        self._fillings = {filling.column.name: filling for filling in fresh}
        for filling in fresh:
            filling.claim_huge()
        for filling in fresh:
            filling.begin(taker)

    def _filling(self, column: ColumnPlan, contents: Contents, prefer: Pages, pool: int) -> FileFilling:
        kind, label = COLUMNS[column.name], self._plan.label
        specs = [_spec(part) for part in contents.of(kind)]
        metadata = self._metadata(contents) if kind is Kind.TENSOR else {}
        try:
            return FileFilling(column, self._plan.num_rows, specs, metadata, label=label, prefer=prefer, pool=pool)
        except InvalidArgument as error:
            raise damaged(label, error.message) from error

    def _metadata(self, contents: Contents) -> Mapping[str, str]:
        text = b"".join(self._notes(contents))
        try:
            notes = Notes.from_json(text)
            notes.check_names({part.name for part in contents.of(Kind.TENSOR)})
        except InvalidArgument as error:
            raise damaged(self._plan.label, error.message) from error
        return notes.to_metadata()

    def _notes(self, contents: Contents) -> Sequence[bytes]:
        """Read the pieces of the notes, which may lie anywhere."""
        found: dict[int, bytes] = {}
        for run in runs_of(_pieces_of(contents.notes, "", 0)):
            row = run.rows[0]
            for batch in self._reader.batches(["data"], rows=run.rows, batch_rows=run.batch_rows):
                known = all_blocks(self._reader.ways)
                for piece, view in self._views(batch, row, run):
                    self._verify(piece, view, known=known)
                    found[piece.offset] = view.tobytes()
                row += batch.num_rows
            self._check_rows(row, run)
        return [found[offset] for offset in sorted(found)]

    # -- bytes -----------------------------------------------------------------------------------------------------

    def _read(self, run: Run) -> None:
        row = run.rows[0]
        into = Placing(run.pieces, self._fillings)
        for batch in self._reader.batches(["data"], rows=run.rows, batch_rows=run.batch_rows, into=into):
            self._go_on()
            while len(self._copying) >= _WAITING:
                self._end_one()
            # Asked now that it has come: a way may change to the endpoint in the middle, and only before a batch does.
            known = all_blocks(self._reader.ways)
            self._copying.append(self._copiers.submit(self._copy, batch, row, run, known=known))
            row += batch.num_rows
            # Not sealed before it is let go: it may lie right in the memory.
            del batch
        self._check_rows(row, run)

    def _go_on(self) -> None:
        if self._cancelled():
            raise Unavailable(f"the load of {self._plan.label} was cancelled - open it again", what="load")

    def _end_one(self) -> None:
        """Wait for the longest running copy; it stays in the list while it runs, for `undo`."""
        self._copied += self._copying[0].result()
        self._copying.popleft()
        self._report()

    def _copy(self, batch: pa.RecordBatch, row: int, run: Run, *, known: bool) -> int:
        """Bring a batch to its places, and return the bytes; ``known``: its bytes were verified before they were read."""
        copied = 0
        for piece, view in self._views(batch, row, run):
            self._verify(piece, view, known=known)
            self._fillings[piece.column].write(piece.offset, view)
            copied += piece.size
        return copied

    def _views(self, batch: pa.RecordBatch, row: int, run: Run) -> Sequence[tuple[Piece, memoryview]]:
        """Return the bytes of each row, without a copy."""
        column = batch.column(0)
        if column.type != pa.large_binary() or column.null_count:
            raise damaged(self._plan.label, f"its column 'data' is {column.type}, or has nulls")
        first = row - run.rows[0]
        if first + batch.num_rows > len(run.pieces):
            raise self._wrong_rows(row + batch.num_rows, run)
        if not batch.num_rows:
            return []
        _, offsets, data = column.buffers()
        ends = np.frombuffer(offsets, np.int64, batch.num_rows + 1, 8 * column.offset).tolist()
        # Without a single byte there may be no buffer.
        values = memoryview(data or b"").cast("B")
        pieces = run.pieces[first : first + batch.num_rows]
        return [(piece, values[start:end]) for piece, start, end in zip(pieces, ends, ends[1:], strict=False)]

    def _verify(self, piece: Piece, view: memoryview, *, known: bool) -> None:
        if view.nbytes != piece.size:
            raise damaged(
                self._plan.label, f"{piece.title} has {view.nbytes} bytes instead of {piece.size}", expected=piece.size
            )
        if known:
            return
        found = hashlib.sha256(view).digest()
        if found != piece.hash:
            raise damaged(
                self._plan.label,
                f"{piece.title} has other bytes than were registered",
                expected=piece.hash.hex(),
                found=found.hex(),
            )

    def _check_rows(self, row: int, run: Run) -> None:
        if row != run.rows[1]:
            raise self._wrong_rows(row, run)

    def _wrong_rows(self, row: int, run: Run) -> Exception:
        return damaged(self._plan.label, f"rows {run.rows[0]} to {run.rows[1]} were asked for, and came to {row}")

    def _report(self) -> None:
        if self._on_progress is not None:
            done = self._copied == self._total
            rows = self._plan.num_rows if done else int(self._plan.num_rows * self._copied / self._total)
            self._on_progress(
                Progress(
                    step="load",
                    rows=rows,
                    total_rows=self._plan.num_rows,
                    bytes=self._copied,
                    total_bytes=self._total,
                )
            )


def _spec(part: Part) -> TensorSpec:
    if part.kind is Kind.TENSOR:
        return TensorSpec(name=part.name, dtype=part.dtype, shape=part.shape)
    return TensorSpec(name=part.name, dtype=_U8, shape=(part.size,))


def _pieces(contents: Contents, filling: FileFilling) -> list[Piece]:
    """Place the pieces of one column."""
    placed = filling.head.tensors
    return [
        piece
        for part in contents.of(COLUMNS[filling.column.name])
        for piece in _pieces_of(part, filling.column.name, placed[part.name].offset)
    ]


def _pieces_of(part: Part, column: str, start: int) -> list[Piece]:
    return [
        Piece(
            row,
            f"piece {chunk} of {part.title}",
            column,
            start + chunk * CHUNK_BYTES,
            chunk_bytes(part.size, chunk),
            hash,
        )
        for chunk, (row, hash) in part.rows.items()
    ]
