"""Where the bytes of consecutive rows lie one behind the other, and where they do not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from alluxio_lance.errors import NoSpace
from alluxio_lance.sidecar.models import placing
from alluxio_lance.sidecar.models.placing import Placing
from alluxio_lance.sidecar.models.runs import Piece

PIECES = [
    Piece(row, f"piece {row}", column, offset, size, b"")
    for row, (column, offset, size) in enumerate(
        [
            ("tensors", 100, 10),
            ("tensors", 110, 0),
            ("tensors", 110, 30),
            ("tensors", 192, 8),
            ("files", 200, 8),
            ("files", 50, 4),
        ]
    )
]


class _File:
    """Memory of one column."""

    def __init__(self, *, mapped: bool = True) -> None:
        self.mapped = mapped
        self.memory = memoryview(bytearray(range(256)))

    def room(self, offset: int, size: int) -> memoryview:
        """Return a part of it."""
        return self.memory[offset : offset + size]


@pytest.mark.parametrize(
    ("row", "count", "expected"),
    [(0, 6, 3), (0, 2, 2), (1, 6, 2), (2, 6, 1), (3, 6, 1), (4, 6, 1), (5, 6, 1), (6, 6, 0)],
)
def test_stretches(row, count, expected):
    """They end at a hole, at another column, at a step back, and with the rows; a piece without bytes is no hole."""
    places = Placing(PIECES, {"tensors": _File(), "files": _File()})
    assert places.stretch("data", row, count) == expected


def test_a_stretch_is_not_too_long(monkeypatch):
    """Several threads shall have something to read; a single piece may be as long as it is."""
    monkeypatch.setattr(placing, "_AT_ONCE", 25)
    places = Placing(PIECES, {"tensors": _File()})
    assert places.stretch("data", 0, 6) == 2
    assert places.stretch("data", 2, 6) == 1


def test_room():
    """It is the memory from the first piece to the last."""
    places = Placing(PIECES, {"tensors": _File(), "files": _File()})
    assert places.room("data", 0, 3) == bytes(range(100, 140))
    assert places.room("data", 5, 1) == bytes(range(50, 54))


def test_memory_that_is_not_mapped():
    """There is no place beforehand."""
    places = Placing(PIECES, {"tensors": _File(mapped=False), "files": _File()})
    assert places.stretch("data", 0, 3) == 0
    assert places.stretch("data", 4, 1) == 1


def test_memory_that_the_kernel_does_not_have():
    """It is whoever writes who hears of it."""

    def refuse(*_: int) -> memoryview:
        raise NoSpace("none", need=1)

    places = Placing(PIECES, {"tensors": SimpleNamespace(mapped=True, room=refuse)})
    assert places.room("data", 0, 3) is None
