"""The last uses of columns, on their way to the disk."""

from __future__ import annotations

from alluxio_lance.sidecar.disk.uses import Uses


def test_each_is_noted_once_in_the_order_of_the_last_uses():
    """And only when that is asked for, or due."""
    touched: list[str] = []
    uses = Uses(touched.append, pause=3600)
    uses.note(["a", "b"])
    uses.note(["c", "a"])
    assert touched == []
    uses.flush()
    assert touched == ["b", "c", "a"]
    uses.flush()
    assert touched == ["b", "c", "a"]


def test_a_round_is_made_when_it_is_due():
    """By whoever notes a use then."""
    touched: list[str] = []
    uses = Uses(touched.append, pause=0)
    uses.note(["a"])
    uses.note(["b", "c"])
    assert touched == ["a", "b", "c"]
