"""Tells a reader when the active version of its resource changes, also across restarts of the sidecar."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from alluxio_lance.address import Address
from alluxio_lance.client.door import Activated, Door
from alluxio_lance.errors import AlluxioLanceError, PermissionDenied, Unavailable

__all__ = ["OnChange", "Watch"]

OnChange = Callable[[Activated], None]

_LOG: Final = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 0.5


class Watch:
    """A daemon thread on a connection of its own that calls back with each newly active version.

    Parameters
    ----------
    known
        The version that the caller has: when another one is active already, the first call comes at once.
    callback
        Called in the thread, one call at a time. What it raises is logged, and the watch goes on.

    Raises
    ------
    Unavailable
        When no sidecar answers now; one that goes later is waited for.
    """

    def __init__(self, address: Address, type: str, name: str, known: int | None, callback: OnChange) -> None:
        self._address = address
        self._resource = type, name
        self._callback = callback
        self._seen = known
        self._over = threading.Event()
        self._door, first = self._subscribe()
        self._thread = threading.Thread(
            target=self._run, args=(first,), name=f"alluxio-lance watch {type}/{name}", daemon=True
        )
        self._thread.start()

    def _subscribe(self) -> tuple[Door, Activated]:
        door = Door.connect(self._address)
        try:
            return door, door.subscribe(*self._resource)
        except BaseException:
            door.close()
            raise

    def _run(self, first: Activated) -> None:
        self._tell(first)
        while not self._over.is_set():
            try:
                for event in self._door.events():
                    self._tell(event)
            except Unavailable:
                self._door.close()
            self._reconnect()

    def _reconnect(self) -> None:
        while not self._over.wait(_RETRY_SECONDS):
            try:
                door, first = self._subscribe()
            except PermissionDenied as denied:
                _LOG.warning("the watch of alluxio://%s/%s ends: %s", *self._resource, denied.message)
                self._over.set()
                return
            except AlluxioLanceError:
                continue
            self._door = door
            if self._over.is_set():
                door.close()
                return
            self._tell(first)
            return

    def _tell(self, event: Activated) -> None:
        if event.version == self._seen or self._over.is_set():
            return
        self._seen = event.version
        try:
            self._callback(event)
        except Exception:  # noqa: BLE001 - the user's callback may raise anything, and the log shows it whole
            _LOG.exception("on_change of alluxio://%s/%s failed; the watch goes on", *self._resource)

    def close(self) -> None:
        """Stop; no call comes after this returns, unless it is called from the callback itself."""
        self._over.set()
        self._door.hang_up()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
