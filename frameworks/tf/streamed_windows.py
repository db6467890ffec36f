"""The one step in Python of a streamed dataset: a window of an epoch, as tensors."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from alluxio_lance.client.epochs.chosen import Chosen
from alluxio_lance.client.epochs.plan import EpochPlan, Window
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import Unavailable
from alluxio_lance.frameworks.tf.tensors import Form, Memory

__all__ = ["Closing", "Cut", "Windows", "joined"]

_REMEMBERED: Final = 8
"""Beginnings of batches that are kept: of as many iterators at once, those of others are read again."""
_PLANS: Final = 4
"""Epochs whose windows are kept."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How the order of an epoch is cut into elements."""

    batch_size: int | None
    shuffle: bool
    drop_remainder: bool

    @property
    def size(self) -> int:
        """Rows that an element takes."""
        return self.batch_size or 1

    def count(self, rows: int) -> int:
        """Elements of so many rows."""
        return rows // self.size if self.drop_remainder else -(-rows // self.size)

    def carried(self, window: Window) -> int:
        """Rows of the windows before that the first batch of this one begins with."""
        return window.start % self.size

    def ending(self, window: Window, places: int) -> int:
        """Batches that end in a window, of all ``places`` of the epoch."""
        stop = self.count(places) if window.stop == places else window.stop // self.size
        return stop - window.start // self.size


class Closing:
    """Closes something when nobody refers to this any more: the last tensor over its memory has gone."""

    def __init__(self, held: Table | Windows) -> None:
        self._held = held

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the end of the interpreter the kernel ends it.
        if not _ending():
            self._held.close()


