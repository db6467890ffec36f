"""What is asked ahead at the door: only so much of it waits."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from alluxio_lance.sidecar import window_calls
from alluxio_lance.sidecar.window_calls import WindowCalls
from alluxio_lance.sidecar.windows import Asker

WAIT = 20.0
"""Seconds after which a test that waits for an event has failed."""
STREAM = SimpleNamespace(units=SimpleNamespace(check=lambda _: None))


class SlowWindows:
    """Windows that load nothing until they may, as with a store that does not answer.

    A double, since these tests decide when a load ends.
    """

    def __init__(self):
        self.going_on = threading.Event()
        self.loaded = []
        self.changed = threading.Condition()

    def ahead(self, stream, numbers, asker):
        assert self.going_on.wait(WAIT)
        with self.changed:
            self.loaded.append((asker.owner, *numbers))
            self.changed.notify_all()

    def forget(self, owner):
        pass


def test_one_connection_cannot_ask_for_more_and_more(monkeypatch):
    """What is too much comes to nothing, and others are served all the same."""
    monkeypatch.setattr(window_calls, "_MOST_ASKED", 3)
    windows = SlowWindows()
    with WindowCalls(windows) as calls:
        for number in range(10):
            calls.ahead(STREAM, [number], Asker("a", "a", lambda: True), 1)
        calls.ahead(STREAM, [0], Asker("b", "b", lambda: True), 2)
        windows.going_on.set()
        with windows.changed:
            assert windows.changed.wait_for(lambda: len(windows.loaded) >= 4, WAIT)
    assert sorted(windows.loaded) == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]


def test_who_has_what_was_asked_for_may_ask_again(monkeypatch):
    """One after the other, as often as wanted."""
    monkeypatch.setattr(window_calls, "_MOST_ASKED", 1)
    monkeypatch.setattr(window_calls, "_AHEAD", 1)
    windows = SlowWindows()
    windows.going_on.set()
    with WindowCalls(windows) as calls:
        for number in range(5):
            calls.ahead(STREAM, [number], Asker("a", "a", lambda: True), 1)
            # There is one thread: what it begins now comes after the end of that.
            calls._later.submit(int).result(WAIT)
    assert windows.loaded == [("a", number) for number in range(5)]
