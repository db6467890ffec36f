"""Views of datasets: filters, splits, chosen rows, several resources as one; alone, in DataLoaders, across versions."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from alluxio.torch import Dataset, concat, mix
from alluxio_lance.errors import Conflict, InvalidArgument, NotFound, Unavailable

pytestmark = [
    pytest.mark.torch,
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

ONE, TWO = range(9000), range(20_000, 21_000)


def rows(numbers) -> pa.Table:
    """Make rows whose every column tells their number: 12 bytes, a string, a wide vector, and a null now and then."""
    numbers = np.asarray(numbers)
    wide = np.repeat(numbers.astype(np.float32)[:, None], 4, axis=1)
    return pa.table(
        {
            "i": pa.array(numbers),
            "text": [f"s{i}" for i in numbers],
            "x": pa.FixedShapeTensorArray.from_numpy_ndarray(wide),
            "gap": pa.array([None if i % 5 == 0 else i / 2 for i in numbers]),
            "tags": pa.array([list(range(i % 3)) for i in numbers], pa.list_(pa.int32())),
        }
    )


@pytest.fixture(scope="module")
def uris(node):
    """Register two resources of the same columns."""
    return tuple(node.register(f"views/{name}", rows(numbers)).uri for name, numbers in (("one", ONE), ("two", TWO)))


@pytest.fixture
def one(node, uris):
    """Open the larger one."""
    with Dataset(uris[0], address=node.at) as dataset:
        yield dataset


@pytest.fixture
def two(node, uris):
    """Open the smaller one."""
    with Dataset(uris[1], address=node.at) as dataset:
        yield dataset


def numbers(view) -> list[int]:
    """Read the numbers of all rows, one by one."""
    return [int(view[place]["i"]) for place in range(len(view))]


def epoch(view, **options) -> list[int]:
    """Read the numbers of all rows through a plain DataLoader, and see that the other columns go with them."""
    found = []
    for batch in DataLoader(view, batch_size=64, **options):
        own = batch["i"].tolist()
        assert batch["text"] == [f"s{i}" for i in own]
        assert (batch["x"] == batch["i"][:, None]).all()
        assert torch.equal(batch["gap"].isnan(), batch["i"] % 5 == 0)
        assert [tags.tolist() for tags in batch["tags"]] == [list(range(i % 3)) for i in own]
        found += own
    return found


# -- one dataset -------------------------------------------------------------------------------------------------------


def test_a_dataset_with_a_filter(node, uris):
    """It has the rows that the filter chooses, in every way that it is read."""
    with Dataset(uris[0], ["i", "text", "gap"], address=node.at, filter="i % 1000 < 3 AND text <> 's1'") as dataset:
        want = [i for i in ONE if i % 1000 < 3 and i != 1]
        assert len(dataset) == dataset.num_rows == len(want)
        assert numbers(dataset) == dataset.numpy("i").tolist() == dataset.tensor("i").tolist() == want
        assert dataset[-1]["text"] == "s8002"
        assert dataset.batch([-1, 0])["text"] == ["s8002", "s0"]
        assert dataset.valid("gap").tolist() == [i % 5 != 0 for i in want]
        assert not dataset.numpy("i").flags.writeable
        dataset.tensor("i").zero_()
        assert dataset[1]["i"] == 2
        (batch,) = DataLoader(dataset, batch_size=100)
        assert batch["i"].tolist() == want
        for wrong in (len(want), -len(want) - 1):
            with pytest.raises(IndexError):
                dataset[wrong]
            with pytest.raises(IndexError):
                dataset.__getitems__([wrong])
        dataset.transform = lambda sample: sample["text"]
        assert dataset[1] == "s2"
        assert dataset.__getitems__([-1, 1]) == ["s8002", "s2"]


def test_filters_of_none_all_and_neighbours(node, uris):
    """No row, each row, and rows that lie together, which are not copied."""
    with Dataset(uris[0], address=node.at, filter="i < 0") as dataset:
        assert (len(dataset), list(DataLoader(dataset)), dataset.tensor("i").tolist()) == (0, [], [])
    with Dataset(uris[0], address=node.at, filter="true") as dataset:
        assert epoch(dataset) == list(ONE)
    with Dataset(uris[0], address=node.at, filter="i BETWEEN 4096 AND 5000", fill_null={"gap": -1.0}) as dataset:
        before = dataset.statistics().gathered_bytes
        assert dataset.tensor("i").tolist() == list(range(4096, 5001))
        assert dataset.statistics().gathered_bytes == before
        assert dataset.tensor("gap")[4].item() == -1


def test_a_wrong_filter_leaves_no_lease(node, uris):
    """The dataset is not made, and the version is not held."""
    from alluxio_lance.client.cache import RemoteCache

    with RemoteCache.connect(node.address) as cache:
        before = len(cache.statistics().leases)
        with pytest.raises(InvalidArgument, match="nope"):
            Dataset(uris[0], address=node.at, filter="nope = 1")
        assert len(cache.statistics().leases) == before


def test_take(one):
    """Some rows in an order and as often as asked for; the first ones, at most all."""
    assert numbers(one.take([5, -1, 5])) == [5, 8999, 5]
    assert numbers(one.take(3)) == numbers(one.take(np.int64(3))) == [0, 1, 2]
    assert len(one.take(10**9)) == 9000
    assert epoch(one.take(range(8999, -1, -1))) == list(reversed(ONE))
    assert numbers(one.take(torch.tensor([7, 3]))) == [7, 3]
    assert epoch(one.take([])) == []
    with pytest.raises(IndexError, match="9000 is out of range"):
        one.take([9000])
    with pytest.raises(InvalidArgument, match="not -1"):
        one.take(-1)
    with pytest.raises(InvalidArgument, match="flat sequence of integers"):
        one.take([0.5])


def test_filters_compose(one):
    """A filter of a view looks at its rows alone and keeps their order."""
    view = one.take(range(2000, 0, -1)).filter("i % 7 = 0").filter("text LIKE 's1%'")
    want = [i for i in range(2000, 0, -1) if i % 7 == 0 and str(i).startswith("1")]
    assert numbers(view) == epoch(view) == want
    assert view.tensor("i").tolist() == want
    assert view.valid("gap").tolist() == [i % 5 != 0 for i in want]
    assert view.batch([-1, 0])["text"] == [f"s{want[-1]}", f"s{want[0]}"]


def test_views_of_a_dataset_with_a_filter(node, uris):
    """Places count in what the filter chose; a split is that of the whole version."""
    with Dataset(uris[0], address=node.at, filter="i % 2 = 1") as odd, Dataset(uris[0], address=node.at) as whole:
        assert numbers(odd.take([0, -1])) == [1, 8999]
        assert numbers(odd.filter("i < 6")) == [1, 3, 5]
        for key in (None, "i", "text"):
            part = odd.split({"a": 0.3}, seed=2, key=key)["a"]
            assert numbers(part) == [i for i in numbers(whole.split({"a": 0.3}, seed=2, key=key)["a"]) if i % 2]


def test_a_view_reads_like_a_dataset(one):
    """Columns, schema, samples, slices of batches, a collate function of the user's own, and what may be written."""
    view = one.take([3, 1, 2])
    assert view.columns == one.columns
    assert view.schema == one.schema
    assert view.num_rows == len(view) == 3
    assert view[-1]["text"] == "s2"
    with pytest.raises(IndexError):
        view[3]
    batch = view.__getitems__([2, 0])
    assert [row["text"] for row in batch] == ["s2", "s3"]
    assert [row["text"] for row in batch[1:]] == ["s3"]
    assert default_collate(list(batch))["i"].tolist() == [2, 3]
    view.tensor("i").zero_()
    assert numbers(view) == [3, 1, 2]
    with pytest.raises(InvalidArgument, match="'text' has rows of different sizes"):
        view.tensor("text")
    with pytest.raises(NotFound, match="nope"):
        view.tensor("nope")
    assert "3 rows of alluxio://datasets/views/one" in repr(view)


