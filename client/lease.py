"""A reader's hold on a version: its layout, the descriptors of its segments, and the connection that is the lease."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from alluxio_lance.address import Address
from alluxio_lance.client.descriptors import Descriptors, Origin, identities, make_room, take_from
from alluxio_lance.client.door import Door
from alluxio_lance.errors import AlluxioLanceError, Internal, Unavailable
from alluxio_lance.layout import Layout

__all__ = ["Held", "Lease"]

_ATTACH_SECONDS: Final = 10.0


class Held(Protocol):
    """What a table is read from: a lease on a version, or a window of one."""

    @property
    def address(self) -> Address:
        """Where the sidecar is."""
        ...

    @property
    def token(self) -> str:
        """The lease, as the sidecar knows it."""
        ...

    @property
    def layout(self) -> Layout:
        """Names and places of everything."""
        ...

    @property
    def descriptors(self) -> Descriptors:
        """One per segment, in the order of the layout; `Unavailable` when it was closed."""
        ...

    @property
    def attached(self) -> bool:
        """Whether the sidecar knows of this reader."""
        ...

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    def close(self) -> None:
        """Let go; a second call does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class _Travelling:
    """What a pickled lease carries."""

    address: Address
    token: str
    layout: Layout
    origin: Origin


class Lease:
    """A version that stays readable for as long as this object is open, whatever becomes of the sidecar.

    A forked child inherits everything. A pickled lease attaches through the door where it arrives; when the sidecar is
    gone or does not know the token any more, it takes the descriptors from the process that pickled it, through
    ``/proc/PID/fd``: the same sealed memory either way.
    """

    def __init__(
        self, address: Address, token: str, layout: Layout, descriptors: Descriptors, door: Door | None
    ) -> None:
        self.address: Final = address
        self.token: Final = token
        self.layout: Final = layout
        self._descriptors: Descriptors | None = descriptors
        self._door = door
        self._owner: int | None = os.getpid()
        self._check(len(descriptors.numbers))

    @classmethod
    def attach(cls, door: Door, token: str, layout: Layout) -> Lease:
        """Take the descriptors of a fresh lease through the connection that asked for it.

        Raises
        ------
        Unavailable
            When the sidecar is gone, or this process may not open as many files.
        """
        make_room(_segments(layout))
        return cls(door.address, token, layout, Descriptors(door.attach(token)), door)

    @classmethod
    def open(cls, address: Address, uri: str, columns: Sequence[str], timeout: float) -> Lease | None:
        """Open a version that is hot through a connection of its own, which is the lease then; as in `Door.open`."""
        found = Door.connect_and_open(address, uri, columns, make_room, timeout)
        if found is None:
            return None
        door, opened = found
        try:
            return cls(door.address, opened.lease, opened.layout, Descriptors(opened.descriptors), door)
        except BaseException:
            door.close()
            raise

    def _check(self, came: int) -> None:
        need = _segments(self.layout)
        if came != need:
            self.close()
            raise Internal(f"the layout of {self.layout.uri} names {need} segments and {came} descriptors came")

    @property
    def descriptors(self) -> Descriptors:
        """One per segment, in the order of the layout.

        Raises
        ------
        Unavailable
            When the lease was closed.
        """
        if self._descriptors is None:
            raise Unavailable(f"{self.layout.uri} was closed - open it again", what="lease")
        return self._descriptors

    @property
    def attached(self) -> bool:
        """Whether the sidecar knows of this reader; False after an attach without it."""
        return self._door is not None and not self._door.hung_up

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._descriptors is None

    def close(self) -> None:
        """Let go; a second call does nothing. Arrays that were handed out stay valid until they die."""
        self._descriptors = None
        if self._door is not None:
            self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # A lease that failed on its way has no state. At the end of the interpreter the kernel ends it.
        if _ending() or self.__dict__.get("_descriptors") is None:
            return
        self.close()
        # Copies in worker processes end with their worker: nobody there could close them.
        if self._owner == os.getpid():
            warnings.warn(f"the lease on {self.layout.uri} was not closed", ResourceWarning, stacklevel=2, source=self)

    def __getstate__(self) -> _Travelling:
        numbers = self.descriptors.numbers
        return _Travelling(self.address, self.token, self.layout, Origin(os.getpid(), numbers, identities(numbers)))

    def __setstate__(self, state: _Travelling) -> None:
        self.__init__(state.address, state.token, state.layout, *_arrive(state))  # type: ignore[misc]  # unpickling makes the object without calling it
        self._owner = None


def _segments(layout: Layout) -> int:
    return sum(len(column.segments) for column in layout.columns)


def _arrive(state: _Travelling) -> tuple[Descriptors, Door | None]:
    make_room(_segments(state.layout))
    try:
        return _through_the_door(state)
    except AlluxioLanceError as refusal:
        return Descriptors(take_from(state.origin, state.layout.uri, refusal)), None


def _through_the_door(state: _Travelling) -> tuple[Descriptors, Door]:
    door = Door.connect(state.address, _ATTACH_SECONDS)
    try:
        return Descriptors(door.attach(state.token)), door
    except BaseException:
        door.close()
        raise
