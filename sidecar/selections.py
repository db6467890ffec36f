"""The rows that filters select: each filter is evaluated once per version, and the answers of late are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from alluxio_lance.errors import Corrupt, InvalidArgument, Unavailable
from alluxio_lance.lifecycle.ports import TableReader
from alluxio_lance.sidecar.models.planning import is_model_version
from alluxio_lance.sidecar.resident import Key, key_of
from alluxio_lance.values import Version

__all__ = ["KEPT_BYTES", "Selections"]

KEPT_BYTES: Final = 8 << 20
"""What the answers take that are kept; one takes a bit per row of its version."""
_AT_ONCE: Final = 2
"""Evaluations at the same time: each keeps the cores busy by itself."""
_PART: Final = 16 << 10
"""Bytes of an answer that are given out at once: at most 131072 rows."""
_AROUND: Final = 1 << 10
_LOOK: Final = 0.5
"""Seconds between two looks at whether anybody still waits."""

_Bits = npt.NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class _Search:
    """An evaluation that is under way, and those who wait for it."""

    wishes: list[Callable[[], bool]] = field(default_factory=list)
    over: bool = False
    given_up: bool = False
    """Nobody waited any more, and it was ended for that."""
    bits: _Bits | None = None
    error: BaseException | None = None

    def unwanted(self) -> bool:
        """Tell whether it should end since nobody waits; once it has said so, it stays so."""
        self.given_up = self.given_up or not any(wanted() for wanted in self.wishes)
        return self.given_up


class Selections:
    """What filters select, one bit per row.

    Parameters
    ----------
    open
        Opens a version for reading.
    """

    def __init__(self, open: Callable[[Version], TableReader]) -> None:
        self._open = open
        self._kept: OrderedDict[tuple[Key, str], _Bits] = OrderedDict()
        self._searches: dict[tuple[Key, str], _Search] = {}
        self._running = 0
        self._closed = False
        self._changed = threading.Condition()

    def find(self, version: Version, filter: str, wanted: Callable[[], bool]) -> Iterator[npt.NDArray[np.int64]]:
        """Number the rows of a version for which an expression is true, ascending, in parts.

        Whoever asks for what somebody else is just finding out waits for that one.

        Parameters
        ----------
        wanted
            Tells whether the caller is still there; an evaluation that nobody waits for any more ends.

        Raises
        ------
        InvalidArgument
            When the expression is none that may be evaluated, or does not fit the columns; or the version is a model.
        NotFound, Restoring, Corrupt, Unavailable
            When the version cannot be read any more.
        """
        if is_model_version(version):
            raise InvalidArgument(f"{version.uri} is a model: filters select rows of datasets")
        return _parts(self._find((key_of(version), filter), version, wanted))

    def _find(self, key: tuple[Key, str], version: Version, wanted: Callable[[], bool]) -> _Bits:
        with self._changed:
            while True:
                kept = self._kept.get(key)
                if kept is not None:
                    self._kept.move_to_end(key)
                    return kept
                search = self._searches.get(key)
                if search is None:
                    break
                search.wishes.append(wanted)
                self._await(search, wanted)
                if search.bits is not None:
                    return search.bits
                # One that was given up before this call came to wait for it says nothing about the filter.
                if not search.given_up:
                    assert search.error is not None
                    raise search.error
            search = self._searches[key] = _Search([wanted])
        try:
            bits = search.bits = self._evaluate(version, key[1], search)
        except BaseException as error:
            search.error = error
            raise
        else:
            return bits
        finally:
            with self._changed:
                search.over = True
                del self._searches[key]
                if search.bits is not None:
                    self._keep(key, search.bits)
                self._changed.notify_all()

    def _await(self, search: _Search, wanted: Callable[[], bool]) -> None:
        """Wait for the end of somebody else's evaluation, under the lock."""
        while not search.over:
            if not wanted() or self._closed:
                raise _ended()
            self._changed.wait(_LOOK)

    def _evaluate(self, version: Version, filter: str, search: _Search) -> _Bits:
        self._begin(search)
        try:
            with closing(self._open(version)) as reader:
                bits = np.zeros(-(-reader.num_rows // 8), np.uint8)
                with closing(reader.matching(filter)) as parts:
                    for rows in parts:
                        if self._closed or search.unwanted():
                            raise _ended()
                        _set(bits, rows, reader.num_rows, version)
            return bits
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _begin(self, search: _Search) -> None:
        """Wait for a place among those that are evaluated."""
        with self._changed:
            while self._running >= _AT_ONCE and not self._closed:
                self._changed.wait(_LOOK)
                if search.unwanted():
                    raise _ended()
            if self._closed:
                raise _ended()
            self._running += 1

    def _keep(self, key: tuple[Key, str], bits: _Bits) -> None:
        """Keep an answer, and drop the oldest that do not fit beside it, under the lock."""
        self._kept[key] = bits
        while sum(map(_size, self._kept.items())) > KEPT_BYTES:
            self._kept.popitem(last=False)

    def close(self) -> None:
        """End what is under way; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._kept.clear()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _set(bits: _Bits, rows: npt.NDArray[np.uint64], count: int, version: Version) -> None:
    """Set the bits of ascending rows."""
    if not len(rows):
        return
    last = int(rows[-1])
    if last >= count:
        raise Corrupt(f"a filter found row {last} in {version.uri}, which has {count} rows", expected=count, found=last)
    start = int(rows[0]) // 8 * 8
    found = np.zeros(last + 1 - start, np.bool_)
    found[rows.astype(np.int64) - start] = True
    packed = np.packbits(found, bitorder="little")
    bits[start // 8 : start // 8 + len(packed)] |= packed


def _parts(bits: _Bits) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(bits), _PART):
        rows = np.flatnonzero(np.unpackbits(bits[start : start + _PART], bitorder="little"))
        if len(rows):
            yield rows + start * 8


def _size(kept: tuple[tuple[Key, str], _Bits]) -> int:
    """Bytes that an answer takes, with the text of its filter, which may be longer, and all that is around it."""
    (_, filter), bits = kept
    return bits.nbytes + 4 * len(filter) + _AROUND


def _ended() -> Unavailable:
    return Unavailable(
        "the filter was not evaluated to its end, since nobody waits for it or the sidecar stops - ask again",
        what="sidecar",
    )