def test_neighbours_are_not_copied(one):
    """A contiguous part of one dataset is a mapping, in batches too."""
    view = one.take(range(4000, 5000))
    assert view.tensor("x")[:, 0].tolist() == list(range(4000, 5000))
    assert one.statistics().gathered_bytes == 0


def test_splits_are_the_same_in_every_version(node):
    """By key, after rows were appended and changed: each row stays in its part; new ones come to any."""
    node.register("views/grows", rows(range(3000)))
    with Dataset("alluxio://datasets/views/grows", ["x"], address=node.at) as dataset:
        before = dataset.split({"train": 0.8, "val": 0.1, "test": 0.1}, seed=1, key="i")
        parts = {name: set(view.tensor("x")[:, 0].int().tolist()) for name, view in before.items()}
        assert sorted(i for part in parts.values() for i in part) == list(range(3000))
        node.update("views/grows", rows(range(5000, 7000)))
        node.update("views/grows", rows(range(0, 3000, 2)), mode="upsert", on="i")
        assert dataset.refresh()
        after = dataset.split({"train": 0.8, "val": 0.1, "test": 0.1}, seed=1, key="i")
        for name, view in after.items():
            found = view.tensor("x")[:, 0].int().tolist()
            assert {i for i in found if i < 3000} == parts[name]
            assert abs(len(found) - {"train": 4000}.get(name, 500)) < 150
        assert numbers_of(dataset.split({"a": 0.5}, seed=2, key="i")["a"]) != numbers_of(
            dataset.split({"a": 0.5}, seed=1, key="i")["a"]
        )


