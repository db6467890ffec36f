"""Gathers against a plain loop: any width, any number of joined segments, any order of the rows, one thread or several."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alluxio_lance.sidecar._shm import Mapping, gather, read_indices, resolve

PAGE = 4096
KEPT_BY_VALGRIND = 1 << 63 if "vgpreload" in os.environ.get("LD_PRELOAD", "") else 0
SEVERAL = 4
"""Threads; the number of processors does not bound what the native module does."""
LARGE_ROWS, LARGE_WIDTH = 700, 12_288 + 40
"""8 MB in all: enough for several threads, and no whole number of pages or of turns."""


def one_by_one(source: np.ndarray, width: int, indices: np.ndarray) -> bytes:
    """Gather as slowly as can be."""
    rows = [bytes(source[start : start + width]) for start in range(0, len(source) - width + 1, width)]
    return b"".join(rows[index] for index in indices.tolist())


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """Rows that several threads share."""
    return np.random.default_rng(0).integers(0, 256, LARGE_ROWS * LARGE_WIDTH, np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    width=st.one_of(st.integers(1, 300), st.integers(300, 9000)),
    rows=st.integers(1, 40),
    ahead=st.integers(0, 70),
    threads=st.integers(1, SEVERAL),
    data=st.data(),
)
def test_gathers_equal_a_plain_loop(width, rows, ahead, threads, data):
    """Rows of any width at any address come in the order of the indices, repeated and negative ones too."""
    indices = np.array(data.draw(st.lists(st.integers(-rows, rows - 1), max_size=50)), np.int64)
    memory = np.resize(np.arange(251, dtype=np.uint8), ahead + rows * width)
    memory[:: width + 1] ^= 0xFF
    source = memory[ahead:]
    target = np.full(len(indices) * width + 64, 0xAA, np.uint8)
    gather(source, rows, width, indices, target[: len(indices) * width], threads=threads)
    assert bytes(target[: len(indices) * width]) == one_by_one(source, width, indices)
    assert (target[len(indices) * width :] == 0xAA).all(), "nothing is written behind the last row"


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 6000), pages=st.lists(st.integers(1, 3), min_size=1, max_size=12), data=st.data())
def test_gathers_cross_the_seams_of_joined_segments(width, pages, data):
    """Rows that begin in one file and end in another, behind it in memory, come whole."""
    files = []
    try:
        for number, count in enumerate(pages):
            files.append(os.memfd_create("segment"))
            os.write(files[-1], np.random.default_rng(number).bytes(count * PAGE))
        mapping = Mapping([(file, 0, count * PAGE) for file, count in zip(files, pages, strict=True)])
    finally:
        for file in files:
            os.close(file)
    rows = len(mapping) // width
    if not rows:
        return
    indices = np.array(data.draw(st.lists(st.integers(0, rows - 1), max_size=20)), np.int64)
    target = np.empty(len(indices) * width, np.uint8)
    gather(mapping, rows, width, indices, target)
    assert bytes(target) == one_by_one(np.frombuffer(mapping, np.uint8), width, indices)


@pytest.mark.parametrize("threads", [2, SEVERAL, 1000])
def test_threads_do_what_one_does(large, threads):
    """Several threads copy the same bytes as one, again and again."""
    rng = np.random.default_rng(threads)
    for _ in range(20):
        indices = rng.integers(-LARGE_ROWS, LARGE_ROWS, 600)
        target = np.zeros((600, LARGE_WIDTH), np.uint8)
        gather(large, LARGE_ROWS, LARGE_WIDTH, indices, target.reshape(-1), threads=threads)
        np.testing.assert_array_equal(target, large.reshape(LARGE_ROWS, -1)[indices])


def test_gathers_at_the_same_time(large):
    """Python threads that gather at once share the helpers or do without; each gets its own rows."""
    wrong: list[int] = []
    ready = threading.Barrier(SEVERAL)

    def run(seed: int) -> None:
        rng = np.random.default_rng(seed)
        ready.wait(60)
        for _ in range(15):
            indices = rng.integers(0, LARGE_ROWS, 300)
            target = np.zeros((300, LARGE_WIDTH), np.uint8)
            gather(large, LARGE_ROWS, LARGE_WIDTH, indices, target.reshape(-1), threads=SEVERAL)
            if not np.array_equal(target, large.reshape(LARGE_ROWS, -1)[indices]):
                wrong.append(seed)

    running = [threading.Thread(target=run, args=(seed,)) for seed in range(SEVERAL)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert not any(thread.is_alive() for thread in running)
    assert not wrong


SMALL = """
import numpy as np
from pathlib import Path
from alluxio_lance.sidecar._shm import gather

def helpers():
    return [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()].count("alluxio-gather\\n")

gather(bytes(1 << 21), 512, 4096, np.arange(511), bytearray(511 << 12), threads=9)
assert helpers() == 0
gather(bytes(1 << 21), 512, 4096, np.arange(512), bytearray(1 << 21), threads=9)
assert helpers() == 1
"""

FORKING = """
import os, threading
import numpy as np
from alluxio_lance.sidecar._shm import gather