class Windows:
    """Makes tensors of windows.

    A window is a function of the epoch's key and its number alone: TensorFlow may ask for any of them again, as it does
    when it restores an iterator that was saved. Nothing here knows of iterators, so there may be any number of them.

    A window is held for as long as a tensor over its memory lives. The iterator over its batches is the only one to have
    such tensors, since batches are copies, and it ends before the next window is asked for.

    Parameters
    ----------
    stream
        Closed with this.
    window_units
        Units of a window at most.
    chosen
        The rows that epochs have; all without it.
    """

    def __init__(
        self,
        stream: StreamedVersion,
        forms: Mapping[str, Form],
        cut: Cut,
        window_units: int,
        chosen: Chosen | None = None,
    ) -> None:
        self.forms: Final = forms
        self.cut: Final = cut
        self._stream = stream
        # The windows of an epoch take as long to find as there are units. Kept here, the numbers of chosen rows go with this.
        self._plan = lru_cache(_PLANS)(partial(_plan, stream, window_units, cut.shuffle, chosen))
        self._lock = threading.Lock()
        self._carried: OrderedDict[tuple[int, int], dict[str, Any]] = OrderedDict()
        """The rows that a batch begins with which ends in a later window: by the key of the epoch and that window."""

    @property
    def places(self) -> int:
        """How many rows an epoch has."""
        return self._plan(0).places

    @property
    def count(self) -> int:
        """How many windows an epoch has, whatever its key is."""
        return len(self._plan(0).windows)

    @property
    def ordered(self) -> bool:
        """Whether the rows of a window are read otherwise than all of them as they lie."""
        return not self._plan(0).as_it_lies

    @property
    def specs(self) -> dict[str, Any]:
        """What `window` gives, as a structure of ``tf.TypeSpec``.

        ``cut`` are three numbers: the batches that end in the window, the rows of ``carried``, and those of the window that
        are read. ``order`` are these as they are read, and ``parts`` the tensors of its columns.
        """
        vector = tf.TensorSpec((None,), tf.int64)
        batched = self.cut.batch_size is not None
        return {
            "cut": tf.TensorSpec((3,), tf.int64),
            "order": vector if self.ordered else (),
            "parts": {name: form.parts for name, form in self.forms.items()},
            "carried": {name: form.batch for name, form in self.forms.items()} if batched else {},
        }

    def window(self, key: int, number: int) -> list[Any]:
        """Wait for a window, and have the next one loaded.

        Parameters
        ----------
        key
            Of the epoch's order, 0 or greater.

        Returns
        -------
        list
            Tensors, as `specs` has them when it is flattened.

        Raises
        ------
        InvalidArgument
            When a column has nulls among the rows that are read and nothing stands in for them.
        NoSpace, Unavailable, Corrupt, NotFound
            As of `StreamedVersion.window`.
        """
        plan = self._plan(key)
        window = plan.windows[number]
        order = plan.order(window)
        # Before the window is there: a process that waits for one should hold none.
        carried = self._begun(plan, window)
        table = self._stream.window(window.units.tolist())
        try:
            self._look_ahead(plan, number + 1)
            memory = Memory(Closing(table), self.cut.shuffle, lambda rows: plan.row_numbers(window, rows), order)
            return self._flat(plan, window, order, self._parts(table, memory), carried)
        except BaseException:
            table.close()
            raise

    def _look_ahead(self, plan: EpochPlan, number: int) -> None:
        if number < len(plan.windows):
            # Whether the sidecar still lives is said when the window itself is wanted.
            with suppress(Unavailable):
                self._stream.ahead(plan.windows[number].units.tolist())

    def _parts(self, table: Table, memory: Memory) -> dict[str, tuple[Any, ...]]:
        try:
            return {name: form.tensors(table.columns[name], memory) for name, form in self.forms.items()}
        except OSError as error:
            raise Unavailable(
                f"{table.layout.uri} cannot be read: {error} - look into the system's log for errors of the disk that the "
                "sidecar keeps its disk_dir on",
                what="disk tier",
            ) from error

    def _flat(
        self,
        plan: EpochPlan,
        window: Window,
        order: npt.NDArray[np.int64],
        parts: dict[str, tuple[Any, ...]],
        carried: dict[str, Any] | None,
    ) -> list[Any]:
        if self.cut.batch_size is not None:
            if window.stop < plan.places:
                self._carry(plan, window, self._taken(parts, self._tail(window, order)), carried)
            # Nothing was carried: no batch looks at what stands here, but it has a type.
            carried = carried or {name: _nothing(form.batch) for name, form in self.forms.items()}
        cut = (self.cut.ending(window, plan.places), self.cut.carried(window), window.rows)
        given = {
            "cut": tf.constant(cut, tf.int64),
            "order": Memory().tensor(order) if self.ordered else (),
            "parts": parts,
            "carried": carried or {},
        }
        flat: list[Any] = tf.nest.flatten(given, expand_composites=True)
        return flat

    # -- batches that lie in several windows -----------------------------------------------------------------------

    def _tail(self, window: Window, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Name the rows behind the last batch that is full: all of them where none ends here."""
        return order[window.rows - min(window.stop % self.cut.size, window.rows) :]

    def _carry(self, plan: EpochPlan, window: Window, tail: dict[str, Any], carried: dict[str, Any] | None) -> None:
        if carried is not None and window.stop % self.cut.size > window.rows:
            tail = joined([carried, tail])
        with self._lock:
            self._carried[plan.epoch, window.number + 1] = tail
            if len(self._carried) > _REMEMBERED:
                self._carried.popitem(last=False)

    def _begun(self, plan: EpochPlan, window: Window) -> dict[str, Any] | None:
        """Find the rows that the first batch of a window begins with; None when there are none."""
        count = self.cut.carried(window)
        if not count:
            return None
        with self._lock:
            found = self._carried.get((plan.epoch, window.number))
        return self._read_again(plan, window.number, count) if found is None else found

    def _read_again(self, plan: EpochPlan, number: int, count: int) -> dict[str, Any]:
        """Take rows out of the windows before: an iterator that was restored has not seen them."""
        pieces: list[dict[str, Any]] = []
        while count:
            number -= 1
            window = plan.windows[number]
            with self._stream.window(window.units.tolist()) as table:
                rows = plan.order(window)[-count:]
                pieces.insert(0, self._taken(self._parts(table, Memory(read=rows)), rows))
            count -= len(rows)
        return joined(pieces)

    def _taken(self, parts: Mapping[str, Sequence[Any]], rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        chosen = tf.constant(rows)
        return {name: form.take(parts[name], chosen) for name, form in self.forms.items()}

    def close(self) -> None:
        """Give the version back; windows stay readable for as long as there are tensors of them."""
        self._stream.close()


def joined(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay batches end to end."""
    return {name: tf.concat([piece[name] for piece in pieces], 0) for name in pieces[0]}


def _nothing(spec: Any) -> list[Any]:
    """Make the tensors of something of a type, all empty."""
    return [tf.zeros([side or 0 for side in each.shape], each.dtype) for each in tf.nest.flatten(spec, True)]


def _plan(stream: StreamedVersion, window_units: int, shuffle: bool, chosen: Chosen | None, key: int) -> EpochPlan:
    unit_rows = max(stream.unit_rows, 1)
    return EpochPlan(stream.layout.content_hash, stream.rows, unit_rows, window_units, shuffle, 0, key, chosen)