def numbers_of(view) -> set[int]:
    """Read the numbers of a view that has no column ``i`` open."""
    return set(view.tensor("x")[:, 0].int().tolist())


def test_rows_of_one_key_stay_together(node):
    """Such as all pictures of one patient."""
    uri = node.register("views/groups", pa.table({"who": [f"p{i % 50}" for i in range(2000)], "i": range(2000)})).uri
    with Dataset(uri, address=node.at) as dataset:
        parts = dataset.split({"train": 0.5, "val": 0.5}, key="who")
        people = [{view[place]["who"] for place in range(len(view))} for view in parts.values()]
        assert people[0] | people[1] == {f"p{i}" for i in range(50)}
        assert not people[0] & people[1]


def test_splits_that_are_none(one):
    """The key is named, and so are fractions that are too much."""
    with pytest.raises(NotFound, match="nope"):
        one.split({"a": 0.5}, key="nope")
    with pytest.raises(InvalidArgument, match=r"'x'.*no keys"):
        one.split({"a": 0.5}, key="x")
    with pytest.raises(InvalidArgument, match=r"1\.1 together"):
        one.split({"a": 0.5, "b": 0.6})


# -- several datasets --------------------------------------------------------------------------------------------------


def test_concat(one, two):
    """Rows of all, in order; batches that lie in one, lie in both, and are shuffled over both."""
    view = concat([one, two, one.take([3, 1])])
    want = [*ONE, *TWO, 3, 1]
    assert len(view) == len(want)
    assert [int(view[place]["i"]) for place in (0, 8999, 9000, -3, -1)] == [0, 8999, 20_000, 20_999, 1]
    assert epoch(view) == want
    shuffled = epoch(view, shuffle=True)
    assert shuffled != want
    assert sorted(shuffled) == sorted(want)
    assert view.tensor("i").tolist() == want
    assert view.valid("gap").tolist() == [i % 5 != 0 for i in want]
    assert concat([one]).tensor("i").tolist() == list(ONE)
    both = [20_005, 7, 20_001]
    rows_of = view.__getitems__([9005, 7, 9001])
    assert [int(row["i"]) for row in rows_of] == both
    assert default_collate(list(rows_of))["text"] == [f"s{i}" for i in both]


def test_wide_rows_of_several_datasets(node):
    """Rows of many bytes go to their places one by one, the null among them too."""
    data = [np.arange(start, start + 20, dtype=np.float32)[:, None].repeat(20_000, axis=1) for start in (0, 100)]
    with (
        Dataset(node.register("views/wide/a", wide(data[0])).uri, address=node.at) as first,
        Dataset(node.register("views/wide/b", wide(data[1])).uri, address=node.at, fill_null={"x": 7.0}) as second,
    ):
        batch = concat([first, second]).batch([25, 3, 21, 0, 39])["x"]
        assert batch[:, 0].tolist()[0::2] == [105, 101, 119]
        assert batch[1].tolist() == data[0][3].tolist()
        assert batch[3].isnan().all()
        assert concat([second, first]).batch([25, 0, 3])["x"][:, 5].tolist() == [5, 7, 103]