rows, width = 700, 12288
source = np.random.default_rng(0).integers(0, 256, (rows, width), np.uint8)
indices = np.random.default_rng(1).integers(0, rows, 600)
ending = threading.Event()

def once():
    target = np.zeros((600, width), np.uint8)
    gather(source.reshape(-1), rows, width, indices, target.reshape(-1), threads=4)
    return np.array_equal(target, source[indices])

def busy():
    while not ending.is_set():
        once()

assert once()
# Somebody else gathers in the moment of the fork: the child inherits a lock whose owner it does not have.
other = threading.Thread(target=busy)
other.start()
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        grandchild = os.fork() if once() else -1
        if grandchild == 0:
            os._exit(0 if once() else 1)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) if grandchild > 0 else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert once()
ending.set()
other.join()
"""


def test_threads_after_a_fork():
    """A forked child, and its child, make helpers of their own, whatever the parent was doing."""
    # Python 3.12 warns of any fork beside a thread.
    subprocess.run([sys.executable, "-P", "-W", "ignore::DeprecationWarning", "-c", FORKING], check=True, timeout=120)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_gather_needs_a_thread(threads):
    """No threads at all cannot be asked for."""
    with pytest.raises(ValueError, match=f"a gather with {threads} threads"):
        gather(b"a", 1, 1, np.array([0]), bytearray(1), threads=threads)


def test_helpers_leave_signals_to_the_interpreter(large):
    """The threads that help block every signal, so that Python's handlers run where they always do."""
    indices = np.zeros(600, np.int64)
    gather(large, LARGE_ROWS, LARGE_WIDTH, indices, np.empty(600 * LARGE_WIDTH, np.uint8), threads=SEVERAL)
    helpers = [task for task in Path("/proc/self/task").iterdir() if (task / "comm").read_text() == "alluxio-gather\n"]
    assert len(helpers) >= SEVERAL - 1
    for task in helpers:
        status = (task / "status").read_text()
        blocked = int(status[status.index("SigBlk:") :].split()[1], 16)
        # All but SIGKILL, SIGSTOP and the two that the C library keeps to itself; valgrind keeps the last one.
        assert blocked | 1 << 8 | 1 << 18 | 3 << 31 | KEPT_BY_VALGRIND == 2**64 - 1


def test_small_gathers_wake_nobody():
    """Below a megabyte for each thread no helper is made, however many are allowed."""
    subprocess.run([sys.executable, "-P", "-c", SMALL], check=True, timeout=120)


@pytest.mark.parametrize("index", [2**63 - 1, -(2**63), 2**32, 50, -51])
def test_indices_out_of_range(index):
    """IndexError names the index, however large; nothing was written."""
    indices, target = np.array([1, index, 2]), np.zeros(3, np.int64)
    with pytest.raises(IndexError, match=f"index {index} is out of range for 50 rows"):
        resolve(indices, 50, target)
    assert not target.any()
    with pytest.raises(IndexError, match=f"index {index} is out of range"):
        gather(bytes(50), 50, 1, indices, bytearray(3), threads=2)


@pytest.mark.parametrize(
    ("indices", "resolved", "contiguous"),
    [
        ([], [], True),
        ([7], [7], True),
        ([3, 4, 5], [3, 4, 5], True),
        ([-3, -2, -1], [7, 8, 9], True),
        ([8, -1], [8, 9], True),
        ([9, 0], [9, 0], False),
        ([4, 4], [4, 4], False),
        ([2, 1], [2, 1], False),
        ([0, 2, 1, 3], [0, 2, 1, 3], False),
    ],
)
def test_indices_are_resolved(indices, resolved, contiguous):
    """Negative indices become rows; rows that follow each other are told apart; in place as well as into a new array."""
    given_, target = np.array(indices, np.int64), np.empty(len(indices), np.int64)
    assert resolve(given_, 10, target) == contiguous
    assert target.tolist() == resolved
    assert resolve(given_, 10, given_) == contiguous
    assert given_.tolist() == resolved


def test_places_must_be_as_many_as_indices():
    """A target of another length is refused, longer or shorter."""
    for places in (0, 2):
        with pytest.raises(ValueError, match="1 rows need as many places"):
            resolve(np.array([0]), 10, np.empty(places, np.int64))
        with pytest.raises(ValueError, match="1 rows need as many places"):
            read_indices([0], np.empty(places, np.int64))


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_lists_of_integers_are_read(numbers):
    """Every integer of 64 bits arrives."""
    target = np.empty(len(numbers), np.int64)
    assert read_indices(numbers, target)
    assert target.tolist() == numbers


@pytest.mark.parametrize("odd", [True, 1.0, "1", None, 2**63, -(2**63) - 1, 10**40, np.int64(1)], ids=repr)
def test_what_is_no_plain_integer_is_left_to_others(odd):
    """Lists with anything else in them are not read here."""
    assert not read_indices([0, odd], np.empty(2, np.int64))
