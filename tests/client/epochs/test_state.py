"""The state that goes into a checkpoint: plain values, and refused where it does not belong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alluxio_lance.client.epochs.chosen import Chosen
from alluxio_lance.client.epochs.state import Start, State, WorkerShare
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.errors import Conflict, InvalidArgument
from alluxio_lance.layout import Layout

LAYOUT = Layout(
    type="datasets",
    name="a/b",
    semver="1.2.0",
    version=3,
    content_hash="ab" * 32,
    num_rows=100,
    shard_rows=4096,
    columns=(),
)
START = Start(epoch=2, position=30, seed=5, unit_rows=10, window_units=4)
CHOSEN = Chosen("label = 3", RowNumbers(range(20, 70)))
GOOD: dict[str, Any] = State.of(LAYOUT, shuffle=True, start=START).to_dict()


def test_it_goes_through_json():
    """Everything is text, numbers and booleans, and comes back as it was."""
    share = WorkerShare(id=1, workers=2, rank=0, world_size=1, batch_size=8, batches=3)
    for state in (
        State.of(LAYOUT, True, START),
        State.of(LAYOUT, False, START, share),
        State.of(LAYOUT, True, START, share, chosen=CHOSEN),
    ):
        assert State.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    assert GOOD["semver"] == "1.2.0"
    assert GOOD["uri"] == "alluxio://datasets/a/b@1.2.0"
    assert (GOOD["epoch"], GOOD["position"], GOOD["window_units"]) == (2, 30, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "format 1 or 2"),
        ({"format": None}, "format 1"),
        # With a filter, which is missing.
        ({"format": 2}, "incomplete"),
        ({"position": 101}, "cannot be"),
        ({"position": -1}, "cannot be"),
        ({"epoch": -1}, "cannot be"),
        ({"unit_rows": 0}, "cannot be"),
        ({"window_units": 0}, "cannot be"),
        ({"seed": "x"}, "damaged"),
        ({"worker": {"id": 1}}, "damaged"),
        ({"worker": 3}, "damaged"),
    ],
)
def test_what_is_no_state_is_refused(change, message):
    """Damage is said where it is read, and not found in the middle of an epoch."""
    with pytest.raises(InvalidArgument, match=message):
        State.from_dict({**GOOD, **change})


def test_what_is_no_dict_is_refused():
    """As a checkpoint without the entry gives it."""
    with pytest.raises(InvalidArgument, match="its format is 'NoneType'"):
        State.from_dict(None)


@pytest.mark.parametrize("missing", [name for name in GOOD if name != "semver"])
def test_what_is_incomplete_is_refused(missing):
    """No field is guessed."""
    with pytest.raises(InvalidArgument, match=r"format 1|incomplete"):
        State.from_dict({name: value for name, value in GOOD.items() if name != missing})


def test_a_state_of_another_version_says_which_one_to_open():
    """The sentence has the URI that the state belongs to."""
    state = State.from_dict({**GOOD, "content_hash": "cd" * 32, "uri": "alluxio://datasets/a/b@1.1.0"})
    with pytest.raises(Conflict, match=r"open alluxio://datasets/a/b@1\.1\.0 to go on") as caught:
        state.check(LAYOUT, shuffle=True)
    assert caught.value.details["uri"] == "alluxio://datasets/a/b@1.1.0"


def test_a_state_of_another_kind_of_order_is_refused():
    """A place in a shuffled order says nothing in the order of the rows."""
    State.from_dict(GOOD).check(LAYOUT, shuffle=True)
    with pytest.raises(InvalidArgument, match="shuffle=True"):
        State.from_dict(GOOD).check(LAYOUT, shuffle=False)


def test_without_a_filter_a_state_is_what_it_always_was():
    """Releases that know no filters read it; and no others, since they would read on among all rows."""
    assert GOOD["format"] == 1
    assert "filter" not in GOOD
    state = State.of(LAYOUT, True, START, chosen=CHOSEN).to_dict()
    assert (state["format"], state["filter"], state["rows"]) == (2, "label = 3", 50)


@pytest.mark.parametrize(
    ("taken", "here", "message"),
    [
        (CHOSEN, None, "taken with filter='label = 3', the dataset has no filter - open it with the same"),
        (None, CHOSEN, "taken with no filter, the dataset has filter='label = 3'"),
        (CHOSEN, Chosen("label = 4", CHOSEN.numbers), "the dataset has filter='label = 4'"),
        (
            CHOSEN,
            Chosen("label = 3", RowNumbers(range(9))),
            "chose 50 rows when .* and chooses 9 .* begin the epoch anew",
        ),
    ],
)
def test_a_state_of_another_filter_is_refused(taken, here, message):
    """A place in the order of some rows says nothing in that of others."""
    state = State.of(LAYOUT, True, START, chosen=taken)
    state.check(LAYOUT, True, chosen=taken)
    with pytest.raises(InvalidArgument, match=message):
        state.check(LAYOUT, True, chosen=here)


def test_a_place_is_one_among_the_chosen_rows():
    """Damage is found where the position is beyond them."""
    state = State.of(LAYOUT, True, START, chosen=CHOSEN).to_dict()
    with pytest.raises(InvalidArgument, match="cannot be"):
        State.from_dict({**state, "position": 51})
