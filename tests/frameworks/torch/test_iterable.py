"""The iterable dataset in one process: batches, epochs, ranks, states, and versions that change meanwhile."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from alluxio.torch import Dataset, IterableDataset
from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.epochs.share import Share
from alluxio_lance.client.epochs.state import Start
from alluxio_lance.errors import Conflict, InvalidArgument, NotFound, Unavailable
from alluxio_lance.frameworks.torch import iterable_turns
from alluxio_lance.frameworks.torch.iterable import _patience
from alluxio_lance.frameworks.torch.iterable_turns import Turns

pytestmark = pytest.mark.torch

ROWS = 9000


def numbers(batches: Any) -> list[int]:
    """Put the rows' numbers of all batches together."""
    return [int(number) for batch in batches for number in batch["f64"]]


def planned(dataset: IterableDataset, epoch: int, seed: int = 0, **units: int) -> list[int]:
    """Compute an epoch's order from the plan alone."""
    plan = EpochPlan(
        dataset.content_hash,
        dataset.num_rows,
        units.get("unit_rows", dataset.num_rows),
        units.get("window_units", 1),
        shuffle=True,
        seed=seed,
        epoch=epoch,
    )
    return [int(row) for window in plan.windows for row in plan.row_numbers(window, plan.order(window))]


@pytest.fixture
def open_kinds(kinds, node):
    """Open the iterable dataset with the number of each row, and more columns if asked."""
    opened: list[IterableDataset] = []

    def open_(**options: Any) -> IterableDataset:
        dataset = IterableDataset(kinds, **{"columns": ["f64"], "address": node.at, **options})
        opened.append(dataset)
        return dataset

    yield open_
    for dataset in opened:
        dataset.close()


def test_an_epoch_is_the_plan(open_kinds):
    """Batches come in the order that the documented plan has, and the next iteration is the next epoch."""
    dataset = open_kinds(batch_size=256, seed=5)
    for epoch in range(3):
        assert dataset.epoch == epoch
        batches = list(dataset)
        assert [len(batch["f64"]) for batch in batches] == [256] * 35 + [40]
        assert len(batches) == len(dataset)
        assert numbers(batches) == planned(dataset, epoch, 5)
    assert not dataset.streamed
    assert dataset.window_rows == ROWS


def test_batches_have_every_kind_of_column(open_kinds, kinds, node):
    """A batch is what the map-style dataset gives for the same rows, shuffled or not."""
    with Dataset(kinds, address=node.at) as other:
        for shuffle in (True, False):
            dataset = open_kinds(columns=None, batch_size=700, shuffle=shuffle)
            assert dataset.columns == other.columns
            assert dataset.schema == other.schema
            for batch in dataset:
                wanted = other.batch([int(number) for number in batch["f64"]])
                for name, values in wanted.items():
                    same = torch.equal if isinstance(values, torch.Tensor) else equal_lists
                    assert same(batch[name], values), name


