"""The threads in which windows are made hot, so that the door's own thread never waits for one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import structlog

from alluxio_lance.sidecar.resident import Hold
from alluxio_lance.sidecar.windows import Asker, Stream, Windows

__all__ = ["WindowCalls"]

_log = structlog.get_logger(__name__)

_MOST_WINDOWS: Final = 64
"""Windows that are waited for at once; a further one is begun when one of them is hot."""
_AHEAD: Final = 2
"""Loads ahead at once: one reads while the other decodes."""
_MOST_ASKED: Final = 16
"""Requests of one connection that wait to be loaded ahead; further ones come to nothing, as without room."""


class WindowCalls:
    """Runs what readers ask for at the door.

    Parameters
    ----------
    windows
        The windows of this node.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._urgent = ThreadPoolExecutor(_MOST_WINDOWS, "window")
        self._later = ThreadPoolExecutor(_AHEAD, "ahead")
        self._owners: dict[int, set[str]] = {}
        """Who asked ahead, by connection."""
        self._asked: Counter[int] = Counter()
        """What was asked ahead and is not loaded yet, by connection."""
        self._lock = threading.Lock()

    def window(
        self,
        stream: Stream,
        numbers: Sequence[int],
        asker: Asker,
        answer: Callable[[Hold | BaseException], None],
        *,
        at_once: bool = False,
    ) -> None:
        """Make a window hot and call ``answer`` from another thread, with the window or why there is none.

        ``at_once`` as of `Windows.hold`.

        Raises
        ------
        InvalidArgument
            When the units make no window.
        """
        stream.units.check(numbers)

        self._answer(answer, lambda: self._windows.hold(stream, numbers, asker, at_once=at_once))

    def mapped(self, stream: Stream, asker: Asker, answer: Callable[[Hold | BaseException], None]) -> None:
        """Map all units from this node's disk and call ``answer`` from another thread, as `window` does."""
        self._answer(answer, lambda: self._windows.hold_mapped(stream, asker))

    def _answer(self, answer: Callable[[Hold | BaseException], None], hold: Callable[[], Hold]) -> None:
        def work() -> None:
            try:
                answer(hold())
            except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it was
                answer(error)

        self._urgent.submit(work)

    def ahead(self, stream: Stream, numbers: Sequence[int], asker: Asker, connection: int) -> None:
        """Load units in the background, for as long as the connection is open; `InvalidArgument` as for `window`."""
        stream.units.check(sorted(numbers))
        with self._lock:
            if self._asked[connection] >= _MOST_ASKED:
                return
            self._asked[connection] += 1
            self._owners.setdefault(connection, set()).add(asker.owner)
        self._later.submit(self._load, stream, numbers, asker, connection)

    def _load(self, stream: Stream, numbers: Sequence[int], asker: Asker, connection: int) -> None:
        try:
            self._windows.ahead(stream, numbers, asker)
        except Exception:  # noqa: BLE001 - nobody waits for it; the fault shows in the log
            _log.exception("a load ahead failed", uri=stream.layout.uri)
        finally:
            with self._lock:
                self._asked[connection] -= 1
                if not self._asked[connection]:
                    del self._asked[connection]
        if not asker.go_on():
            # It hung up while this was loaded, perhaps after `leave`.
            self._windows.forget(asker.owner)

    def leave(self, connection: int) -> None:
        """Note that a connection has ended: what it asked for ahead is wanted no more."""
        with self._lock:
            owners = self._owners.pop(connection, ())
        for owner in owners:
            self._windows.forget(owner)

    def close(self) -> None:
        """Wait for what is under way, which the end of residency cuts off; a second call does nothing."""
        self._urgent.shutdown(cancel_futures=True)
        self._later.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
