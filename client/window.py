"""A reader's hold on one window of a version: its layout, the descriptors of its units, and the connection that holds it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from alluxio_lance.address import Address
from alluxio_lance.client.attaching import Connections
from alluxio_lance.client.descriptors import Descriptors, Origin, identities, make_room, take_from
from alluxio_lance.client.door import Door, Window
from alluxio_lance.errors import AlluxioLanceError, Internal, Unavailable
from alluxio_lance.layout import Column, ColumnKind, Layout, Segment

__all__ = ["WindowLease"]


class WindowLease:
    """Units that stay readable for as long as this object is open; what `Lease` is to a version in one piece.

    A forked child inherits the memory. A pickled window asks at the door where it arrives; when the sidecar is gone it
    takes the descriptors from the process that pickled it, through ``/proc/PID/fd``.
    """

    def __init__(self, claim: _Claim, layout: Layout, descriptors: Descriptors, held: _Held | None) -> None:
        self.layout: Final = layout
        self._claim = claim
        self._descriptors: Descriptors | None = descriptors
        self._held = held
        self._owner = os.getpid()
        self._is_copy = False

    @classmethod
    def take(
        cls, connections: Connections, version: Layout, units: Sequence[int], *, at_once: bool = False
    ) -> WindowLease:
        """Ask for a window and wait until it is hot.

        Parameters
        ----------
        version
            The layout of the version, without segments.
        at_once
            As of `Door.window`.

        Raises
        ------
        NoSpace, NotFound, Corrupt, Unavailable
            As of `Door.window`; `Unavailable` also when this process may not open as many files.
        """
        claim = _Claim(connections.address, connections.token, version, tuple(units))
        return cls(claim, *_window_of(connections, claim, private=False, at_once=at_once))

    @classmethod
    def take_mapped(cls, connections: Connections, version: Layout, units: int) -> WindowLease | None:
        """Ask for all units, mapped from the node's disk; None where that cannot be had now. Errors as of `take`."""
        claim = _Claim(connections.address, connections.token, version, tuple(range(units)))
        taken = _taken(connections, claim, lambda door: door.mapped(claim.token), private=False)
        return None if taken is None else cls(claim, *taken)

    @property
    def address(self) -> Address:
        """Where the sidecar is."""
        return self._claim.address

    @property
    def token(self) -> str:
        """The lease, as the sidecar knows it."""
        return self._claim.token

    @property
    def descriptors(self) -> Descriptors:
        """One per segment, in the order of the layout.

        Raises
        ------
        Unavailable
            When the window was closed.
        """
        if self._descriptors is None:
            raise Unavailable(f"this window of {self.layout.uri} was closed - ask for it again", what="lease")
        return self._descriptors

    @property
    def attached(self) -> bool:
        """Whether the sidecar knows of this reader; False after an arrival without it."""
        return self._held is not None and not self._held.door.hung_up

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._descriptors is None

    def close(self) -> None:
        """Let go; a second call does nothing. Arrays that were handed out stay valid until they die."""
        self._descriptors = None
        held, self._held = self._held, None
        if held is not None:
            held.release(inherited=self._owner != os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # A window that failed on its way has no state. At the end of the interpreter the kernel ends it.
        if _ending() or self.__dict__.get("_descriptors") is None:
            return
        self.close()
        # Copies in worker processes end with their worker: nobody there could close them.
        if self._owner == os.getpid() and not self._is_copy:
            message = f"a window of {self.layout.uri} was not closed"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __getstate__(self) -> _Travelling:
        numbers = self.descriptors.numbers
        return _Travelling(self._claim, self.layout, Origin(os.getpid(), numbers, identities(numbers)))

    def __setstate__(self, state: _Travelling) -> None:
        self.__init__(state.claim, *_arrive(state))  # type: ignore[misc]  # unpickling makes the object without calling it
        self._is_copy = True


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a window is asked for with."""

    address: Address
    token: str
    version: Layout
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Travelling:
    """What a pickled window carries."""

    claim: _Claim
    layout: Layout
    origin: Origin


@dataclass(frozen=True, slots=True)
class _Held:
    """A window at the door."""

    connections: Connections
    door: Door
    id: str
    private: bool
    """Whether nobody else uses the connections."""

    def release(self, *, inherited: bool) -> None:
        """Let the window go; an inherited one is the parent's to release."""
        if inherited:
            self.door.close()
            return
        try:
            self.door.release(self.id)
        except AlluxioLanceError:
            # The sidecar is gone, or the lease has ended: so has the window.
            self.door.close()
        else:
            self.connections.give(self.door)
        if self.private:
            self.connections.close()


def _window_of(
    connections: Connections, claim: _Claim, *, private: bool, at_once: bool = False
) -> tuple[Layout, Descriptors, _Held]:
    def ask(door: Door) -> Window:
        return door.window(claim.token, claim.units, at_once=at_once)

    taken = _taken(connections, claim, ask, private=private)
    assert taken is not None, "it is given, or refused with an error"
    return taken


def _taken(
    connections: Connections, claim: _Claim, ask: Callable[[Door], Window | None], *, private: bool
) -> tuple[Layout, Descriptors, _Held] | None:
    make_room(len(claim.units) * len(claim.version.columns))
    door = connections.take()
    try:
        window = ask(door)
    except AlluxioLanceError:
        # A refusal is a reply like any other: the connection can be used again, if it is still one.
        connections.give(door)
        raise
    except BaseException:
        door.close()
        raise
    if window is None:
        connections.give(door)
        return None
    descriptors = Descriptors(window.descriptors)
    try:
        layout = _layout(claim, window)
    except BaseException:
        door.close()
        raise
    return layout, descriptors, _Held(connections, door, window.id, private)


def _arrive(state: _Travelling) -> tuple[Layout, Descriptors, _Held | None]:
    try:
        connections = Connections.attach(state.claim.address, state.claim.token)
        try:
            return _window_of(connections, state.claim, private=True)
        except BaseException:
            connections.close()
            raise
    except AlluxioLanceError as refusal:
        make_room(len(state.origin.numbers))
        return state.layout, Descriptors(take_from(state.origin, state.layout.uri, refusal)), None


def _layout(claim: _Claim, window: Window) -> Layout:
    version, units = claim.version, len(claim.units)
    need = len(version.columns) * units
    if (len(window.columns), len(window.segments), len(window.descriptors)) != (len(version.columns), need, need):
        raise Internal(
            f"a window of {version.uri} has {need} segments, and {len(window.segments)} of {len(window.columns)} columns "
            f"came with {len(window.descriptors)} descriptors"
        )
    columns = [
        _column(column, kind, nulls, window.segments[place * units : (place + 1) * units])
        for place, (column, (kind, nulls)) in enumerate(zip(version.columns, window.columns, strict=True))
    ]
    return replace(version, num_rows=window.rows, columns=tuple(columns))


def _column(column: Column, kind: ColumnKind, nulls: int, segments: Sequence[Segment]) -> Column:
    found = replace(column, null_count=nulls, segments=tuple(segments))
    # Lists that turned out to have null items.
    return found if kind is column.kind else replace(found, kind=kind, dtype="", shape=())
