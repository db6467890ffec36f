"""The map-style dataset in one process: samples, batches, tensors, nulls, and what they cost."""

from __future__ import annotations

import copy
import pickle
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset

import alluxio.torch
from alluxio.torch import Dataset
from alluxio_lance.errors import InvalidArgument, NotFound, Unavailable

pytestmark = pytest.mark.torch

ROWS = 9000
DTYPES = {
    "image": torch.float32,
    **{f"i{bits}": getattr(torch, f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": getattr(torch, f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"f{bits}": getattr(torch, f"float{bits}") for bits in (16, 32, 64)},
    "bf16": torch.bfloat16,
    "flag": torch.bool,
    "when": torch.int64,
    "opaque": torch.uint8,
}


@pytest.fixture
def ds(kinds, node):
    """A dataset with a column of every kind."""
    with Dataset(kinds, address=node.at) as dataset:
        yield dataset


def wanted(row: int) -> dict:
    """Compute a row of the table."""
    number = torch.tensor(row)
    return {
        "image": (row + torch.arange(12).reshape(3, 4)).to(torch.float32),
        **{name: (number % 100).to(DTYPES[name]) for name in DTYPES if name[0] in "iu" and name != "image"},
        **{name: number.to(DTYPES[name]) for name in ("f16", "f32", "f64")},
        "bf16": torch.tensor((np.array(row, np.float32).view(np.uint32) >> 16).astype(np.uint16)).view(torch.bfloat16),
        "flag": torch.tensor(row % 2 == 0),
        "when": number,
        "opaque": torch.tensor(list(b"%04d" % row), dtype=torch.uint8),
        "text": f"ä{row}",
        "blob": b"%d" % row,
        "list": torch.arange(row % 4, dtype=torch.int32),
    }


def same(one: object, two: object) -> bool:
    """Compare values of any kind."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    return type(one) is type(two) and one == two


def assert_rows(batch: dict, rows: list[int]) -> None:
    """Check a collated batch against the computed rows."""
    for name, values in batch.items():
        if name in DTYPES:
            assert values.dtype == DTYPES[name]
        assert len(values) == len(rows)
        for value, row in zip(values, rows, strict=True):
            assert same(value, wanted(row)[name]), (name, row)


@pytest.mark.parametrize("index", [0, 5, 4096, ROWS - 1, -1, -ROWS, np.int64(7), torch.tensor(8)])
def test_samples(ds, index):
    """A sample is a dict with a value of the documented type for every column."""
    sample = ds[index]
    assert type(sample) is dict
    row = int(index) % ROWS
    assert sample.keys() == wanted(row).keys()
    assert all(same(value, wanted(row)[name]) for name, value in sample.items())


@pytest.mark.parametrize("index", [ROWS, -ROWS - 1])
def test_samples_outside(ds, index):
    """An index outside raises IndexError, so that plain iteration ends."""
    with pytest.raises(IndexError, match=f"index {index} is out of range for {ROWS} rows"):
        ds[index]
    with pytest.raises(IndexError):
        ds.__getitems__([0, index])


def test_iteration_ends(node):
    """A for loop over the dataset sees each row once."""
    node.register("torch/short", pa.table({"a": [1, 2, 3]}))
    with Dataset("alluxio://datasets/torch/short", address=node.at) as short:
        assert [sample["a"].item() for sample in short] == [1, 2, 3]


@pytest.mark.parametrize("rows", [[3], [5, 6, 7], [8999, 0, 4096, 4095, 0, 0], list(range(4090, 4100))])
def test_batches(ds, rows):
    """The plain collate function makes of rows what it would make of their samples, also of repeated ones."""
    assert_rows(torch.utils.data.default_collate(ds.__getitems__(rows)), rows)
    assert_rows(ds.batch(rows), rows)


def test_the_plain_loader_reads_every_row_once(ds):
    """A shuffled epoch has each row once, and no gather per sample."""
    seen = []
    for batch in DataLoader(ds, batch_size=1000, shuffle=True):
        seen += batch["f64"].tolist()
        assert batch["text"] == [f"ä{int(number)}" for number in batch["f64"]]
    assert sorted(seen) == list(range(ROWS))


def test_rows_are_a_sequence_for_collate_functions_of_ones_own(ds):
    """A user's collate function sees dicts, may slice, and may hand them to default_collate again."""
    rows = ds.__getitems__([3, 1, 2])
    assert isinstance(rows[0], dict)
    assert [row["i64"].item() for row in rows] == [3, 1, 2]
    assert [row["text"] for row in rows[1:]] == ["ä1", "ä2"]
    assert rows[-1]["blob"] == b"2"
    again = torch.utils.data.default_collate([{**row, "more": 1} for row in rows[:0]] or list(rows))
    assert_rows(again, [3, 1, 2])
    changed = list(rows)
    changed[0]["i64"] = torch.tensor(77)
    changed = [row for row in changed if row.setdefault("extra", 5)]
    collated = torch.utils.data.default_collate(changed)
    assert collated["i64"].tolist() == [77, 1, 2]
    assert collated["extra"].tolist() == [5, 5, 5]


def test_rows_travel_as_plain_dicts(kinds, node):
    """Pickled, rows and samples are lists and dicts without a connection to anything."""
    with Dataset(kinds, columns=["text", "i64"], address=node.at) as dataset:
        rows = pickle.loads(pickle.dumps(dataset.__getitems__([1, 2])))
        row = pickle.loads(pickle.dumps(dataset.__getitems__([1])[0]))
    assert type(rows) is list
    assert type(rows[0]) is type(row) is dict
    assert rows[1]["text"] == "ä2"


def test_torchs_own_wrappers(ds):
    """Subset takes the fast path too; a batch sampler of the user's own works with batch_size=None."""
    subset = Subset(ds, [5, 4, 3])
    assert next(iter(DataLoader(subset, batch_size=3)))["f32"].tolist() == [5, 4, 3]
    sampler = BatchSampler(RandomSampler(ds, num_samples=10), 5, drop_last=False)
    assert [len(batch["i8"]) for batch in DataLoader(ds, batch_sampler=sampler)] == [5, 5]


def test_columns_come_in_the_order_asked_for(kinds, node):
    """Only the columns named are there, in that order, in samples, batches and schema."""
    with Dataset(kinds, columns=["text", "i8"], address=node.at) as narrow:
        assert narrow.columns == list(narrow[0]) == narrow.schema.names == ["text", "i8"]
        assert list(next(iter(DataLoader(narrow)))) == ["text", "i8"]


def test_transform_sees_each_sample(kinds, node):
    """What transform returns takes the sample's place, one by one and in batches."""
    with Dataset(kinds, transform=itemgetter("f64"), address=node.at) as dataset:
        assert dataset[7] == 7
        assert next(iter(DataLoader(dataset, batch_size=3))).tolist() == [0, 1, 2]
        assert dataset.__getitems__([1]) == [torch.tensor(1.0)]


def test_facts(ds, kinds):
    """The dataset names its URI, version, semantic version, hash, rows and schema."""
    assert (ds.uri, ds.version, ds.semver) == (kinds, 1, "1.0.0")
    assert len(ds.content_hash) == 64
    assert len(ds) == ds.num_rows == ROWS
    assert ds.schema.field("text").type == pa.string()
    assert repr(ds) == f"<AlluxioDataset {kinds} 1.0.0+{ds.content_hash[:8]} 9000 rows>"
    assert alluxio.torch.Dataset is alluxio.torch.AlluxioDataset


def test_contiguous_batches_move_no_byte(kinds, node):
    """In order, a batch of fixed-width columns is made of views: the counters see no copy."""
    with Dataset(kinds, columns=["image", "i64"], address=node.at) as dataset:
        batches = list(DataLoader(dataset, batch_size=1000))
        batches.append(dataset.batch(range(10, 20)))
        found = dataset.statistics()
        assert found.viewed_bytes == (ROWS + 10) * (48 + 8)
        # default_collate looks at the first sample of each batch to learn its type: nine rows.
        assert found.gathered_bytes == 9 * (48 + 8)
        batches[3]["image"].fill_(-1)
        assert_rows(dataset.batch(range(3000, 3005)), list(range(3000, 3005)))
        assert_rows({"image": batches[2]["image"][-2:]}, [2998, 2999])


def test_shuffled_arrays_come_the_short_way(kinds, node):
    """An int64 array is as good as a list, negative and strided ones too; an index too many is an error, and so is a close."""
    with Dataset(kinds, columns=["image", "i64"], address=node.at) as dataset:
        chosen = np.random.default_rng(0).permutation(ROWS)[:300]
        assert_rows(dataset.batch(chosen), chosen.tolist())
        assert_rows(dataset.batch(chosen[::-2]), chosen[::-2].tolist())
        assert_rows(dataset.batch(np.array([5, -1])), [5, ROWS - 1])
        assert dataset.statistics().viewed_bytes == 0
        dataset.batch(np.arange(10))
        assert dataset.statistics().viewed_bytes == 10 * (48 + 8)
        with pytest.raises(IndexError, match=f"index {ROWS} is out of range for {ROWS} rows"):
            dataset.batch(np.array([3, ROWS]))
    with pytest.raises(Unavailable, match="was closed"):
        dataset.batch(chosen)


def test_whole_columns(ds):
    """A column is one tensor over the mapped memory; writing into it changes neither the dataset nor another one."""
    for name, dtype in DTYPES.items():
        tensor = ds.tensor(name)
        assert (tensor.dtype, len(tensor)) == (dtype, ROWS)
        assert same(tensor[4097], wanted(4097)[name])
    assert ds.statistics().gathered_bytes == 0
    tensor = ds.tensor("image")
    tensor.zero_()
    assert same(ds.tensor("image")[5], wanted(5)["image"])
    assert same(ds[5]["image"], wanted(5)["image"])
    assert ds.numpy("image").shape == (ROWS, 3, 4)
    assert not ds.numpy("image").flags.writeable


@pytest.mark.parametrize("name", ["text", "blob", "list"])
def test_columns_that_are_no_tensor(ds, name):
    """Rows of different sizes make no single tensor; the error says so."""
    for call in (ds.tensor, ds.numpy):
        with pytest.raises(InvalidArgument, match="rows of different sizes"):
            call(name)
    assert ds.valid(name).all()


def test_unknown_names(ds, kinds, node):
    """Columns that are not there are NotFound, with the names there are."""
    with pytest.raises(NotFound, match="no column 'nope', it has image"):
        ds.tensor("nope")
    with pytest.raises(NotFound, match="nope"):
        Dataset(kinds, columns=["nope"], address=node.at)
    with pytest.raises(InvalidArgument, match="none of the columns"):
        Dataset(kinds, fill_null={"nope": 1}, address=node.at)
    for columns, message in (("image", "'image' is one name - give a list of names"), ([], "are no names")):
        with pytest.raises(InvalidArgument, match=message):
            Dataset(kinds, columns=columns, address=node.at)


def test_nulls_without_fill(nulls, node):
    """Without a value a null is None, NaN or NaT in a sample, and an error in a batch of integers or bools."""
    with Dataset(nulls, address=node.at) as dataset:
        sample = dataset[1]
        assert [sample[name] for name in ("i", "t", "text", "list")] == [None] * 4
        assert sample["f"].isnan()
        assert sample["when"] == torch.iinfo(torch.int64).min
        assert dataset[0]["i"] == 1
        for name in dataset.columns:
            assert dataset.valid(name).tolist() == [True, False, True]
        assert dataset.tensor("i").tolist() == [1, 0, 3]
        for batch in (dataset.__getitems__([0, 1]), list(dataset.__getitems__([0, 1]))):
            with pytest.raises(InvalidArgument, match="fill_null="):
                torch.utils.data.default_collate(batch)
    with Dataset(nulls, columns=["f", "text", "list"], address=node.at) as dataset:
        batch = next(iter(DataLoader(dataset, batch_size=3)))
        assert batch["f"].isnan().tolist() == [False, True, False]
        assert batch["text"] == ["a", None, "c"]
        assert batch["list"][1] is None
        assert torch.utils.data.default_collate(list(dataset.__getitems__([0, 1])))["text"] == ["a", None]


def test_nulls_with_fill(nulls, node):
    """A value given for nulls stands in samples, batches and whole columns."""
    fill = {"i": -1, "t": True, "f": 0, "when": 5, "text": "none", "list": [9]}
    with Dataset(nulls, fill_null=fill, address=node.at) as dataset:
        for batch in (next(iter(DataLoader(dataset, batch_size=3))), dataset.batch([2, 1, 0])):
            assert batch["i"][1] == -1
            assert batch["t"][1]
            assert batch["f"][1] == 0
            assert batch["when"][1] == 5
            assert batch["text"][1] == "none"
            assert batch["list"][1].tolist() == [9]
        sample = dataset[1]
        assert (sample["i"], sample["text"], sample["list"].tolist()) == (-1, "none", [9])
        sample["list"].zero_()
        assert dataset[1]["list"].tolist() == [9]
        assert dataset.tensor("i").tolist() == [1, -1, 3]


def test_no_rows(node):
    """A version without rows is an empty dataset."""
    schema = pa.schema([("a", pa.int32()), ("s", pa.string()), ("v", pa.list_(pa.float32(), 3))])
    node.register("torch/empty", schema.empty_table())
    with Dataset("alluxio://datasets/torch/empty", address=node.at) as dataset:
        assert len(dataset) == 0
        assert list(DataLoader(dataset, batch_size=4)) == []
        assert dataset.tensor("v").shape == (0, 3)
        assert dataset.batch([])["a"].tolist() == []
        with pytest.raises(IndexError):
            dataset[0]


def test_copies(ds):
    """A copied or pickled dataset reads the same version on a lease of its own."""
    with copy.deepcopy(ds) as one, pickle.loads(pickle.dumps(ds)) as two:
        assert same(one[3]["image"], two[3]["image"])


def test_the_end(kinds, node):
    """After close everything is Unavailable, except what was handed out; closing twice is fine."""
    dataset = Dataset(kinds, address=node.at)
    rows, batch, tensor = dataset.__getitems__([1, 2]), dataset.batch([1, 2]), dataset.tensor("i64")
    dataset.close()
    dataset.close()
    for call in (lambda: dataset[0], lambda: dataset.tensor("i64"), rows.batch, lambda: pickle.dumps(dataset)):
        with pytest.raises(Unavailable, match="was closed"):
            call()
    assert batch["i64"].tolist() == tensor[1:3].tolist() == [1, 2]