def wide(values) -> pa.Table:
    """Make a column of 80,000 bytes a row; the first row is null."""
    flat = pa.array(values.reshape(-1))
    mask = pa.array([True] + [False] * (len(values) - 1))
    return pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)})


FULL: list[Any] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
GAPS: list[Any] = [[1.0, None, 3.0], [10.0, 11.0, 12.0], None]


@pytest.fixture(scope="module")
def uris_of_lists(node):
    """Register lists of one length: without null items, where they make a tensor, and with one, where they make none."""
    tables = [pa.table({"x": pa.array(lists, pa.list_(pa.float32(), 3))}) for lists in (FULL, GAPS)]
    return [node.register(f"views/{name}", table).uri for name, table in zip(("full", "gaps"), tables, strict=True)]


@pytest.fixture
def full_and_gaps(node, uris_of_lists):
    """Open both."""
    with Dataset(uris_of_lists[0], address=node.at) as full, Dataset(uris_of_lists[1], address=node.at) as gaps:
        yield full, gaps


def plain(lists) -> list[Any]:
    """Make Python's lists of rows that may be tensors."""
    return [row.tolist() if isinstance(row, torch.Tensor) else row for row in lists]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("turned", [False, True])
def test_lists_with_null_items_in_one_of_two_datasets(full_and_gaps, turned, workers):
    """A batch of both has lists, whichever comes first, and one of the other alone is a tensor as ever."""
    view = concat(reversed(full_and_gaps) if turned else full_and_gaps)
    want = [*GAPS, *FULL] if turned else [*FULL, *GAPS]
    for places in ([0, 3], [5, 1, 4, 0, 1]):
        assert plain(view.batch(places)["x"]) == [want[place] for place in places]
    start = want.index(FULL[0])
    assert view.batch(range(start, start + 3))["x"].tolist() == FULL
    for size in (3, 4, 6):
        batches = DataLoader(view, batch_size=size, num_workers=workers)
        assert [row for batch in batches for row in plain(batch["x"])] == want


def test_workers_have_room_for_a_tensor_that_the_first_dataset_does_not_make(node):
    """A batch of the second one alone has more in its slot than one of the first."""
    gaps, full = np.full((4, 20_000), None), np.arange(80_000.0).reshape(4, 20_000)
    uris = []
    for name, lists in (("gaps", gaps), ("full", full)):
        x = pa.FixedSizeListArray.from_arrays(pa.array(lists.reshape(-1), pa.float32()), 20_000)
        uris.append(node.register(f"views/wide/{name}", pa.table({"i": range(4), "x": x})).uri)
    with Dataset(uris[0], address=node.at) as first, Dataset(uris[1], address=node.at) as second:
        _, batch = DataLoader(concat([first, second]), batch_size=4, num_workers=1)
        assert (batch["x"].numpy() == full).all()


def test_a_mix_of_lists_with_and_without_null_items(full_and_gaps):
    """Its batches are its rows."""
    view = mix(full_and_gaps, [1, 1], seed=2)
    batch = plain(view.batch(range(len(view)))["x"])
    assert batch == plain(row["x"] for row in view)
    assert len(batch) >= 4
    assert all(row in [*FULL, *GAPS] for row in batch)


def test_a_column_that_is_a_tensor_in_one_of_two_datasets(full_and_gaps):
    """The dataset in which it is none is named; rows of the other alone are one."""
    view = concat(full_and_gaps)
    with pytest.raises(InvalidArgument, match="'x' of alluxio://datasets/views/gaps@v1 has lists with null items"):
        view.tensor("x")
    assert view.take(3).tensor("x").tolist() == FULL
    assert view.valid("x").tolist() == [True] * 5 + [False]
    with pytest.raises(InvalidArgument, match="column 'x'"):
        concat(reversed(full_and_gaps)).tensor("x")


