"""Row numbers in an order: small where they can be, and in memory once for a process and all its workers."""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.descriptors import Origin, close_all, identities, take_from

__all__ = ["RowNumbers"]

_SHARED: Final = 1 << 20
"""From so many bytes on a pickled copy maps the numbers instead of carrying them."""
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL

_Integers = npt.NDArray[np.integer[Any]]


class RowNumbers:
    """Which row stands at which place; it never changes.

    Neighbours in order take no memory. Forked children share the numbers; a pickled copy of many maps them through
    ``/proc/PID/fd`` of the process that pickled it.

    Parameters
    ----------
    rows
        The numbers, none negative.
    """

    def __init__(self, rows: range | npt.NDArray[Any]) -> None:
        self._rows = rows if isinstance(rows, range) and rows.step == 1 else _compact(np.asarray(rows))
        self._descriptor = -1

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rows at some places, which must all be there."""
        if isinstance(self._rows, range):
            return places + self._rows.start
        return self._rows[places].astype(np.int64)

    def below(self, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Count the rows that are less than each of some bounds; only where they ascend."""
        if isinstance(self._rows, range):
            return np.clip(bounds - self._rows.start, 0, len(self._rows))
        found = np.full(len(bounds), len(self._rows), np.int64)
        # In their own type: another one would make a copy of all of them, and what lies beyond the last may not fit into it.
        inside = bounds <= int(self._rows[-1])
        found[inside] = np.searchsorted(self._rows, bounds[inside].astype(self._rows.dtype))
        return found

    def all(self) -> npt.NDArray[np.int64]:
        """All rows, in order."""
        if isinstance(self._rows, range):
            return np.arange(self._rows.start, self._rows.stop, dtype=np.int64)
        return self._rows.astype(np.int64)

    def __copy__(self) -> RowNumbers:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> RowNumbers:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as numbers, or as the way to them when they are many."""
        if isinstance(self._rows, range) or self._rows.nbytes < _SHARED:
            return RowNumbers, (self._rows,)
        if self._descriptor < 0:
            self._descriptor, self._rows = _sealed(self._rows)
        own = (self._descriptor,)
        return _arrived, (Origin(os.getpid(), own, identities(own)), self._rows.dtype.str)

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _ending() and self.__dict__.get("_descriptor", -1) >= 0:
            os.close(self._descriptor)


def _compact(rows: npt.NDArray[Any]) -> range | _Integers:
    if len(rows) == 0:
        return range(0)
    first, last = int(rows[0]), int(rows[-1])
    if last - first == len(rows) - 1 and (np.diff(rows.astype(np.int64, copy=False)) == 1).all():
        return range(first, last + 1)
    small = int(rows.max()) < 1 << 32
    # A copy: whoever gave the numbers may write into them later.
    return rows.astype(np.uint32 if small else np.int64)


def _sealed(rows: _Integers) -> tuple[int, _Integers]:
    """Move numbers into sealed memory; the descriptor stays open for others to take."""
    descriptor = os.memfd_create("alluxio-lance-rows", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        data = rows.data.cast("B")
        while data:
            data = data[os.write(descriptor, data) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return descriptor, _mapped(descriptor, rows.dtype.str)
    except BaseException:
        os.close(descriptor)
        raise


def _mapped(descriptor: int, dtype: str) -> _Integers:
    # Private: kernels before 6.7 map what is sealed against writing in no other way through a descriptor that may write.
    found: _Integers = np.frombuffer(mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ), dtype)
    return found


def _arrived(origin: Origin, dtype: str) -> RowNumbers:
    taken = take_from(origin, "a view", RuntimeError("its row numbers do not go through the door"))
    arrived = RowNumbers(range(0))
    try:
        arrived._rows = _mapped(taken[0], dtype)  # noqa: SLF001 - the same class
    finally:
        close_all(taken)
    return arrived
