"""Loads columns of a version in one pass over its batches into sealed segments, or leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain

import pyarrow as pa

from alluxio_lance.errors import Corrupt, NoSpace, Unavailable
from alluxio_lance.layout import ColumnKind, Pages
from alluxio_lance.lifecycle.ports import TableReader
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.account import Account
from alluxio_lance.sidecar.budget import Room
from alluxio_lance.sidecar.fill import NullItems
from alluxio_lance.sidecar.fill.column import ColumnFilling, HotColumn
from alluxio_lance.sidecar.kinds import kind_of
from alluxio_lance.sidecar.memfd import HUGE_PAGE, choose_pages, free_huge_bytes
from alluxio_lance.sidecar.plan import ColumnPlan, Plan
from alluxio_lance.values import Progress

__all__ = ["HotColumn", "load", "load_units"]


def load(
    reader: TableReader,
    plan: Plan,
    room: Room,
    *,
    prefer: Pages = Pages.HUGE,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[HotColumn]:
    """Bring the columns of a plan into shared memory.

    Parameters
    ----------
    reader
        The version.
    plan
        What to load and how.
    room
        Where memory is claimed; at the end exactly the ``bytes`` of the columns stay claimed.
    prefer
        The best pages to use.
    on_progress
        Told after every batch: rows and bytes.
    cancelled
        Asked before every batch; when it says yes, the load ends with `Unavailable`.

    Returns
    -------
    list of HotColumn
        In the order of the plan; their descriptors are the caller's.

    Raises
    ------
    NoSpace
        When they do not fit.
    Corrupt
        When the store gives other rows or types than the version has.
    """
    with ThreadPoolExecutor(1, "alluxio-lance-allocate") as pool:
        run = _Run(reader, plan, Account(room), pool, prefer, on_progress, cancelled)
        try:
            run.load()
            return [filling.done() for filling in run.filled]
        except BaseException:
            run.undo()
            raise


def load_units(
    reader: TableReader,
    plan: Plan,
    start: int,
    room: Room,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[list[HotColumn]]:
    """Load some of a version's rows in one pass and return the columns of each unit; errors as of `load`.

    Units lie on 4 KiB pages: they are joined in any order, also with such that would have found no huge page free.

    Parameters
    ----------
    plan
        Of these rows, with units in place of shards.
    start
        The first row.
    """
    rows = start, start + plan.num_rows
    with ThreadPoolExecutor(1, "alluxio-lance-allocate") as pool:
        run = _Run(reader, plan, Account(room), pool, Pages.SMALL, None, cancelled, rows)
        try:
            run.load()
            columns = [filling.each() for filling in run.filled]
            return [[column[unit] for column in columns] for unit in range(plan.shards)]
        except BaseException:
            run.undo()
            raise


class _Run:
    def __init__(
        self,
        reader: TableReader,
        plan: Plan,
        account: Account,
        pool: Executor,
        prefer: Pages,
        on_progress: OnProgress | None,
        cancelled: Callable[[], bool],
        rows: tuple[int, int] | None = None,
    ) -> None:
        self._reader = reader
        self._plan = plan
        self._account = account
        self._pool = pool
        self._prefer = prefer
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._rows = rows
        self._fillings: dict[str, ColumnFilling] = {}
        self._copied = 0

    @property
    def filled(self) -> list[ColumnFilling]:
        """The columns, in the order of the plan."""
        return [self._fillings[column.name] for column in self._plan.columns]

    def load(self) -> None:
        again = self._pass(self._plan.columns)
        if again:
            self._pass([filling.column.as_arrow() for filling in again])
        self._account.settle(sum(filling.taken for filling in self.filled))

    def undo(self) -> None:
        for filling in self._fillings.values():
            filling.close()
        self._account.settle(0)

    def _pass(self, columns: Sequence[ColumnPlan]) -> list[ColumnFilling]:
        """Read all rows once into columns and return those that must be laid out as ARROW."""
        fresh = self._claim(columns)
        with closing(self._batches([column.name for column in columns])) as batches:
            # Before the first rows come their files are found and hashed, which takes a while.
            with ThreadPoolExecutor(1, "alluxio-lance-first") as reader:
                first = [reader.submit(next, batches, None)]
                self._allocate(fresh)
            return self._fill(fresh, chain(_popped(first), batches))

    def stretch(self, column: str, row: int, count: int) -> int:
        """Tell how many rows of a column have their places in one segment; 0 when it has none before they come."""
        filling = self._fillings.get(column)
        return 0 if filling is None else filling.stretch(row, count)

    def room(self, column: str, row: int, count: int) -> memoryview | None:
        """Return where rows of a column may be read to."""
        filling = self._fillings.get(column)
        try:
            return None if filling is None else filling.room(row, count)
        except NoSpace:
            # No fault of whoever reads: it is said when the rows are to be written.
            return None

    def _claim(self, columns: Sequence[ColumnPlan]) -> list[ColumnFilling]:
        """Claim the memory of all columns."""
        fresh = []
        pool = free_huge_bytes()
        need = huge = 0
        for column in columns:
            filling = ColumnFilling(self._plan, column, self._pages(column, pool))
            need += filling.need
            if filling.pages is Pages.HUGE:
                pool -= filling.need
                huge += filling.need
            fresh.append(filling)
        self._account.reserve(need, huge=huge)
        self._fillings |= {filling.column.name: filling for filling in fresh}
        return fresh

    def _allocate(self, fresh: Sequence[ColumnFilling]) -> None:
        """Have the memory of FIXED columns taken, in the order in which rows come."""
        fixed = [filling for filling in fresh if filling.column.shape.kind is ColumnKind.FIXED]
        for filling in fixed:
            filling.claim_huge()
        for shard in range(self._plan.shards):
            for filling in fixed:
                filling.begin(shard, self._pool)

    def _pages(self, column: ColumnPlan, pool: int) -> Pages:
        plan = self._plan
        data = min(plan.shard_rows, plan.num_rows) * column.row_bytes
        whole = plan.shards <= 1 or plan.shard_rows * column.row_bytes % HUGE_PAGE == 0
        if column.shape.kind is not ColumnKind.FIXED or not whole:
            return choose_pages(data, min(self._prefer, Pages.TRANSPARENT, key=list(Pages).index))
        wanted = plan.need_of(column, HUGE_PAGE)
        return choose_pages(data, self._prefer, wanted=wanted, pool=pool)

    def _fill(self, fresh: Sequence[ColumnFilling], batches: Iterator[pa.RecordBatch]) -> list[ColumnFilling]:
        active = list(fresh)
        again: list[ColumnFilling] = []
        rows = 0
        full: int | None = None
        for shard, batch in self._pieces([filling.column for filling in active], batches):
            self._finish(active, full)
            for filling in list(active):
                try:
                    self._copied += filling.append(shard, batch.column(filling.column.name))
                except NullItems:
                    filling.close()
                    active.remove(filling)
                    again.append(filling)
            if not active:
                return again
            rows += batch.num_rows
            full = shard if rows == shard * self._plan.shard_rows + self._plan.rows_of(shard) else None
            # Not sealed before the next rows come: these may lie right in the memory, which nobody may have then.
            del batch
            self._follow_growth()
            self._report(rows)
        self._finish(active, full)
        if rows != self._plan.num_rows:
            raise self._wrong_rows(rows)
        return again

    def _finish(self, active: Sequence[ColumnFilling], shard: int | None) -> None:
        if shard is not None:
            for filling in active:
                filling.finish(shard)

    def _follow_growth(self) -> None:
        """Claim what columns of unknown length take beyond the guess."""
        self._account.at_least(sum(max(filling.need, filling.taken) for filling in self._fillings.values()))

    def _report(self, rows: int) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    step="load",
                    rows=rows,
                    total_rows=self._plan.num_rows,
                    bytes=self._copied,
                    total_bytes=max(self._copied, self._plan.need),
                )
            )

    def _batches(self, names: Sequence[str]) -> Generator[pa.RecordBatch, None, None]:
        # Only on reserved huge pages is there a place before the rows come.
        into = self if any(self._fillings[name].pages is Pages.HUGE for name in names) else None
        yield from self._reader.batches(names, rows=self._rows, into=into)

    def _pieces(
        self, columns: Sequence[ColumnPlan], batches: Iterator[pa.RecordBatch]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Cut the stream of batches at the borders of shards."""
        rows = 0
        checked: pa.Schema | None = None
        for batch in batches:
            if self._cancelled():
                raise Unavailable(f"the load of {self._plan.label} was cancelled - open it again", what="load")
            if checked is None or not batch.schema.equals(checked):
                self._check_types(batch.schema, columns)
                checked = batch.schema
            if rows + batch.num_rows > self._plan.num_rows:
                raise self._wrong_rows(rows + batch.num_rows)
            start = 0
            while start < batch.num_rows:
                shard, within = divmod(rows, self._plan.shard_rows)
                piece = batch.slice(start, self._plan.shard_rows - within)
                yield shard, piece
                start += piece.num_rows
                rows += piece.num_rows

    def _check_types(self, schema: pa.Schema, columns: Sequence[ColumnPlan]) -> None:
        for column in columns:
            found = schema.field(column.name)
            shape = kind_of(found)
            planned = kind_of(column.field)
            same = (shape.kind, shape.dtype, shape.shape) == (planned.kind, planned.dtype, planned.shape)
            if not same or (shape.kind is ColumnKind.ARROW and found.type != column.field.type):
                raise Corrupt(
                    f"column {column.name!r} of {self._plan.label} is {column.field.type} by its catalog, but the store "
                    f"gives {found.type} - restore the table, or roll back",
                    expected=str(column.field.type),
                    found=str(found.type),
                )

    def _wrong_rows(self, found: int) -> Corrupt:
        more = found > self._plan.num_rows
        return Corrupt(
            f"{self._plan.label} has {self._plan.num_rows} rows, but the store gives {'at least ' * more}{found} - "
            "restore the table, or roll back",
            expected=self._plan.num_rows,
            found=found,
        )


def _popped(first: list[Future[pa.RecordBatch | None]]) -> Iterator[pa.RecordBatch]:
    """Yield what came first, if anything, and keep nothing of it."""
    came = first.pop().result()
    if came is not None:
        yield came