def test_concat_composes(one, two):
    """A filter asks each, a split hashes each, and what is taken keeps its order."""
    view = concat([two, one.take(range(100, 0, -1))])
    assert numbers(view.filter("i % 50 = 0").take(range(3, -4, -1)[:0])) == []
    assert numbers(view.filter("i % 50 = 0"))[-2:] == [100, 50]
    assert len(view.filter("i % 50 = 0")) == 22
    parts = view.split({"a": 0.5, "b": 0.5}, key="i")
    assert sorted(numbers(parts["a"]) + numbers(parts["b"])) == sorted([*TWO, *range(1, 101)])
    assert set(numbers(parts["a"])) >= set(numbers(one.split({"a": 0.5}, key="i")["a"])) & set(range(1, 101))
    assert epoch(mix([view, one], [1, 1]).take(10)) == numbers(mix([view, one], [1, 1]))[:10]


def test_columns_have_to_agree(node, one):
    """The first column that differs is named, and the order of columns does not matter."""
    other = node.register("views/other", rows(range(3)).drop_columns("x").append_column("y", [[1, 2, 3]])).uri
    with Dataset(other, address=node.at) as odd, pytest.raises(InvalidArgument, match="'x': absent instead of"):
        concat([one, odd])
    typed = node.register("views/typed", pa.table({"i": pa.array([1], pa.int32())})).uri
    with (
        Dataset(typed, address=node.at) as odd,
        Dataset(one.uri, ["i"], address=node.at) as narrow,
        pytest.raises(InvalidArgument, match="'i': int32 instead of int64"),
    ):
        concat([narrow, odd])
    names = list(reversed(one.columns))
    with Dataset(one.uri, names, address=node.at) as turned:
        view = concat([turned, one])
        assert list(view[9000]) == list(view.batch([9001])) == list(view.batch([0, 9001])) == names
        assert epoch(view.take([9000, 5])) == [0, 5]
    for put in (concat, lambda none: mix(none, [])):
        with pytest.raises(InvalidArgument, match="at least one"):
            put([])
        with pytest.raises(InvalidArgument, match="come in a list"):
            put(one)
        with pytest.raises(InvalidArgument, match="a int cannot be put together"):
            put([one, 3])


def test_mix(one, two):
    """Any stretch has both by their weights; the same seed gives the same order, another seed another one."""
    view = mix([one, two], weights=[3, 1], seed=5)
    found = epoch(view)
    assert len(found) == len(set(found))
    assert sum(i in TWO for i in found) == 1000
    assert all(abs(sum(i in TWO for i in found[start : start + 400]) - 100) <= 2 for start in range(0, 3600, 400))
    assert found == numbers(mix([one, two], weights=[0.75, 0.25], seed=5))
    assert found != numbers(mix([one, two], weights=[3, 1], seed=6))
    every = epoch(mix([one, two], weights=[1, 1], stopping="all_exhausted"))
    assert set(every) == {*ONE, *TWO}
    assert len(every) == pytest.approx(18_000, abs=2)
    with pytest.raises(InvalidArgument, match="2 datasets are mixed by as many weights, not by 1"):
        mix([one, two], [1])


# -- transforms --------------------------------------------------------------------------------------------------------


def test_transforms_of_views(one, two):
    """A view takes over what its dataset has; the parts of a split may have their own."""
    one.transform = lambda sample: int(sample["i"])
    parts = one.split({"train": 0.5, "val": 0.5})
    parts["train"].transform = lambda sample: -int(sample["i"])
    assert parts["val"][0] >= 0
    assert all(value <= 0 for value in parts["train"].__getitems__(range(5)))
    both = concat([one.take([3]), two.take([1])])
    assert both[0] == 3
    assert both[1]["text"] == "s20001"
    assert both.__getitems__([0]) == [3]
    with pytest.raises(InvalidArgument, match="different transforms"):
        _ = both.transform
    both.transform = None
    assert both.transform is None
    assert both[0]["i"] == 3
    assert one[3] == 3


def test_batch_transforms_of_views(one, two):
    """One for all batches; two different ones cannot be put together, and not one beside a transform."""
    one.batch_transform = lambda batch: batch["i"]
    view = one.take([5, 7])
    assert [batch.tolist() for batch in DataLoader(view, batch_size=2)] == [[5, 7]]
    with pytest.raises(InvalidArgument, match="one batch_transform"):
        concat([one, two])
    view.transform = lambda sample: sample
    with pytest.raises(InvalidArgument, match="give one"):
        view.__getitems__([0])


