"""The map-style dataset: a version in the sidecar's memory, as torch wants its data."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt
import pyarrow as pa
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info

from alluxio_lance.client.arenas import Arenas
from alluxio_lance.client.arguments import column_names
from alluxio_lance.client.counting import ReadStatistics
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.generation import Generation
from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.selection import selected_rows
from alluxio_lance.client.table import Table
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.client.watching import OnChange, Watch
from alluxio_lance.errors import Conflict, InvalidArgument, NoSpace, Unavailable
from alluxio_lance.frameworks.torch.decoding import Decode
from alluxio_lance.frameworks.torch.ondemand import OnDemandReader
from alluxio_lance.frameworks.torch.ondemand_warning import on_demand
from alluxio_lance.frameworks.torch.reader import Reader
from alluxio_lance.frameworks.torch.rows import BatchTransform, Rows
from alluxio_lance.frameworks.torch.tensors import to_tensor
from alluxio_lance.frameworks.torch.views import View
from alluxio_lance.frameworks.torch.views_reader import AnyReader
from alluxio_lance.manager import OnProgress

__all__ = ["AlluxioDataset"]

Transform = Callable[[dict[str, Any]], Any]


class AlluxioDataset(TorchDataset[Any]):
    """One version of a dataset, mapped from the sidecar of this node.

    A sample is a dict. Columns of fixed width are tensors, strings ``str`` or ``bytes``, lists of numbers 1-D tensors;
    docs/types.md has the whole table. The plain ``DataLoader`` reads each batch with one gather per column; contiguous
    batches in the main process are views and move no byte. What it hands out may be written into: the dataset never
    changes. A version that does not fit into memory is read on demand.

    Works with any number of workers and any start method. Workers import neither gRPC nor Lance.

    Parameters
    ----------
    uri
        ``alluxio://datasets/cifar10``, with a selector behind ``@`` for another version than the active one.
    columns
        Only these, in this order; all by default. The others are not even loaded.
    transform
        Called with each sample; what it returns takes the sample's place. Rows are then read one by one.
    batch_transform
        Called with each batch, a dict of tensors and lists, by ``default_collate``: in the worker, if there are any. What
        it returns takes the batch's place; tensors in dicts, lists and tuples go the quick way. Not with ``transform``.
    address
        The sidecar: ``unix:/RUN/FOLDER/grpc.sock`` or the run folder; by default ``ALLUXIO_LANCE_ADDRESS``, then the
        default run folder.
    filter
        Only the rows for which this SQL expression is true, such as ``label = 3 AND split = 'train'``; it may ask about
        columns that are not opened, and is evaluated anew by `refresh`. docs/views.md has the language.
    fill_null
        Values for nulls by column. Without one, floats are NaN, moments ``NaT`` (the smallest int64), strings, lists
        and nested values None; an integer or bool is None in a sample, and an error in a batch.
    decode
        ``"image"`` makes the pictures of all binary columns ``uint8 [3, height, width]`` (RGB), ``{"photo": "image"}``
        those of one column: JPEG, PNG, GIF (its first picture) and WebP, by torchvision if it is there, else by Pillow.
        Pictures of one size are stacked in a batch, others stay a list: resize them in ``transform``.
    stream
        None: in memory if it fits into the sidecar's budget, else read on demand, with a warning. False refuses that.
        True reads on demand in any case: a row that is not in memory loads a range of rows around it, some 8 MiB.
        docs/streaming.md says what that costs, and when `IterableDataset` is the better choice.
    wait
        When the version was archived: wait until it is back, instead of raising.
    on_progress
        Told meanwhile how far that is, in bytes; without it a terminal shows a bar.

    Raises
    ------
    Unavailable
        When no sidecar answers.
    Restoring
        When the version was archived and ``wait`` is off: it is under way, ``details["progress"]`` says how far.
    NotFound, NotActive, InvalidURI
        What the sidecar says to the URI.
    NoSpace
        When it does not fit into the budget and ``stream`` is False, or when not even a range of it does.
    InvalidArgument
        When ``columns`` are no names, or ``fill_null``, ``filter`` or ``decode`` does not fit.
    """

    def __init__(
        self,
        uri: str,
        columns: Sequence[str] | None = None,
        transform: Transform | None = None,
        address: str | None = None,
        fill_null: Mapping[str, Any] | None = None,
        *,
        filter: str | None = None,
        decode: Decode | None = None,
        batch_transform: BatchTransform | None = None,
        stream: bool | None = None,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._uri = uri
        self._names = column_names(columns)
        self._address = address
        self._fill_null = fill_null
        self._filter = filter
        self._decode = decode
        self.transform = transform
        self.batch_transform = batch_transform
        self._stream = stream
        self._arenas = Arenas()
        self._reader, shortage = self._open(wait=wait, on_progress=on_progress)
        if shortage is not None:
            try:
                warnings.warn(on_demand(self._reader.table, shortage), UserWarning, stacklevel=2)
            except UserWarning:
                # Who makes errors of warnings has no dataset to close.
                self._reader.table.close()
                raise
        self._generation = Generation()
        self._born = self._generation.number
        self._watches: list[Watch] = []

    def _open(self, *, wait: bool = False, on_progress: OnProgress | None = None) -> tuple[AnyReader, NoSpace | None]:
        """Open it as asked; where it is read on demand since it does not fit, with what the sidecar said to that."""
        opened, shortage = self._opened(wait=wait, on_progress=on_progress)
        try:
            version = opened if isinstance(opened, Table) else opened.version
            chosen = None if self._filter is None else RowNumbers(selected_rows(version, self._filter))
            if isinstance(opened, Table):
                return Reader(opened, self._fill_null, chosen, self._decode), None
            return OnDemandReader(opened, self._fill_null, chosen, self._decode), shortage
        except BaseException:
            opened.close()
            raise

    def _opened(self, *, wait: bool, on_progress: OnProgress | None) -> tuple[Table | OnDemand, NoSpace | None]:
        shortage = None
        if self._stream is not True:
            try:
                return Table.open(self._uri, self._names, self._address, wait=wait, on_progress=on_progress), None
            except NoSpace as error:
                if self._stream is False:
                    raise
                shortage = error
        return OnDemand.open(self._uri, self._names, self._address, wait=wait, on_progress=on_progress), shortage

    # -- rows ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._reader.rows

    def __getitem__(self, index: int) -> Any:
        """Read one sample; negative indices count from the end. `IndexError` when there is none."""
        reader = self._live()
        row = operator.index(index)
        sample = reader.sample(row if reader.chosen is None else reader.choose([row]).start)
        return sample if self.transform is None else self.transform(sample)

    def __getitems__(self, indices: Sequence[int]) -> Sequence[Any]:
        """Read what a DataLoader's batch sampler asks for."""
        reader = self._live()
        if self.transform is not None:
            if self.batch_transform is not None:
                raise InvalidArgument("transform makes samples of its own, which batch_transform cannot see - give one")
            return [self.transform(sample) for sample in reader.samples(reader.choose(indices).indices)]
        return Rows(reader, reader.choose(indices), self._arenas, self.batch_transform)

    def batch(
        self, indices: Sequence[int] | npt.NDArray[Any] | range, *, out: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Read rows as one batch, without a DataLoader and without ``transform``; a ``range`` is a view.

        Parameters
        ----------
        indices
            Row numbers; negative ones count from the end.
        out
            An earlier batch of as many rows, whose tensors are written over and returned again: the quickest way, since
            they are still in the processor's caches. Tensors of your own (pinned ones) must be like them: contiguous,
            ``[len(indices), *shape]``, on the CPU. Other columns come as new lists.

        Raises
        ------
        IndexError
            When there is no such row.
        InvalidArgument
            When ``out`` has no such tensor for a column of fixed width, or a null has nothing that stands in for it.
        """
        reader = self._live()
        found = reader.gathered(indices, out)
        if found is not None:
            return found
        selection = reader.choose(indices)
        return reader.batch(selection) if out is None else reader.batch_out(selection, out)

    def tensor(self, name: str) -> torch.Tensor:
        """All rows of a column as one tensor ``[N, *shape]`` over the mapped memory.

        Each call maps anew, copy on write: what is written into the tensor is seen in it alone. Null slots hold 0, NaN
        or the smallest int64, or what ``fill_null`` says; `valid` tells them apart. With a ``filter`` that chooses other
        than neighbouring rows it is a copy of these rows.

        Raises
        ------
        NotFound
            When there is no such column.
        InvalidArgument
            When its rows do not all have the same size.
        NoSpace
            When the dataset is read on demand: `batch` reads a part.
        """
        reader = self._whole(name)
        column = self._fixed(reader, name)
        return to_tensor(reader.values(name, column), column.element)

    def numpy(self, name: str) -> npt.NDArray[Any]:
        """All rows of a column as one read-only array ``[N, *shape]``, shared with every process of the node.

        bfloat16, which numpy lacks, comes as the ``uint16`` of its bits. With a ``filter`` it is a copy of the rows that
        it chooses. Errors as in `tensor`.
        """
        reader = self._whole(name)
        array = self._fixed(reader, name).array
        if reader.chosen is not None:
            array = array[reader.chosen.all()]
            array.flags.writeable = False
        return array

    def valid(self, name: str) -> torch.Tensor:
        """Which rows of a column are not null, a bool tensor ``[N]``.

        Raises
        ------
        NotFound
            When there is no such column.
        NoSpace
            When the dataset is read on demand.
        """
        reader = self._whole(name)
        present = reader.table.column(name).present()
        return torch.from_numpy(present if reader.chosen is None else present[reader.chosen.all()])

    def _whole(self, name: str) -> Reader:
        """Say what reads a column as a whole."""
        reader = self._live()
        if isinstance(reader, OnDemandReader):
            reader.table.column(name)
        return reader

    def _fixed(self, reader: Reader, name: str) -> FixedColumn:
        column = reader.table.column(name)
        if not isinstance(column, FixedColumn):
            raise InvalidArgument(
                f"column {name!r} of {self.uri} has rows of different sizes and is no single tensor - read it by rows"
            )
        return column

    def _live(self) -> AnyReader:
        if self._born != self._generation.number:
            raise Conflict(
                f"{self._uri} was refreshed in process {self._generation.owner} while this process ({os.getpid()}) still "
                f"read {self.semver} - call refresh() between epochs, and make a new DataLoader afterwards if it has "
                "persistent_workers=True",
                semver=self.semver,
            )
        return self._reader

    # -- views -----------------------------------------------------------------------------------------------------

    def take(self, rows: int | Sequence[int] | npt.NDArray[Any] | range) -> View:
        """Show some rows, without copying any: the first so many, or those at the given places. See `View.take`."""
        return View.of(self).take(rows)

    def filter(self, filter: str) -> View:
        """Show the rows for which an SQL expression is true. See `View.filter`."""
        return View.of(self).filter(filter)

    def split(self, fractions: Mapping[str, float], seed: int = 0, key: str | None = None) -> dict[str, View]:
        """Cut into parts at random, such as ``{"train": 0.9, "val": 0.1}``; by ``key`` the same ones in every version.

        See `View.split`.
        """
        return View.of(self).split(fractions, seed, key)

    # -- facts -----------------------------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """The URI as it was given."""
        return self._uri

    @property
    def version(self) -> int:
        """The version number of the Lance table."""
        return self._reader.table.layout.version

    @property
    def semver(self) -> str:
        """The semantic version."""
        return self._reader.table.layout.semver

    @property
    def content_hash(self) -> str:
        """BLAKE3 of schema and data files, 64 hexadecimal digits."""
        return self._reader.table.layout.content_hash

    @property
    def num_rows(self) -> int:
        """The number of rows; with a ``filter`` of those that it chooses."""
        return len(self)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self._reader.table.layout.columns]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the columns, as they were registered."""
        return self._reader.table.schema

    @property
    def streamed(self) -> bool:
        """Whether it is read on demand; otherwise all of it is in memory."""
        return isinstance(self._reader, OnDemandReader)

    def statistics(self) -> ReadStatistics:
        """Count what was mapped and what was moved in this process since the version was opened."""
        return self._reader.table.statistics()

    # -- versions --------------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Move to the version that the URI means now; call it between epochs.

        Nothing else ever changes the version. Where ``stream`` leaves it open, whether it is read on demand is decided
        anew, by whether it fits. Workers that are still running keep the old one and raise `Conflict` at
        their next batch, so that no epoch mixes versions; a DataLoader with ``persistent_workers=True`` must be made
        anew. After a restart of the sidecar this also takes a new lease.

        Returns
        -------
        bool
            Whether the version is another one now.

        Raises
        ------
        InvalidArgument
            In a worker of a DataLoader.
        Unavailable, NotFound, NotActive
            As when opening; the old version then stays.
        """
        if get_worker_info() is not None:
            raise InvalidArgument("refresh() was called in a worker of a DataLoader - call it in the main process")
        fresh, shortage = self._open()
        old, self._reader = self._reader, fresh
        changed = (fresh.table.layout.version, fresh.table.layout.content_hash) != (
            old.table.layout.version,
            old.table.layout.content_hash,
        )
        old.table.close()
        if changed:
            self._outdate_copies()
        if shortage is not None and isinstance(old, Reader):
            warnings.warn(on_demand(fresh.table, shortage), UserWarning, stacklevel=2)
        return changed

    def _outdate_copies(self) -> None:
        if self._generation.ours:
            self._born = self._generation.advance()
            return
        # A copy in a process of its own (one rank of many, say) goes its own way from here.
        self._generation.close()
        self._generation = Generation()
        self._born = self._generation.number

    def on_change(self, callback: OnChange) -> Watch:
        """Call back, in a thread, whenever another version becomes the active one and is hot, or turns out not to fit.

        The callback gets an object with ``semver`` and ``version`` (both None when no version is active any more). It
        should set a flag and leave `refresh` to the training loop. When another version is active already the first
        call comes at once. Ends with `close`, of the dataset or of the watch that is returned.

        Raises
        ------
        Unavailable
            When no sidecar answers.
        """
        reader = self._live()
        layout = reader.table.layout
        watch = Watch(reader.address, layout.type, layout.name, layout.version, callback)
        self._watches.append(watch)
        return watch

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the version back; a second call does nothing. Tensors that were handed out stay valid."""
        while self._watches:
            self._watches.pop().close()
        self._reader.table.close()
        self._generation.close()
        self._arenas.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        if self._reader.closed:
            raise Unavailable(f"{self._uri} was closed - open it again", what="lease")
        return {**self.__dict__, "_watches": []}

    def __repr__(self) -> str:
        return f"<AlluxioDataset {self._uri} {self.semver}+{self.content_hash[:8]} {len(self)} rows>"
