"""How a reader learns that its version is no longer the active one, and its copies that it moved on."""

from __future__ import annotations

import pickle
import queue
import subprocess
import sys
import threading

import pyarrow as pa
import pytest

from alluxio_lance.client.door import Activated, Door
from alluxio_lance.client.generation import Generation
from alluxio_lance.client.watching import Watch
from alluxio_lance.errors import Unavailable

ONE = pa.table({"a": [1]})


def test_a_watch_calls_back_with_each_change(node):
    """Each activation is told once; the version that the reader has is not."""
    first = node.register("follow/each", ONE)
    told: queue.Queue[Activated] = queue.Queue()
    with Watch(node.address, "datasets", "follow/each", first.version, told.put):
        second = node.update("follow/each", ONE)
        assert told.get(timeout=60) == Activated("1.1.0", second.version)
        node.call(lambda manager: manager.rollback_resource("datasets", "follow/each"))
        assert told.get(timeout=60) == Activated("1.0.0", 1)
    assert told.empty()


def test_a_watch_tells_at_once_what_was_missed(node):
    """When another version is active already the first call comes without a change."""
    node.register("follow/late", ONE)
    second = node.update("follow/late", ONE)
    told: queue.Queue[Activated] = queue.Queue()
    with Watch(node.address, "datasets", "follow/late", 1, told.put):
        assert told.get(timeout=60).version == second.version


def test_a_watch_goes_on_after_a_failing_callback(node, caplog):
    """What a callback raises is logged, and the next change is told."""
    node.register("follow/fail", ONE)
    told: queue.Queue[Activated] = queue.Queue()

    def callback(event: Activated) -> None:
        told.put(event)
        raise ValueError("mine")

    with Watch(node.address, "datasets", "follow/fail", 1, callback):
        for _ in range(2):
            node.update("follow/fail", ONE)
            told.get(timeout=60)
    assert caplog.text.count("ValueError: mine") == 2


def test_a_watch_survives_the_sidecar(own_node):
    """A change that happened while the sidecar was down is told by the next one."""
    own_node.register("x", ONE)
    told: queue.Queue[Activated] = queue.Queue()
    with Watch(own_node.address, "datasets", "x", 1, told.put) as watch:
        own_node.kill()
        own_node.start()
        second = own_node.update("x", ONE)
        assert told.get(timeout=60).version == second.version
        own_node.kill()
    watch.close()


def test_a_watch_may_be_closed_from_its_callback(node):
    """Closing from the callback does not wait for itself."""
    node.register("follow/close", ONE)
    node.update("follow/close", ONE)
    done: queue.Queue[None] = queue.Queue()
    watches: queue.Queue[Watch] = queue.Queue()

    def callback(event: Activated) -> None:
        watches.get().close()
        done.put(None)

    watches.put(Watch(node.address, "datasets", "follow/close", 1, callback))
    done.get(timeout=60)


def test_a_watch_keeps_its_descriptor_until_its_thread_has_ended(node, monkeypatch):
    """Closed before, its number may be another file's when the thread looks again, which would wait for that one."""
    node.register("follow/descriptor", ONE)
    watch = Watch(node.address, "datasets", "follow/descriptor", 1, print)
    under_a_waiter: list[bool] = []
    close = Door.close

    def noting(door: Door) -> None:
        under_a_waiter.append(watch._thread.is_alive() and threading.current_thread() is not watch._thread)
        close(door)

    monkeypatch.setattr(Door, "close", noting)
    watch.close()
    assert under_a_waiter
    assert not any(under_a_waiter)


def test_a_watch_needs_a_sidecar(tmp_path):
    """Without a sidecar a watch is refused at once."""
    from alluxio_lance.address import Address

    with pytest.raises(Unavailable):
        Watch(Address(tmp_path), "datasets", "x", 1, print)


COPY = """
import pickle, sys
generation = pickle.loads(bytes.fromhex(sys.stdin.readline()))
print(generation.number, generation.ours, flush=True)
sys.stdin.readline()
print(generation.number, flush=True)
"""


def test_copies_in_other_processes_see_the_number(node):
    """A pickled copy follows the number of the process that made it, and may tell that it is not its own."""
    generation = Generation()
    generation.advance()
    copy = subprocess.Popen([sys.executable, "-P", "-c", COPY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert copy.stdin is not None
    assert copy.stdout is not None
    copy.stdin.write(pickle.dumps(generation).hex().encode() + b"\n")
    copy.stdin.flush()
    assert copy.stdout.readline() == b"1 False\n"
    generation.advance()
    assert copy.communicate(b"\n")[0] == b"2\n"
    generation.close()
    generation.close()
    assert generation.number == 2


def test_a_copy_without_its_origin_counts_on_its_own():
    """Where the origin has gone the copy keeps the number it left with, and owns it."""
    generation = Generation()
    generation.advance()
    state = pickle.dumps(generation)
    generation.close()
    copy = pickle.loads(state)
    assert (copy.number, copy.ours) == (1, True)
    assert copy.advance() == 2
    assert generation.number == 1
    copy.close()
