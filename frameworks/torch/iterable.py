"""The iterable dataset: a version of any size in one planned order, for any number of ranks and workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
from torch.utils.data import IterableDataset as TorchIterableDataset
from torch.utils.data import get_worker_info

from alluxio_lance.client.arenas import Arenas
from alluxio_lance.client.arguments import batch_rows, column_names, counted
from alluxio_lance.client.counting import ReadStatistics
from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.epochs.share import Share
from alluxio_lance.client.epochs.state import Start, State, WorkerShare
from alluxio_lance.client.generation import Generation
from alluxio_lance.errors import Conflict, InvalidArgument, Unavailable
from alluxio_lance.frameworks.torch.decoding import Decode
from alluxio_lance.frameworks.torch.iterable_batches import Batches, SampleTransform, Tally
from alluxio_lance.frameworks.torch.iterable_ranks import Opened, Ranks
from alluxio_lance.frameworks.torch.iterable_source import Request, Source
from alluxio_lance.frameworks.torch.iterable_turns import Turns
from alluxio_lance.frameworks.torch.rows import BatchTransform
from alluxio_lance.manager import OnProgress

__all__ = ["AlluxioIterableDataset"]

_MANY_BATCHES: Final = 16
_FEW_BATCHES: Final = 4
_PATIENCE: Final = 1.0
_LONG_PATIENCE: Final = 30.0
"""The workers of a DataLoader are apart by up to ``prefetch_factor + 1`` batches each, a number that they do not know. Where
a window has more of them, they are in two windows at most, and there is room for two: so with many batches per worker a
window is held, and with few only while a batch is made. In between it is let go when nobody has asked for a batch for a
second, since somebody else may wait for its memory. With many that takes longer: but a loop that pauses for another
dataset, whose windows may need that memory, or workers that take more in advance than usual, must not wait in vain."""


class AlluxioIterableDataset(TorchIterableDataset[Any]):
    """One version of a dataset as a stream of batches, wholly in memory or in windows that fit into it.

    The order is a pure function of version, ``seed`` and epoch: neither the number of ranks nor that of workers changes
    it, and a saved state is continued by any number of them. docs/streaming.md has the algorithm.

    Batches come ready made: give it to ``DataLoader(dataset, batch_size=None, num_workers=…)``, or iterate over it. A
    batch is a dict: columns of fixed width are tensors, others lists.

    Each iteration reads the next epoch, with workers or without; one that was broken off is not taken up again by
    itself. `set_epoch` and `load_state_dict` say where the next iteration starts.

    Parameters
    ----------
    uri
        ``alluxio://datasets/cifar10``, with a selector behind ``@`` for another version than the active one.
    batch_size
        Rows of a batch on each rank; None yields single samples.
    shuffle
        Read in a random order: over the whole version if it is in memory, else within windows of units (ranges of rows)
        that are dealt anew for each epoch. Otherwise in the order of the rows.
    seed
        Of the order; not negative.
    rank, world_size
        Which share of how many to read. By default those of ``torch.distributed`` if that is initialised, which then also
        makes sure that all ranks read the same version by the same plan; else ``RANK`` and ``WORLD_SIZE``; else all.
    drop_last
        Drop the rows at the end of an epoch that do not fill a batch on every rank. Otherwise the last batch is smaller,
        and where it does not come out even, up to ``world_size - 1`` rows come twice, so that all ranks have the same
        number of batches.
    columns, address, fill_null, decode, wait, on_progress
        As of the map-style dataset.
    filter
        Read only the rows for which this SQL expression is true, such as ``label = 3 AND split = 'train'``. It may ask about
        columns that are not opened; units of rows without any that it chooses are not loaded. Evaluated once, by the
        sidecar, and anew by `refresh`. docs/views.md has the language.
    transform
        Called with each sample; batches are then collated by ``default_collate``. Rows are read one by one.
    batch_transform
        Called with each batch, in the worker, if there are any. Not with ``transform``.
    stream
        None: in memory if it fits into the sidecar's budget, else streamed. True and False insist.
    window_units
        Stream by windows of so many units. By default as many as fit twice into the budget of this node; ranks on nodes
        with different budgets that torch.distributed does not connect must be given the same number.

    Raises
    ------
    Unavailable, Restoring, NotFound, NotActive, InvalidURI
        What the sidecar says to the URI.
    NoSpace
        When ``stream`` is False and it does not fit, or when not even a window does.
    Conflict
        When ranks opened different versions.
    InvalidArgument
        When arguments do not fit, ``filter`` cannot be evaluated, or ranks have different ones.
    """

    def __init__(
        self,
        uri: str,
        batch_size: int | None = 256,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
        columns: Sequence[str] | None = None,
        transform: SampleTransform | None = None,
        address: str | None = None,
        fill_null: Mapping[str, Any] | None = None,
        *,
        filter: str | None = None,
        decode: Decode | None = None,
        batch_transform: BatchTransform | None = None,
        stream: bool | None = None,
        window_units: int | None = None,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._batch_size = batch_rows(batch_size)
        seed = counted("seed", seed)
        if window_units is not None:
            window_units = counted("window_units", window_units, 1)
        if batch_transform is not None and (transform is not None or batch_size is None):
            raise InvalidArgument(
                "batch_transform takes whole batches of the columns: give no transform beside it, and a batch_size"
            )
        names = column_names(columns)
        self._request = Request(uri, names, address, fill_null, decode, stream, window_units, filter)
        self._ranks = Ranks.find(rank, world_size)
        self._shuffle = shuffle
        self._drop_last = drop_last
        self.transform = transform
        self.batch_transform = batch_transform
        self._source, self._opened = self._open(wait=wait, on_progress=on_progress)
        self._turns = Turns(self._beginning(0, seed))
        self._arenas = Arenas()
        self._tally = Tally()
        self._generation = Generation()
        self._born = self._generation.number
        self._closed = False
        self._reached: _Reached | None = None
        self._resumed: State | None = None
        self._said = 0
        self._refreshed = -1
        """Iterations that had begun when another version was opened."""

    def _open(self, *, wait: bool = False, on_progress: OnProgress | None = None) -> tuple[Source, Opened]:
        return self._ranks.agreed(
            lambda: Source.open(self._request, wait=wait, on_progress=on_progress), lambda source: source.close()
        )

    def _beginning(self, epoch: int, seed: int) -> Start:
        return Start(epoch, 0, seed, self._opened.unit_rows, self._opened.window_units)

    # -- reading ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Count the batches that this rank has in a whole epoch, or its samples without ``batch_size``."""
        return self._share(0).batches

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch, or go on where `load_state_dict` said; a worker takes its turns.

        Raises
        ------
        Conflict
            In a worker that began before `refresh`.
        Unavailable
            When the dataset was closed, and, streaming, when the sidecar is gone.
        """
        source = self._live()
        info = get_worker_info()
        resumed, self._resumed = self._resumed, None
        start = self._turns.begin(None if resumed is None else resumed.start)
        done = 0 if resumed is None or resumed.worker is None else resumed.worker.batches
        self._reached = _Reached(start, done, self._turns.count)
        return self._read(source, self._reached, *((0, 1) if info is None else (info.id, info.num_workers)))

    def _read(self, source: Source, reached: _Reached, worker: int, workers: int) -> Iterator[Any]:
        plan, share = self._plan(source, reached.start), self._share(reached.start.position)
        asked = self._request
        batches = Batches(
            asked.fill_null, asked.decode, self.transform, self.batch_transform, self._arenas, self._tally
        )
        step = share.batch_size * share.world_size * workers
        with closing(
            source.cursor(plan, patience=_patience(plan, step, alone=workers * share.world_size == 1))
        ) as cursor:
            numbers = range(worker + reached.batches * workers, share.batches, workers)
            positions = share.positions(numbers[0]) if numbers else None
            # Not as a list: without a batch size there is a number for each row.
            for following in chain(numbers[1:], (None,)):
                if positions is None:
                    return
                if self._live() is not source:
                    raise self._outdated()
                pieces = cursor.pieces(positions)
                made = batches.sample(pieces) if self._batch_size is None else batches.batch(pieces, len(positions))
                positions = None if following is None else share.positions(following)
                cursor.rest(positions)
                reached.batches += 1
                yield made

    def _plan(self, source: Source, start: Start) -> EpochPlan:
        return EpochPlan(
            source.layout.content_hash,
            source.rows,
            start.unit_rows,
            start.window_units,
            self._shuffle,
            start.seed,
            start.epoch,
            source.chosen,
        )

    def _share(self, start: int) -> Share:
        ranks = self._ranks
        size = 1 if self._batch_size is None else self._batch_size
        return Share(self._source.places, start, size, ranks.rank, ranks.world_size, self._drop_last)

    def _live(self) -> Source:
        if self._closed:
            raise self._was_closed()
        if self._born != self._generation.number:
            raise self._outdated()
        return self._source

    def _was_closed(self) -> Unavailable:
        return Unavailable(f"{self.uri} was closed - open it again", what="lease")

    def _outdated(self) -> Conflict:
        return Conflict(
            f"{self.uri} was refreshed while process {os.getpid()} still read an epoch of what was open before - call "
            "refresh() between epochs, and make a new DataLoader afterwards if it has persistent_workers=True"
        )

    # -- where reading stands --------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration reads; counted from 0."""
        return self._turns.upcoming.epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration read this epoch from its beginning, in persistent workers, too.

        Where `load_state_dict` has just said to go on within this same epoch, that holds.

        Raises
        ------
        InvalidArgument
            In a worker of a DataLoader, or when it is no number from 0 to 2**63 - 1.
        Unavailable
            When the dataset was closed.
        """
        if get_worker_info() is not None:
            raise InvalidArgument("set_epoch() was called in a worker of a DataLoader - call it in the main process")
        self._live()
        epoch = counted("epoch", epoch)
        if epoch != self.epoch:
            self._turns.upcoming = self._beginning(epoch, self._turns.upcoming.seed)
        self._said, self._reached = self._turns.count, None

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Say where reading stands, as plain values: version, seed, epoch, and the place in its order.

        Parameters
        ----------
        batches
            How many batches were taken from the iteration that began last (samples, without ``batch_size``). Without
            workers the dataset counts itself. The workers of the plain ``DataLoader`` read ahead of what it hands out:
            then only the training loop knows. torchdata's ``StatefulDataLoader`` counts, and calls this in its workers.

        Raises
        ------
        InvalidArgument
            When workers read the iteration and ``batches`` is not given, or it had fewer, or was one of the version before
            `refresh`.
        """
        info = get_worker_info()
        if info is not None:
            return self._state_of_worker(info.id, info.num_workers).to_dict()
        last = self._turns.last
        if batches and self._refreshed == self._turns.count:
            raise InvalidArgument(
                f"no iteration of {self.semver} has begun since refresh(), so none of its batches was taken - call "
                "state_dict() before refresh(), or without batches"
            )
        if batches is None and self._reached is not None and self._reached.count == self._turns.count:
            start, batches = self._reached.start, self._reached.batches
        elif batches is not None and last is not None and (batches or self._said != self._turns.count):
            # Of none there is no iteration yet, when it has been said since the last one where the next one starts.
            start = last[0]
        elif last is not None and last[1] and self._said != self._turns.count:
            raise InvalidArgument(
                "the workers of the DataLoader have read ahead, and only the training loop knows what it has taken - give "
                "state_dict(batches=…), counted from the beginning of the iteration, or use torchdata's StatefulDataLoader"
            )
        else:
            start, batches = self._turns.upcoming, batches or 0
        try:
            position = self._share(start.position).consumed(batches)
        except ValueError as error:
            raise InvalidArgument(f"{error} that the iteration has on this rank - count from its beginning") from error
        return self._state(replace(start, position=position)).to_dict()

    def _state(self, start: Start, worker: WorkerShare | None = None) -> State:
        return State.of(self._source.layout, self._shuffle, start, worker, chosen=self._source.chosen)

    def _state_of_worker(self, worker: int, workers: int) -> State:
        if self._reached is not None:
            start, done = self._reached.start, self._reached.batches
        elif self._resumed is not None and self._resumed.worker is not None:
            start, done = self._resumed.start, self._resumed.worker.batches
        else:
            start, done = self._turns.upcoming, 0
        return self._state(start, self._worker_share(worker, workers, done))

    def _worker_share(self, worker: int, workers: int, batches: int) -> WorkerShare:
        share = self._share(0)
        return WorkerShare(worker, workers, share.rank, share.world_size, share.batch_size, batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on right behind where a state was taken.

        The number of ranks and workers and ``batch_size`` may be others than then, but for states that a worker of
        ``StatefulDataLoader`` took. The seed is that of the state from here on.

        Raises
        ------
        Conflict
            When it belongs to another version; the message says which one to open.
        InvalidArgument
            When it is no state of this kind of dataset, was taken with another ``filter``, or its order cannot be read here.
        Unavailable
            When the dataset was closed.
        """
        self._live()
        read = State.from_dict(state)
        read.check(self._source.layout, self._shuffle, chosen=self._source.chosen)
        start = read.start
        if self._shuffle:
            self._source.check_plan(start.unit_rows, start.window_units)
        else:
            # Without shuffle windows change nothing, and those of this node are the ones that fit.
            start = replace(start, unit_rows=self._opened.unit_rows, window_units=self._opened.window_units)
        info = get_worker_info()
        if read.worker is not None:
            mine = None if info is None else self._worker_share(info.id, info.num_workers, read.worker.batches)
            if mine != read.worker:
                raise InvalidArgument(
                    f"the state is that of one worker of a StatefulDataLoader ({read.worker}), and this is {mine or 'none'} "
                    "- resume with the same numbers of ranks and workers and the same batch_size, or from a state that "
                    "state_dict(batches=…) gave in the main process"
                )
        if info is None:
            self._turns.upcoming = start
            self._said, self._reached = self._turns.count, None
        else:
            # Each worker loads its own: told to all it would reach those that have begun.
            self._resumed, self._reached = replace(read, start=start), None

    # -- facts -----------------------------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """The URI as it was given."""
        return self._request.uri

    @property
    def version(self) -> int:
        """The version number of the Lance table."""
        return self._source.layout.version

    @property
    def semver(self) -> str:
        """The semantic version."""
        return self._source.layout.semver

    @property
    def content_hash(self) -> str:
        """BLAKE3 of schema and data files, 64 hexadecimal digits."""
        return self._source.layout.content_hash

    @property
    def num_rows(self) -> int:
        """The number of rows, of all ranks together; with a ``filter`` of those that it chooses."""
        return self._source.places

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self._source.layout.columns]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the columns, as they were registered."""
        return self._source.schema

    @property
    def streamed(self) -> bool:
        """Whether it is read in windows; otherwise all of it is in memory."""
        return not self._source.whole

    @property
    def window_rows(self) -> int:
        """Rows that are shuffled with one another, at most."""
        return min(self._opened.unit_rows * self._opened.window_units, self.num_rows)

    def statistics(self) -> ReadStatistics:
        """Count what was mapped and what was moved in this process."""
        return self._tally.statistics()

    # -- versions and the end --------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Move to the version that the URI means now; call it between epochs, and on all ranks.

        Nothing else ever changes the version. Of another version the next iteration reads the epoch that was next, from
        its beginning. Workers that are still running raise `Conflict` at their next batch; a DataLoader with
        ``persistent_workers=True`` must be made anew.

        Returns
        -------
        bool
            Whether the version is another one now.

        Raises
        ------
        InvalidArgument
            In a worker of a DataLoader.
        Unavailable, NotFound, NotActive, Conflict
            As when opening; the old version then stays.
        """
        if get_worker_info() is not None:
            raise InvalidArgument("refresh() was called in a worker of a DataLoader - call it in the main process")
        if self._closed:
            raise self._was_closed()
        fresh, opened = self._open()
        old, self._source = self._source, fresh
        same = (old.layout.version, old.layout.content_hash) == (fresh.layout.version, fresh.layout.content_hash)
        old.close()
        if same and opened == self._opened:
            return False
        self._opened = opened
        upcoming = self._turns.upcoming
        self._turns.upcoming = self._beginning(upcoming.epoch, upcoming.seed)
        self._said, self._reached, self._refreshed = self._turns.count, None, self._turns.count
        if not self._generation.ours:
            # A copy in a process of its own (one rank of many, say) goes its own way from here.
            self._generation = Generation()
        self._born = self._generation.advance()
        return not same

    def close(self) -> None:
        """Give the version back; a second call does nothing. Tensors that were handed out stay valid."""
        self._closed = True
        self._source.close()
        self._turns.close()
        self._generation.close()
        self._arenas.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        if self._closed:
            raise self._was_closed()
        # A copy may count its iterations anew.
        count = self._turns.count
        since = {"_said": self._said == count, "_refreshed": self._refreshed == count}
        return {**self.__dict__, **since, "_tally": Tally(), "_reached": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        count = self._turns.count
        self._said, self._refreshed = (count if state[name] else -1 for name in ("_said", "_refreshed"))

    def __repr__(self) -> str:
        kind = f"windows of {self.window_rows}" if self.streamed else "in memory"
        return f"<AlluxioIterableDataset {self.uri} {self.semver}+{self.content_hash[:8]} {self.num_rows} rows, {kind}>"


@dataclass(slots=True)
class _Reached:
    """How far an iteration of this process is."""

    start: Start
    batches: int
    count: int
    """Iterations of the dataset that had begun with this one."""


def _patience(plan: EpochPlan, step: int, *, alone: bool) -> float | None:
    """Say for how many seconds a window is held between two batches; None for who is alone, see `streamed_cursor`."""
    if alone:
        return None
    # Windows of chosen rows differ: one that is small by exception may be waited for a second, but not for long.
    rows = [plan.window_rows] if plan.chosen is None else sorted(window.rows for window in plan.windows) or [0]
    if rows[0] >= _MANY_BATCHES * step:
        return _LONG_PATIENCE
    return _PATIENCE if rows[len(rows) // 2] >= _FEW_BATCHES * step else 0