def equal_lists(one: list[Any], two: list[Any]) -> bool:
    """Compare lists of strings, or of tensors."""
    pairs = zip(one, two, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_in_order(open_kinds):
    """Without shuffle the rows come as they lie, in every epoch, and batches are views that move no byte."""
    dataset = open_kinds(shuffle=False, batch_size=1000)
    for _ in range(2):
        assert numbers(dataset) == list(range(ROWS))
    assert dataset.statistics().gathers == 0
    assert dataset.statistics().views == 18


def test_samples(open_kinds):
    """Without a batch size samples come one by one; a transform sees each."""
    dataset = open_kinds(batch_size=None, transform=lambda sample: sample["f64"].item())
    assert len(dataset) == ROWS
    assert list(dataset) == planned(dataset, 0)
    dataset.transform = None
    assert next(iter(dataset))["f64"].item() == planned(dataset, 1)[0]


def test_transforms(open_kinds):
    """A transform of samples is collated into batches; one of batches gets the whole dict."""
    dataset = open_kinds(columns=["f64", "text"], batch_size=100, transform=lambda s: (s["f64"] + 1, s["text"]))
    values, texts = next(iter(dataset))
    order = planned(dataset, 0)[:100]
    assert values.tolist() == [row + 1 for row in order]
    assert list(texts) == [f"ä{row}" for row in order]
    dataset.transform, dataset.batch_transform = None, lambda batch: batch["f64"].sum().item()
    assert sum(dataset) == sum(range(ROWS))


def test_samples_are_not_numbered_in_advance(open_kinds, monkeypatch):
    """However many there are, reading begins at once and takes no memory for the numbers of those to come."""
    dataset = open_kinds(batch_size=None)
    monkeypatch.setattr(Share, "batches", property(lambda _: 1 << 62))
    assert [int(sample["f64"]) for sample in islice(dataset, 3)] == planned(dataset, 0)[:3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "makes no batches"),
        ({"batch_size": ["f64"]}, "columns by their name"),
        ({"batch_size": True}, "no number of rows"),
        ({"seed": -1}, "out of range"),
        ({"seed": 1 << 63}, "out of range"),
        ({"seed": None}, "seed=None is no whole number"),
        ({"seed": 1.5}, "seed=1.5 is no whole number"),
        ({"window_units": 0}, "window_units=0 is out of range - give a number from 1"),
        ({"rank": 0.5, "world_size": 1}, "rank=0.5 is no whole number"),
        ({"columns": "f64"}, r"is one name - give a list of names: columns=\['f64'\]"),
        ({"columns": []}, "are no names"),
        ({"columns": 3}, "are no names"),
        ({"columns": [3]}, "are no names"),
        ({"window_units": 2, "stream": False}, "give only one"),
        ({"rank": 1}, "give both, or none"),
        ({"rank": 2, "world_size": 2}, "ranks count from 0"),
        ({"batch_transform": dict, "transform": dict}, "give no transform beside it"),
        ({"batch_transform": dict, "batch_size": None}, "and a batch_size"),
        ({"fill_null": {"f64": "x"}}, "does not fit"),
        ({"fill_null": {"f64": "x"}, "stream": True}, "does not fit"),
        ({"decode": {"f64": "image"}}, "no binary column to decode"),
        ({"decode": {"f64": "image"}, "stream": True}, "no binary column to decode"),
    ],
)
def test_arguments_that_do_not_fit(open_kinds, arguments, message):
    """Each is refused with a sentence, when the dataset is opened."""
    with pytest.raises(InvalidArgument, match=message):
        open_kinds(**arguments)


def test_numbers_of_numpy(open_kinds):
    """They are as good as plain ones, and what is saved is plain: JSON and torch's careful loader take it."""
    dataset = open_kinds(
        batch_size=np.int64(8), seed=np.int32(5), rank=np.int64(1), world_size=np.int16(2), window_units=np.uint8(1)
    )
    dataset.set_epoch(np.int64(3))
    batches = iter(dataset)
    next(batches)
    state = dataset.state_dict()
    saved = io.BytesIO()
    torch.save(state, saved)
    saved.seek(0)
    assert json.loads(json.dumps(state)) == torch.load(saved) == state
    assert (state["epoch"], state["position"], state["seed"]) == (3, 16, 5)


def test_what_does_not_exist(node):
    """The sidecar's refusals come through."""
    with pytest.raises(NotFound):
        IterableDataset("alluxio://datasets/nowhere", address=node.at)


def test_nulls(nulls, node):
    """Nulls are filled as the map-style dataset fills them."""
    fill = {"i": -1, "t": False}
    with IterableDataset(nulls, shuffle=False, address=node.at, fill_null=fill) as dataset:
        (batch,) = dataset
        assert batch["i"].tolist() == [1, -1, 3]
        assert batch["text"] == ["a", None, "c"]
    with IterableDataset(nulls, address=node.at) as dataset, pytest.raises(InvalidArgument, match="fill_null"):
        next(iter(dataset))


