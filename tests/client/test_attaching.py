"""The connections of a stream's reader, taken and given back at awkward moments."""

from __future__ import annotations

import threading
from pathlib import Path

from alluxio_lance.address import Address
from alluxio_lance.client.attaching import Connections

WAIT = 20.0
"""Seconds after which a test that waits for an event has failed."""


class IdleDoor:
    """A connection that nobody has hung up; a double, since the moment of a collection cannot be chosen otherwise."""

    def __init__(self) -> None:
        self.when_asked = lambda: None
        self.closed = False

    @property
    def hung_up(self) -> bool:
        """Whether it is closed."""
        self.when_asked()
        return self.closed

    def close(self) -> None:
        """Close it."""
        self.closed = True


def test_a_window_that_is_collected_while_another_one_is_asked_for(tmp_path: Path) -> None:
    """Its connection comes back in the same thread, in the middle of the search for one."""
    first, idle, forgotten = IdleDoor(), IdleDoor(), IdleDoor()
    connections = Connections(Address(tmp_path), "token", first)
    connections.give(idle)
    idle.when_asked = lambda: connections.give(forgotten)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(connections.take()), daemon=True)
    thread.start()
    thread.join(WAIT)
    assert taken == [idle]
    idle.when_asked = lambda: None
    connections.give(idle)
    connections.close()
    assert first.closed
    assert idle.closed
    assert forgotten.closed