# -- versions and lifetimes --------------------------------------------------------------------------------------------


def test_a_view_never_shows_rows_of_another_version(node):
    """After a refresh to another version it raises what to do; after one that changed nothing it reads on."""
    node.register("views/moves", rows(range(100)))
    with Dataset("alluxio://datasets/views/moves", address=node.at) as dataset:
        view = dataset.filter("i >= 98")
        assert not dataset.refresh()
        assert numbers(view) == [98, 99]
        node.update("views/moves", rows(range(50, 90)), mode="overwrite")
        assert numbers(view) == [98, 99]
        assert dataset.refresh()
        for read in (
            lambda: view[0],
            lambda: view.__getitems__([0]),
            lambda: view.batch([0]),
            lambda: view.tensor("i"),
            lambda: view.valid("i"),
            lambda: view.filter("true"),
            lambda: view.split({"a": 1.0}),
            lambda: concat([view, dataset])[0],
        ):
            with pytest.raises(Conflict, match="make the view anew") as caught:
                read()
            assert "at 1.0.0" in str(caught.value)
        assert numbers(dataset.filter("i >= 88")) == [88, 89]
        node.call(lambda manager: manager.rollback_resource("datasets", "views/moves"))
        assert dataset.refresh()
        assert numbers(view) == [98, 99]


def test_refresh_evaluates_the_filter_anew(node):
    """The rows are those of the new version."""
    node.register("views/anew", rows(range(10)))
    with Dataset("alluxio://datasets/views/anew", address=node.at, filter="i >= 8") as dataset:
        node.update("views/anew", rows(range(10, 12)))
        assert numbers(dataset) == [8, 9]
        assert dataset.refresh()
        assert numbers(dataset) == epoch(dataset) == [8, 9, 10, 11]


def test_persistent_workers_do_not_show_the_old_version_unseen(node):
    """Workers that have the view of before raise what the dataset's own workers do."""
    node.register("views/persistent", rows(range(40)))
    with Dataset("alluxio://datasets/views/persistent", address=node.at) as dataset:
        view = dataset.take(range(30))
        loader = DataLoader(view, batch_size=10, num_workers=1, persistent_workers=True, multiprocessing_context="fork")
        assert [i for batch in loader for i in batch["i"].tolist()] == list(range(30))
        node.update("views/persistent", rows(range(50)), mode="overwrite")
        assert dataset.refresh()
        with pytest.raises(Conflict, match="make a new DataLoader"):
            list(loader)


def test_a_view_keeps_its_dataset_and_ends_with_it(node, uris):
    """The dataset lives as long as a view of it; when it is closed the view says so."""
    view = Dataset(uris[0], address=node.at).take([1, 2])
    assert numbers(view) == [1, 2]
    view._sources[0].dataset.close()
    with pytest.raises(Unavailable, match="was closed"):
        view[0]
    with pytest.raises(Unavailable, match="was closed"):
        pickle.dumps(view)


def test_copies_of_views(one, two):
    """Pickled and copied ones show the same rows, with the datasets of their own."""
    view = concat([one, two]).filter("i % 100 = 0")
    want = numbers(view)
    for copied in (pickle.loads(pickle.dumps(view)), copy.deepcopy(view)):
        assert numbers(copied) == want
        for source in copied._sources:
            source.dataset.close()
    assert numbers(view) == want


def test_after_a_restart_of_the_sidecar(own_node):
    """Views read on; a new filter needs a new lease, and the message leads there."""
    uri = own_node.register("x", rows(range(100))).uri
    with Dataset(uri, address=own_node.at) as dataset:
        view = dataset.filter("i > 97")
        own_node.kill()
        assert numbers(view) == [98, 99]
        own_node.start()
        with pytest.raises(NotFound, match="open the version again"):
            dataset.filter("i > 97")
        assert not dataset.refresh()
        assert numbers(dataset.filter("i > 97")) == numbers(view) == [98, 99]
