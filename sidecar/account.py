"""What one load has claimed of the room for segments; all of it goes back unless the load succeeds."""

from __future__ import annotations

from alluxio_lance.sidecar.budget import Room

__all__ = ["Account"]


class Account:
    """The claim of one load, which grows and is settled in the end.

    Parameters
    ----------
    room
        Where memory is claimed.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0

    def reserve(self, need: int, *, huge: int = 0) -> None:
        """Claim ``need`` more bytes, ``huge`` of them on reserved huge pages; `NoSpace` when they do not fit."""
        self._room.reserve(need, huge=huge)
        self._held += need

    def at_least(self, size: int) -> None:
        """Hold ``size`` bytes or more."""
        if size > self._held:
            self.reserve(size - self._held)

    def settle(self, size: int) -> None:
        """Hold exactly ``size`` bytes from now on."""
        self.at_least(size)
        self._room.release(self._held - size)
        self._held = size
