"""The thread that writes what was loaded into the disk tier, when the disk has time; nobody ever waits for it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from alluxio_lance.layout import Column
from alluxio_lance.sidecar.disk.entry import Key
from alluxio_lance.sidecar.disk.writing import Abandoned

__all__ = ["Background", "Offer", "Offered"]

_log = structlog.get_logger(__name__)

_MOST_WAITING: Final = 64
"""Loads, of versions and of units, that wait to be written; further ones are not kept."""
_NICENESS: Final = 10
"""Loads and readers come first where processors are short."""


@dataclass(slots=True, eq=False)
class Offered:
    """One hot column, with descriptors of its own; only one thread at a time has it."""

    key: Key
    column: Column
    descriptors: tuple[int, ...]

    def close(self) -> None:
        """Close the descriptors; a second call does nothing."""
        descriptors, self.descriptors = self.descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


@dataclass(slots=True, eq=False)
class Offer:
    """The columns of one load."""

    of: Hashable
    """The version, as residency tells it from others."""
    owner: tuple[str, str]
    content_hash: str
    columns: list[Offered]
    """Those that the writer has not begun; whoever takes some holds the lock, or is alone with the offer."""
    wanted: bool = True
    """False: the version has left shared memory, and its pages must not be held here any longer."""
    purged: bool = False
    """The version is gone for good: what was written of it goes, too."""


class Background:
    """A queue and the thread that empties it.

    Parameters
    ----------
    write
        Writes one column; raises `Abandoned` when the offer is not wanted any more, and `OSError` when the disk fails.
    """

    def __init__(self, write: Callable[[Offer, Offered], None]) -> None:
        self._write = write
        self._waiting: deque[Offer] = deque()
        self._current: Offer | None = None
        self._closed = False
        self._changed = threading.Condition()
        self.dropped = 0
        """Columns that were offered and not kept."""
        self._thread = threading.Thread(target=self._run, name="disk-write", daemon=True)
        self._thread.start()

    def put(self, offer: Offer) -> None:
        """Take columns over, descriptors included; does not wait."""
        with self._changed:
            if not self._closed and len(self._waiting) < _MOST_WAITING:
                self._waiting.append(offer)
                self._changed.notify_all()
                return
        self.refuse(offer)

    def refuse(self, offer: Offer) -> None:
        """Count columns that are not kept, and close them."""
        self._drop(offer.columns)

    def _drop(self, columns: Sequence[Offered]) -> None:
        for offered in columns:
            offered.close()
        self.count_dropped(len(columns))

    def count_dropped(self, columns: int) -> None:
        """Count columns that are not kept."""
        with self._changed:
            self.dropped += columns

    def forget(self, of: Hashable) -> None:
        """Let go of a version that has left shared memory, so that its memory is free; does not wait for the disk."""
        with self._changed:
            going = [offer for offer in self._waiting if offer.of == of]
            for offer in going:
                self._waiting.remove(offer)
            columns = [offered for offer in going for offered in offer.columns]
            if self._current is not None and self._current.of == of:
                self._current.wanted = False
                # The column that is being written may be at its flush for long: the others are not kept open for it.
                columns += self._current.columns
                self._current.columns = []
        self._drop(columns)

    def purge(self, owner: tuple[str, str], besides: Collection[str]) -> None:
        """Mark what waits or is being written for a resource, of other content hashes than these, as purged."""
        with self._changed:
            for offer in (*self._waiting, self._current):
                if offer is not None and offer.owner == owner and offer.content_hash not in besides:
                    offer.purged, offer.wanted = True, False

    def settle(self, timeout: float) -> bool:
        """Wait until all that was offered is written or dropped; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and self._current is None, timeout)

    def close(self) -> None:
        """Drop what waits, end what is being written, and wait for that. A second call does nothing."""
        with self._changed:
            self._closed = True
            going, self._waiting = list(self._waiting), deque()
            if self._current is not None:
                self._current.wanted = False
            self._changed.notify_all()
        for offer in going:
            self.refuse(offer)
        self._thread.join()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (offer := self._next()) is not None:
            while (offered := self._begin(offer)) is not None:
                self._keep(offer, offered)

    def _next(self) -> Offer | None:
        with self._changed:
            self._current = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or bool(self._waiting))
            if self._closed:
                return None
            self._current = self._waiting.popleft()
            return self._current

    def _begin(self, offer: Offer) -> Offered | None:
        """Take the next column, which is this thread's alone from now on; None when all are done."""
        with self._changed:
            return offer.columns.pop(0) if offer.columns else None

    def _keep(self, offer: Offer, offered: Offered) -> None:
        try:
            self._write(offer, offered)
        except Abandoned:
            self.count_dropped(1)
        except OSError as error:
            self.count_dropped(1)
            _log.warning("the disk tier could not keep a column", column=offered.key.column, error=str(error))
        except Exception:  # noqa: BLE001 - a fault with one column must not end the thread that keeps all others
            self.count_dropped(1)
            _log.exception("the disk tier could not keep a column", column=offered.key.column)
        finally:
            offered.close()
