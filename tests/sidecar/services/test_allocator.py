"""Memory that was freed goes back to the system."""

import json
import subprocess
import sys
import threading

import pytest

from alluxio_lance.sidecar import allocator
from alluxio_lance.sidecar.allocator import Trimmer

GROWN = """
import json
import threading
from pathlib import Path
import pyarrow as pa
from alluxio_lance.sidecar.allocator import share_heaps, trim

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def fill():
    # The last one stays: the C library can give back only what lies behind it by itself.
    kept.append([pa.allocate_buffer(4096) for _ in range(10_000)][-1])

share_heaps()
kept = []
before = resident()
thread = threading.Thread(target=fill)
thread.start()
thread.join()
freed = resident() - before
trim()
print(json.dumps([pa.default_memory_pool().backend_name, freed, resident() - before]))
"""


def test_what_a_thread_has_freed_goes_back():
    """40 MB that the process would keep; in one of its own, since heaps are a process' for good."""
    done = subprocess.run([sys.executable, "-c", GROWN], capture_output=True, text=True, check=True)
    pool, freed, left = json.loads(done.stdout)
    assert pool == "system"
    assert freed > 30 << 20
    assert left < 10 << 20


def test_many_wishes_become_one_and_the_end_waits_for_none(monkeypatch):
    """A load tells of each of its steps; the heaps are walked once."""
    trimmed = []
    monkeypatch.setattr(allocator, "trim", lambda: trimmed.append(1))
    with Trimmer(pause=3600.0) as trimmer:
        for _ in range(100):
            trimmer.soon()
    assert trimmed == []
    trimmer.close()


def test_a_wish_is_fulfilled(monkeypatch):
    """And the next one is, too."""
    rung = threading.Semaphore(0)
    monkeypatch.setattr(allocator, "trim", rung.release)
    with Trimmer(pause=0.0) as trimmer:
        for _ in range(2):
            trimmer.soon()
            assert rung.acquire(timeout=10)


def test_an_end_that_comes_while_a_wish_is_fulfilled_is_not_forgotten_with_it(monkeypatch):
    """Else closing would wait for ever."""
    monkeypatch.setattr(allocator, "trim", lambda: None)
    trimmer = Trimmer(pause=0.0)

    class Late(threading.Event):
        def clear(self):
            # What `close` does, between the look whether it was called and the end of the wish.
            trimmer._closed.set()
            self.set()
            super().clear()

    before, trimmer._wanted = trimmer._wanted, Late()
    before.set()
    trimmer._wanted.set()
    trimmer._thread.join(10)
    assert not trimmer._thread.is_alive()


@pytest.mark.parametrize("name", ["_MALLOC_TRIM", "_MALLOPT"])
def test_other_c_libraries_have_nothing_to_call(monkeypatch, name):
    """Without glibc both are no more than nothing."""
    monkeypatch.setattr(allocator, name, None)
    monkeypatch.setattr(allocator.pa, "set_memory_pool", lambda _pool: None)
    (allocator.trim if name == "_MALLOC_TRIM" else allocator.share_heaps)()
