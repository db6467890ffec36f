"""Views: chosen rows of datasets, in an order of their own, read as quickly as the datasets themselves."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info

from alluxio_lance.client.arenas import Arenas
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.selecting import Selection
from alluxio_lance.client.selection import selected_rows
from alluxio_lance.client.views.joining import Joined
from alluxio_lance.client.views.keys import hashed_keys
from alluxio_lance.client.views.mixing import Stopping, mixed_order
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.client.views.splitting import parts_of, shares
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.rows import BatchTransform, Rows
from alluxio_lance.frameworks.torch.views_reader import JoinedReader
from alluxio_lance.frameworks.torch.views_source import Source, Transform

if TYPE_CHECKING:
    from alluxio_lance.frameworks.torch.dataset import AlluxioDataset

__all__ = ["View", "concat", "mix"]


class View(TorchDataset[Any]):
    """Rows of one dataset or of several, by number; made by `AlluxioDataset.take`, ``filter`` and ``split``.

    A map-style dataset like the one under it: the plain ``DataLoader`` reads each batch with one gather per column and
    dataset, workers of any start method included, and a view can be taken of, filtered and split again. It copies no
    row, and keeps the datasets alive that it shows; closing them stays the business of who opened them. Its rows belong
    to the version that they were chosen of: after a ``refresh`` to another one, reading raises `Conflict`.

    The view takes over ``transform`` and ``batch_transform`` as they are when it is made. Both may be set on the view,
    such as another augmentation for each part of a split.
    """

    def __init__(
        self, sources: Sequence[Source], rows: RowNumbers, batch_transform: BatchTransform | None = None
    ) -> None:
        self._sources = tuple(sources)
        self._rows = rows
        self.batch_transform = batch_transform
        self._arenas = Arenas()
        self._reader: JoinedReader | None = None

    @classmethod
    def of(cls, dataset: AlluxioDataset | View) -> View:
        """Make a view of all rows; a view stays what it is."""
        if isinstance(dataset, View):
            return dataset
        return cls((Source.of(dataset),), RowNumbers(range(len(dataset))), dataset.batch_transform)

    @property
    def transform(self) -> Transform | None:
        """Called with each sample.

        Raises
        ------
        InvalidArgument
            When the datasets under it have different ones: then there is not one to tell.
        """
        found = {id(source.transform): source.transform for source in self._sources}
        if len(found) > 1:
            raise InvalidArgument("the datasets of this view have different transforms - set one, or ask them")
        return self._sources[0].transform

    @transform.setter
    def transform(self, transform: Transform | None) -> None:
        self._sources = tuple(source.transformed(transform) for source in self._sources)

    # -- rows ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        """Read one sample; negative indices count from the end. `IndexError` when there is none."""
        place = Selection.of([operator.index(index)], len(self)).indices
        reader = self._live()
        row = int(self._rows.take(place)[0])
        return self._transformed(reader, row, reader.sample(row))

    def __getitems__(self, indices: Sequence[int]) -> Sequence[Any]:
        """Read what a DataLoader's batch sampler asks for."""
        if any(source.transform is not None for source in self._sources):
            if self.batch_transform is not None:
                raise InvalidArgument("transform makes samples of its own, which batch_transform cannot see - give one")
            reader = self._live()
            rows = self._select(reader, indices).indices
            samples = zip(rows.tolist(), reader.samples(rows), strict=True)
            return [self._transformed(reader, row, sample) for row, sample in samples]
        reader = self._live()
        return Rows(reader, self._select(reader, indices), self._arenas, self.batch_transform)

    def _transformed(self, reader: JoinedReader, row: int, sample: dict[str, Any]) -> Any:
        transform = self._sources[reader.joined.find(row)[0]].transform
        return sample if transform is None else transform(sample)

    def batch(
        self, indices: Sequence[int] | npt.NDArray[Any] | range, *, out: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Read rows as one batch, without a DataLoader and without ``transform``; ``out`` as of `AlluxioDataset.batch`."""
        reader = self._live()
        selection = self._select(reader, indices)
        return reader.batch(selection) if out is None else reader.batch_out(selection, out)

    def tensor(self, name: str) -> torch.Tensor:
        """All rows of a column as one tensor ``[N, *shape]``.

        Of neighbours in one dataset a mapping that moves no byte, as `AlluxioDataset.tensor` gives; else a copy. Null
        slots hold 0, NaN or the smallest int64, or what ``fill_null`` says.

        Raises
        ------
        NotFound
            When there is no such column.
        InvalidArgument
            When its rows do not all have the same size.
        NoSpace
            When a dataset under it is read on demand.
        """
        reader = self._live()
        if not isinstance(reader.table.column(name), FixedColumn):
            raise InvalidArgument(
                f"column {name!r} has rows of different sizes and is no single tensor - read it by rows"
            )
        return reader.tensor(name, reader.select(self._rows.all()))

    def valid(self, name: str) -> torch.Tensor:
        """Which rows of a column are not null, a bool tensor ``[N]``; errors as in `tensor`, of any kind of column."""
        reader = self._live()
        return reader.valid(name, reader.select(self._rows.all()))

    def _live(self) -> JoinedReader:
        readers = tuple(source.reader() for source in self._sources)
        known = self._reader
        if known is None or any(a is not b for a, b in zip(known.readers, readers, strict=True)):
            known = self._reader = JoinedReader(readers)
        return known

    def _select(self, reader: JoinedReader, indices: Sequence[int] | npt.NDArray[Any] | range) -> Selection:
        return reader.select(self._rows.take(Selection.of(indices, len(self)).indices))

    # -- facts -----------------------------------------------------------------------------------------------------

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._sources[0].dataset.columns

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the columns."""
        return self._sources[0].dataset.schema

    # -- other views -----------------------------------------------------------------------------------------------

    def take(self, rows: int | Sequence[int] | npt.NDArray[Any] | range) -> View:
        """Show some rows: the first so many, or those at the given places, in that order and as often as given.

        Raises
        ------
        IndexError
            When there is no such row.
        InvalidArgument
            When the places are no integers, or a number of rows is negative.
        """
        if not isinstance(rows, int | np.integer):
            return self._showing(Selection.of(rows, len(self)).indices)
        if rows < 0:
            raise InvalidArgument(f"take the first n rows with n from 0 up, not {rows}")
        return self._showing(np.arange(min(rows, len(self))))

    def filter(self, filter: str) -> View:
        """Show the rows for which an SQL expression is true, in the order that they have here.

        The sidecar evaluates it once on the whole version; docs/views.md has the language.

        Raises
        ------
        InvalidArgument
            When it is none that may be evaluated, or does not fit the columns; in a worker of a DataLoader.
        NotFound, Unavailable
            When the sidecar was restarted since the dataset was opened (`AlluxioDataset.refresh` takes a new lease), or
            does not answer.
        """
        _in_main("filter")
        reader = self._live()
        masks = []
        for source in reader.readers:
            mask = np.zeros(source.table.rows, np.bool_)
            mask[selected_rows(source.opened, filter)] = True
            masks.append(mask)
        keep = np.zeros(len(self), np.bool_)
        for part in reader.joined.cut(self._rows.all()):
            keep[part.places] = masks[part.source][reader.readers[part.source].choose(part.rows).indices]
        return self._showing(np.flatnonzero(keep))

    def split(self, fractions: Mapping[str, float], seed: int = 0, key: str | None = None) -> dict[str, View]:
        """Cut into parts at random, such as ``{"train": 0.9, "val": 0.1}``; rows beyond the sum of 1 are in none.

        The part of a row depends on nothing but ``seed`` and its key: it is the same in every version, process and
        view, whatever other rows there are, and rows of one key stay together. Hence the sizes are near the fractions,
        not exactly theirs.

        Parameters
        ----------
        key
            A column of integers, bools, moments, strings or bytes, which need not be open; None takes the number of
            the row in its version, which is another row's in a version where rows were removed, or the order is
            another.

        Raises
        ------
        InvalidArgument
            When the fractions are none, when the key has other values or nulls; in a worker of a DataLoader.
        NotFound
            When there is no such column.
        """
        _in_main("split")
        ends = shares(fractions)
        reader = self._live()
        parts = np.empty(len(self), np.uint8)
        for part in reader.joined.cut(self._rows.all()):
            source = reader.readers[part.source]
            hashes = hashed_keys(source.opened, source.choose(part.rows).indices, key, seed)
            parts[part.places] = parts_of(hashes, ends)
        return {name: self._showing(np.flatnonzero(parts == number)) for number, name in enumerate(fractions)}

    def _showing(self, places: npt.NDArray[np.int64]) -> View:
        return View(self._sources, RowNumbers(self._rows.take(places)), self.batch_transform)

    def joined(self) -> tuple[tuple[Source, ...], Joined, RowNumbers]:
        """Say what it shows: for `concat` and `mix`."""
        return self._sources, Joined([source.rows for source in self._sources]), self._rows

    def __getstate__(self) -> dict[str, Any]:
        # The readers travel with their datasets.
        return {**self.__dict__, "_reader": None}

    def __repr__(self) -> str:
        shown = ", ".join(f"{source.dataset.uri} {source.semver}" for source in self._sources)
        return f"<View {len(self)} rows of {shown}>"


def concat(datasets: Iterable[AlluxioDataset | View]) -> View:
    """Show datasets and views one behind the other.

    Raises
    ------
    InvalidArgument
        When there are none, when their columns differ in names or types or in what is decoded, or when they have
        different ``batch_transform``.
    """
    views = _views(datasets)
    sources, starts = _together(views)
    rows = [view.joined()[2].all() + start for view, start in zip(views, starts, strict=True)]
    return View(sources, RowNumbers(np.concatenate(rows)), views[0].batch_transform)


def mix(
    datasets: Iterable[AlluxioDataset | View],
    weights: Sequence[float],
    seed: int = 0,
    *,
    stopping: Stopping = "first_exhausted",
) -> View:
    """Show datasets and views mixed by weights, each shuffled: any stretch of rows has them in these proportions.

    The order is the same for the same ``seed``, everywhere; another ``seed`` is another epoch. A DataLoader with
    ``shuffle=True`` changes the order again, and keeps the proportions only over the whole.

    Parameters
    ----------
    weights
        One for each, in any scale.
    stopping
        ``"first_exhausted"``: ends with the last row of whichever runs out first; no row comes twice.
        ``"all_exhausted"``: ends when each has been shown in full; the others start again, in another order.

    Raises
    ------
    InvalidArgument
        As in `concat`, and when the weights are not as many positive numbers, or one is empty.
    """
    views = _views(datasets)
    sources, starts = _together(views)
    which, places = mixed_order([len(view) for view in views], weights, seed, stopping)
    rows = np.empty(len(which), np.int64)
    for number, (view, start) in enumerate(zip(views, starts, strict=True)):
        own = which == number
        rows[own] = view.joined()[2].take(places[own]) + start
    return View(sources, RowNumbers(rows), views[0].batch_transform)


def _views(datasets: Iterable[AlluxioDataset | View]) -> list[View]:
    if isinstance(datasets, TorchDataset):
        # Its samples would be taken for datasets.
        raise InvalidArgument("datasets that are put together come in a list, and this is a single one")
    from alluxio_lance.frameworks.torch.dataset import AlluxioDataset  # noqa: PLC0415 - it makes views itself

    found = list(datasets)
    for each in found:
        if not isinstance(each, AlluxioDataset | View):
            raise InvalidArgument(
                f"what is a {type(each).__name__} cannot be put together with others - give datasets of alluxio.torch, and views of them"
            )
    return [View.of(dataset) for dataset in found]


def _together(views: Sequence[View]) -> tuple[list[Source], list[int]]:
    """Put the sources of views one behind the other, and return where those of each view begin."""
    if not views:
        raise InvalidArgument("there are no datasets to put together - give at least one")
    _check_agree(views)
    sources: list[Source] = []
    starts = []
    rows = 0
    for view in views:
        own, joined, _ = view.joined()
        starts.append(rows)
        sources.extend(own)
        rows += len(joined)
    return sources, starts


def _check_agree(views: Sequence[View]) -> None:
    first = {field.name: field.type for field in views[0].schema}
    for place, view in enumerate(views[1:], 1):
        found = {field.name: field.type for field in view.schema}
        if found != first:
            odd = sorted(name for name in first.keys() | found.keys() if first.get(name) != found.get(name))
            raise InvalidArgument(
                f"datasets that are put together have the same columns, and {view!r} (number {place}) differs from the "
                f"first in {odd[0]!r}: {found.get(odd[0], 'absent')} instead of {first.get(odd[0], 'absent')} - choose "
                "columns that they share (columns=…)"
            )
        decoded, wanted = (some.joined()[0][0].decoded for some in (view, views[0]))
        if decoded != wanted:
            raise InvalidArgument(
                f"datasets that are put together decode the same columns, and {view!r} (number {place}) decodes {decoded} "
                f"instead of {wanted} - open all with the same decode"
            )
        if view.batch_transform is not views[0].batch_transform:
            raise InvalidArgument(
                "datasets that are put together have one batch_transform for the batches of all, and these differ - give "
                "all the same, or none, and set it on what comes out"
            )


def _in_main(verb: str) -> None:
    if get_worker_info() is not None:
        raise InvalidArgument(f"{verb}() was called in a worker of a DataLoader - call it in the main process")
