"""Row numbers: kept small, shared by pickled copies, never changed."""

from __future__ import annotations

import copy
import fcntl
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alluxio_lance.client.views import numbers as module
from alluxio_lance.client.views.joining import Joined
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.errors import Unavailable

MANY = np.random.default_rng(3).permutation(300_000)


@pytest.mark.parametrize(
    "rows",
    [
        range(0),
        range(5, 9),
        range(0, 10, 3),
        range(9, 5, -1),
        np.array([3, 1, 2, 1]),
        np.array([2**40, 7]),
        np.array([4], np.uint64),
        np.array([], np.int64),
        MANY,
    ],
)
def test_rows_are_given_back(rows):
    """In order, as often as they were given, as int64; before and after pickling."""
    made = RowNumbers(rows)
    for found in (made, pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert len(found) == len(rows)
        assert found.all().dtype == np.int64
        assert found.all().tolist() == list(rows)
        places = np.arange(len(rows))[::-1]
        assert found.take(places).tolist() == list(rows)[::-1]


@pytest.mark.parametrize("rows", [[], [5, 6, 7], [0, 3, 4, 90], [7], [2, 2**32 - 1], [2, 2**40]])
def test_rows_below_bounds_are_counted(rows):
    """Of ascending rows, however they are kept, and for bounds that lie far beyond them."""
    bounds = np.array([0, 1, 3, 4, 7, 8, 91, 2**32 - 1, 2**32, 2**40, 2**41])
    made = RowNumbers(np.array(rows, np.int64))
    assert made.below(bounds).tolist() == [sum(row < bound for row in rows) for bound in bounds.tolist()]


def test_neighbours_take_no_memory():
    """However they were given; others have 4 bytes where that is enough."""
    assert RowNumbers(np.arange(1000, 2000))._rows == range(1000, 2000)
    assert RowNumbers(np.array([0, 2]))._rows.itemsize == 4
    assert RowNumbers(np.array([0, 2**32]))._rows.itemsize == 8


def test_the_numbers_are_nobody_else_s():
    """Who gave them may write into his array, who gets them into his."""
    given = np.array([3, 1, 2])
    made = RowNumbers(given)
    given[:] = 0
    made.all()[:] = 0
    assert made.all().tolist() == [3, 1, 2]


def test_many_travel_as_a_descriptor(monkeypatch):
    """A few hundred bytes; the memory is sealed, is made once, and goes with the last who has it."""
    made = RowNumbers(MANY)
    travelling = pickle.dumps(made)
    assert len(travelling) < 1000
    number = made._descriptor
    assert len(pickle.dumps(made)) < 1000
    assert made._descriptor == number
    with (
        Path(f"/proc/self/fd/{number}").open("r+b", buffering=0) as again,
        pytest.raises(OSError, match="not permitted"),
    ):
        again.write(b"x")
    arrived = pickle.loads(travelling)
    del made
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)
    assert np.array_equal(arrived.all(), MANY)
    with pytest.raises(Unavailable, match="open the dataset again"):
        pickle.loads(travelling)


def test_another_process_maps_them():
    """It sees the same numbers without carrying them."""
    made = RowNumbers(MANY)
    code = "import pickle, sys; rows = pickle.load(sys.stdin.buffer); print(len(rows), int(rows.all()[12345]))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(made), capture_output=True, check=True)
    assert done.stdout.split() == [b"300000", b"%d" % MANY[12345]]


def test_older_kernels_map_them_too(monkeypatch):
    """Before Linux 6.7 sealed memory has no shared mapping through a descriptor that may write, not even one to read."""
    plain = module.mmap.mmap

    def as_before(descriptor: int, length: int, flags: int = module.mmap.MAP_SHARED, **options: int) -> object:
        writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        if (
            flags & module.mmap.MAP_SHARED
            and writable
            and fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
        ):
            raise PermissionError
        return plain(descriptor, length, flags=flags, **options)

    monkeypatch.setattr(module.mmap, "mmap", as_before)
    made = RowNumbers(MANY)
    arrived = pickle.loads(pickle.dumps(made))
    assert np.array_equal(arrived.all(), MANY)
    assert np.array_equal(made.all(), MANY)


def test_the_limit_between_both_ways():
    """Fewer bytes than the limit are carried, and need nobody to be alive."""
    few = RowNumbers(MANY[: module._SHARED // 4 - 1])
    pickle.dumps(few)
    assert few._descriptor < 0


def test_joined_tables_are_cut_again():
    """Each row comes back with its table, its number there and its place; tables without rows are in nobody's way."""
    lengths = [3, 0, 5, 1, 0]
    joined = Joined(lengths)
    every = [(source, row) for source, length in enumerate(lengths) for row in range(length)]
    assert len(joined) == 9
    assert [joined.find(row) for row in range(9)] == every
    rows = np.random.default_rng(5).integers(0, 9, 100)
    found = [None] * 100
    for part in joined.cut(rows):
        for place, row in zip(part.places, part.rows, strict=True):
            found[place] = (part.source, row)
    assert found == [every[row] for row in rows]
    assert joined.cut(np.array([], np.int64)) == []
    assert Joined([4]).cut(np.array([], np.int64)) == []
