"""What all places of files have in common: folders, a bucket, Alluxio over either."""

from __future__ import annotations

import pytest
from blake3 import blake3

from alluxio_lance.errors import Corrupt, InvalidArgument
from alluxio_lance.storage.cold import open_cold
from alluxio_lance.storage.place import Patch

LARGE = bytes(range(256)) * (1 << 17)
"""Bytes of two requests."""


@pytest.fixture(params=["folder", "s3", "alluxio", "alluxio-s3"])
def place(request, make_cold, make_ground, make_tiers):
    """An empty place of each kind."""
    if request.param.startswith("alluxio"):
        ground = make_ground(request.param)
        return make_tiers(ground.address, ground.root, make_cold("folder")).store._place
    cold = make_cold(request.param)
    return open_cold(cold.address, cold.options)


def test_files_are_put_and_read(place):
    """Whole or in pieces, small or of several requests; one of the same name is replaced."""
    assert place.files("a/b") == {}
    place.put("a/b", "x", [b"12345"])
    place.put("a/b", "deep/y", iter([LARGE, b"end"]))
    place.put("a/b", "empty", [])
    place.put("a/bc", "z", [b"neighbour"])
    place.put("a/b", "x", [b"1234567"])
    place.harden("a/b", ["x"])
    assert place.files("a/b") == {"x": 7, "deep/y": len(LARGE) + 3, "empty": 0}
    assert place.read("a/b", "x", 2, 3) == b"345"
    assert b"".join(place.chunks("a/b", "deep/y")) == LARGE + b"end"
    assert list(place.chunks("a/b", "empty")) == []
    counted: list[int] = []
    assert place.hash("a/b", "deep/y", None, counted.append) == blake3(LARGE + b"end").hexdigest()
    assert sum(counted) == len(LARGE) + 3
    middle = len(LARGE) // 2 - 2
    patch = Patch(middle, b"other")
    expected = LARGE[:middle] + b"other" + LARGE[middle + 5 :] + b"end"
    assert place.hash("a/b", "deep/y", patch, counted.append) == blake3(expected).hexdigest()


def test_files_are_removed(place):
    """Missing ones are no error; a neighbour stays."""
    for name in ("_versions/1", "data/1", "data/2"):
        place.put("a/b", name, [b"1"])
    place.put("a/bc", "z", [b"neighbour"])
    place.remove("a/b", ["data/1", "data/9"])
    assert set(place.files("a/b")) == {"_versions/1", "data/2"}
    place.drop("a/b")
    place.drop("a/b")
    assert place.files("a/b") == {}
    assert place.files("a/bc") == {"z": 9}


def test_what_is_missing_or_short_is_corrupt(place):
    """The error names the file."""
    place.put("a", "x", [b"123"])
    with pytest.raises(Corrupt, match="a/y") as caught:
        place.read("a", "y", 0, 1)
    assert caught.value.details["found"] is None
    with pytest.raises(Corrupt, match="a/y"):
        list(place.chunks("a", "y"))
    with pytest.raises(Corrupt, match="ends before byte 9") as caught:
        place.read("a", "x", 0, 9)
    assert caught.value.details == {"expected": 9, "found": 3}


def test_a_put_that_fails_leaves_nothing(place):
    """What was there before stays."""
    place.put("a", "x", [b"old"])

    def failing():
        yield b"new"
        yield LARGE
        raise Corrupt("the other side broke", expected=None, found=None)

    with pytest.raises(Corrupt, match="the other side broke"):
        place.put("a", "x", failing())
    assert place.files("a") == {"x": 3}
    assert b"".join(place.chunks("a", "x")) == b"old"


@pytest.mark.parametrize("location", ["", "/a", "../a", "a//b", "a/./b", "a\\b", "a\0"])
def test_locations_do_not_leave_the_root(place, location):
    """Neither kind of place looks at such a name."""
    for look in (place.address, place.files, place.drop):
        with pytest.raises(InvalidArgument, match="is no location"):
            look(location)