def test_no_rows(node):
    """A version without rows has epochs without batches."""
    uri = node.register("iterable-none", pa.table({"f64": pa.array([], pa.float64())})).uri
    with IterableDataset(uri, address=node.at) as dataset:
        assert len(dataset) == 0
        assert [list(dataset), list(dataset)] == [[], []]
        assert dataset.epoch == 2
        assert dataset.state_dict()["position"] == 0


# -- ranks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks(open_kinds, world_size, drop_last):
    """Ranks have equally many batches, whose rows in turn are the one global order."""
    shares = [
        open_kinds(rank=rank, world_size=world_size, batch_size=128, drop_last=drop_last) for rank in range(world_size)
    ]
    steps = [numbers(step) for step in zip(*shares, strict=True)]
    order = planned(shares[0], 0)
    flat = [number for step in steps for number in step]
    if drop_last:
        assert flat == order[: ROWS - ROWS % (128 * world_size)]
    else:
        assert flat[:ROWS] == order
        assert len(flat) - ROWS < world_size
        assert set(flat[ROWS:]) <= set(order[-world_size:])


def test_ranks_of_the_environment(open_kinds, monkeypatch):
    """What torchrun sets is taken, unless ranks are given."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert numbers(open_kinds(batch_size=100))[:100] == planned(open_kinds(), 0)[100:200]
    assert len(open_kinds(rank=0, world_size=1, batch_size=100)) == 90
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(InvalidArgument, match="no number"):
        open_kinds()


# -- epochs and states ---------------------------------------------------------------------------------------------


def test_set_epoch(open_kinds):
    """It names the epoch that the next iteration reads; those after it follow."""
    dataset = open_kinds()
    dataset.set_epoch(4)
    assert [numbers(dataset), numbers(dataset)] == [planned(dataset, 4), planned(dataset, 5)]
    dataset.set_epoch(0)
    assert numbers(dataset) == planned(dataset, 0)
    for epoch, message in ((-1, "out of range"), (1 << 63, "out of range"), (2.0, "epoch=2.0 is no whole number")):
        with pytest.raises(InvalidArgument, match=message):
            dataset.set_epoch(epoch)
    assert dataset.epoch == 1


def test_a_broken_epoch_is_over(open_kinds):
    """Broken off, an epoch is not taken up again by itself: the next iteration is the next epoch."""
    dataset = open_kinds()
    next(iter(dataset))
    assert numbers(dataset) == planned(dataset, 1)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.integers(0, 12),
    before=st.sampled_from([1, 2, 3, 8]),
    after=st.sampled_from([1, 2, 3, 8]),
    sizes=st.tuples(st.integers(50, 200), st.integers(50, 200)),
    units=st.sampled_from([None, (1000, 2), (4096, 1), (64, 40)]),
    seed=st.integers(0, 99),
)
def test_other_ranks_resume(open_kinds, steps, before, after, sizes, units, seed):
    """After some steps of some ranks, others read exactly the rest of the epoch, whatever the windows of the plan."""
    with ExitStack() as keep:
        # Each example closes what it opened: hundreds of datasets at once are more descriptors than some machines allow.
        resumed(
            lambda **options: keep.enter_context(open_kinds(**options)),
            steps,
            before,
            after,
            sizes,
            units=units,
            seed=seed,
        )


def resumed(
    open_: Callable[..., IterableDataset],
    steps: int,
    before: int,
    after: int,
    sizes: tuple[int, int],
    *,
    units: tuple[int, int] | None,
    seed: int,
) -> None:
    """Read some steps as some ranks, and the rest of the epoch as others."""
    first = [open_(rank=rank, world_size=before, batch_size=sizes[0], seed=seed) for rank in range(before)]
    wanted = {}
    if units is not None:
        wanted = {"unit_rows": units[0], "window_units": units[1]}
        for dataset in first:
            dataset.load_state_dict({**dataset.state_dict(), **wanted})
    order = planned(first[0], 0, seed, **wanted)
    taken: list[int] = []
    iterations = [iter(dataset) for dataset in first]
    for _ in range(steps):
        for iteration in iterations:
            taken += numbers(islice(iteration, 1))
    states = [dataset.state_dict() for dataset in first]
    assert all(state == states[0] for state in states)
    assert states[0]["position"] == min(steps * before * sizes[0], ROWS)
    rest = []
    for rank in range(after):
        dataset = open_(rank=rank, world_size=after, batch_size=sizes[1])
        dataset.load_state_dict(json.loads(json.dumps(states[0])))
        assert dataset.state_dict() == states[0]
        rest.append(list(dataset))
        assert dataset.epoch == 1
    flat = [number for step in zip(*rest, strict=True) for number in numbers(step)]
    assert (taken + flat)[:ROWS] == order
    assert len(taken) + len(flat) - ROWS < max(before, after)


def test_resuming_is_skipping(open_kinds):
    """What comes after a resume is what would have come without the break, in this epoch and those after it."""
    one, two = open_kinds(seed=3, batch_size=100), open_kinds(batch_size=100)
    one.set_epoch(2)
    iteration = iter(one)
    for _ in range(7):
        next(iteration)
    two.load_state_dict(one.state_dict())
    for _ in range(3):
        assert numbers(two) == numbers(iteration)
        assert one.state_dict() == two.state_dict()
        iteration = iter(one)


def test_set_epoch_after_loading(open_kinds):
    """The usual loop, which sets each epoch, goes on in the middle of the one that was loaded."""
    one, two = open_kinds(batch_size=1000), open_kinds(batch_size=1000)
    one.set_epoch(3)
    iteration = iter(one)
    next(iteration)
    two.load_state_dict(one.state_dict())
    seen = []
    for epoch in range(two.epoch, 5):
        two.set_epoch(epoch)
        seen.append(numbers(two))
    assert seen == [planned(two, 3)[1000:], planned(two, 4)]
    two.load_state_dict(one.state_dict())
    two.set_epoch(7)
    assert numbers(two) == planned(two, 7)


def test_the_state_before_and_after(open_kinds):
    """Before an iteration a state names its beginning; after it, its end, behind which the next epoch comes."""
    dataset, other = open_kinds(batch_size=1000), open_kinds(batch_size=1000)
    assert (dataset.state_dict()["epoch"], dataset.state_dict()["position"]) == (0, 0)
    list(dataset)
    state = dataset.state_dict()
    assert (state["epoch"], state["position"]) == (0, ROWS)
    other.load_state_dict(state)
    assert list(other) == []
    assert numbers(other) == planned(other, 1)


def test_the_state_before_the_first_batch(open_kinds):
    """None taken after it was said where the next iteration starts: there, and not where the last one started."""
    dataset, other = open_kinds(batch_size=1000), open_kinds(batch_size=1000)
    list(dataset)
    assert [dataset.state_dict(batches=0)[name] for name in ("epoch", "position")] == [0, 0]
    dataset.set_epoch(1)
    assert [dataset.state_dict(batches=0)[name] for name in ("epoch", "position")] == [1, 0]
    next(iter(dataset))
    state = dataset.state_dict(batches=1)
    list(other)
    other.load_state_dict(state)
    assert other.state_dict(batches=0) == state
    assert numbers(other) == planned(other, 1)[1000:]


@pytest.mark.parametrize(
    ("step", "alone", "patience"), [(100, True, None), (100, False, 30), (1000, False, 1), (4000, False, 0)]
)
def test_nobody_else_waits_for_a_window_for_ever(step, alone, patience):
    """A process that reads by itself is told apart, and is patient for long, whatever its windows."""
    a_plan = EpochPlan("ab" * 32, 100_000, 1000, 10, shuffle=True, seed=0, epoch=0)
    assert _patience(a_plan, step, alone=alone) == patience


def test_torch_may_give_the_same_seed_again(monkeypatch):
    """Then only the number of workers may tell one iteration from the one before; all of one read the same epoch."""
    turns = Turns(Start(0, 0, 0, 1, 1))

    def epochs(workers: int) -> list[int]:
        found = []
        for number in range(workers):
            told = SimpleNamespace(seed=5 + number, id=number, num_workers=workers)
            monkeypatch.setattr(iterable_turns, "get_worker_info", lambda told=told: told)
            # Each worker has an object of its own over the same memory.
            turns._started = 0
            found.append(turns.begin().epoch)
        monkeypatch.setattr(iterable_turns, "get_worker_info", lambda: None)
        return found

    assert epochs(1) == [0]
    turns.upcoming = replace(turns.upcoming, epoch=7)
    assert [epochs(workers) for workers in (2, 2, 4, 3)] == [[7] * 2, [8] * 2, [9] * 4, [10] * 3]


def test_a_closed_counter_does_not_disturb_a_fork(monkeypatch):
    """A child that was forked with a closed dataset, and forks itself, gives the open ones counters of their own."""
    turns = Turns(Start(0, 0, 0, 1, 1))
    turns.close()
    monkeypatch.setattr(turns, "_owner", 0)
    turns.own()


def test_states_that_do_not_belong(open_kinds, node, every_kind):
    """Another order, another version, another thing: each is refused with a sentence."""
    state = open_kinds().state_dict()
    with pytest.raises(InvalidArgument, match="shuffle=True"):
        open_kinds(shuffle=False).load_state_dict(state)
    with pytest.raises(InvalidArgument, match="format"):
        open_kinds().load_state_dict({})
    with pytest.raises(InvalidArgument, match="StatefulDataLoader"):
        open_kinds().load_state_dict(
            {**state, "worker": {"id": 0, "workers": 2, "rank": 0, "world_size": 1, "batch_size": 256, "batches": 1}}
        )
    with pytest.raises(InvalidArgument, match="4 batches were taken of 3"):
        open_kinds(batch_size=3000).state_dict(batches=4)
    uri = node.register("iterable-other", every_kind.select(["f64"]).slice(0, 100)).uri
    with (
        IterableDataset(uri, address=node.at) as other,
        pytest.raises(Conflict, match=r"open alluxio://datasets/kinds@"),
    ):
        other.load_state_dict(state)


def test_in_order_windows_do_not_matter(open_kinds):
    """A state of an unshuffled dataset goes on with whatever windows there are now."""
    dataset, other = open_kinds(shuffle=False, batch_size=1000), open_kinds(shuffle=False, batch_size=1000)
    next(iter(dataset))
    other.load_state_dict({**dataset.state_dict(), "unit_rows": 17, "window_units": 3})
    assert numbers(other) == list(range(1000, ROWS))


# -- versions ------------------------------------------------------------------------------------------------------


def version_of(number: int) -> pa.Table:
    """Make a version whose rows all say which one it is."""
    return pa.table({"f64": np.full(1000 + number, float(number))})


def test_versions_do_not_mix(node):
    """A version activated or rolled back in the middle of an epoch changes nothing, until refresh."""
    first = node.register("iterable-versions", version_of(0), version="1.0.0")
    with IterableDataset(first.uri.rpartition("@")[0] or first.uri, batch_size=100, address=node.at) as dataset:
        iteration = iter(dataset)
        seen = numbers([next(iteration)])
        node.update("iterable-versions", version_of(1), mode="overwrite")
        seen += numbers(iteration)
        assert seen == [0.0] * 1000
        assert set(numbers(dataset)) == {0}
        iteration = iter(dataset)
        next(iteration)
        before = dataset.state_dict()
        assert dataset.refresh()
        with pytest.raises(Conflict, match="refresh"):
            next(iteration)
        assert dataset.epoch == 3
        assert numbers(dataset) == [1.0] * 1001
        with pytest.raises(Conflict, match=r"@1\.0\.0 to go on"):
            dataset.load_state_dict(before)
        assert not dataset.refresh()
        assert dataset.epoch == 4
        node.call(lambda manager: manager.rollback_resource("datasets", "iterable-versions", "1.0.0"))
        assert set(numbers(dataset)) == {1}
        assert dataset.refresh()
        assert dataset.semver == "1.0.0"
        dataset.load_state_dict(before)
        assert numbers(dataset) == [0.0] * 900


def test_batches_of_the_version_before(node):
    """After refresh the batches that were taken before it say nothing about the place in the new version."""
    uri = node.register("iterable-before", version_of(0), version="1.0.0").uri.rpartition("@")[0]
    with IterableDataset(uri, batch_size=100, address=node.at) as dataset:
        next(iter(dataset))
        node.update("iterable-before", version_of(1), mode="overwrite", version="2.0.0")
        assert dataset.refresh()
        with pytest.raises(InvalidArgument, match=r"no iteration of 2\.0\.0 has begun since refresh"):
            dataset.state_dict(batches=1)
        for state in (dataset.state_dict(), dataset.state_dict(batches=0)):
            assert (state["semver"], state["epoch"], state["position"]) == ("2.0.0", 1, 0)
        next(iter(dataset))
        assert dataset.state_dict(batches=1)["position"] == 100


def test_refresh_without_a_change_keeps_the_place(open_kinds):
    """A refresh that finds the same version leaves a place that was loaded as it is."""
    dataset = open_kinds(batch_size=1000)
    next(iter(dataset))
    state = dataset.state_dict()
    dataset.load_state_dict(state)
    assert not dataset.refresh()
    assert numbers(dataset) == planned(dataset, 0)[1000:]


# -- the end -------------------------------------------------------------------------------------------------------


def test_closed(open_kinds):
    """Closed, it says so; what was handed out stays."""
    dataset = open_kinds()
    iteration = iter(dataset)
    batch = next(iteration)
    state = dataset.state_dict()
    dataset.close()
    dataset.close()
    uses = (
        lambda: next(iteration),
        lambda: iter(dataset),
        lambda: pickle.dumps(dataset),
        lambda: dataset.set_epoch(3),
        lambda: dataset.load_state_dict(state),
        dataset.refresh,
    )
    for use in uses:
        with pytest.raises(Unavailable, match="open it again"):
            use()
    assert numbers([batch]) == planned(dataset, 0)[:256]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))])
def test_copies(open_kinds, copied):
    """A copy in the same process goes its own way, from where the original was."""
    dataset = open_kinds()
    list(dataset)
    other = copied(dataset)
    try:
        assert numbers(other) == numbers(dataset) == planned(dataset, 1)
        assert numbers(dataset) == planned(dataset, 2)
        assert other.epoch == 2
    finally:
        other.close()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))])
def test_copies_know_what_was_said(open_kinds, copied):
    """A copy that counts its iterations anew does not take them for those before which its place was set."""
    dataset = open_kinds(batch_size=1000)
    list(dataset)
    dataset.set_epoch(5)
    with copied(dataset) as other:
        assert other.state_dict(batches=0)["epoch"] == 5
        list(other)
        assert [other.state_dict(batches=0)[name] for name in ("epoch", "position")] == [5, 0]


def test_the_plain_loader_without_workers(open_kinds):
    """A DataLoader in one process gives the same batches; the dataset knows where it is."""
    dataset = open_kinds(batch_size=1000)
    loader = DataLoader(dataset, batch_size=None)
    assert len(loader) == 9
    for place, batch in enumerate(loader, 1):
        assert len(batch["f64"]) == 1000
        assert dataset.state_dict()["position"] == place * 1000
        assert dataset.state_dict(batches=1)["position"] == 1000
    assert repr(dataset).startswith("<AlluxioIterableDataset alluxio://datasets/kinds")
