"""The tf.data.Dataset: values, element specs, order, nulls, lifetime, and Keras."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, Restoring, Unavailable

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.tf

ROWS = 9000
SCALARS = {
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "bf16": "bfloat16",
    "flag": "bool",
    "when": "int64",
    "text": "string",
    "blob": "string",
}


@pytest.fixture
def open_kinds(kinds, node):
    """Return a function that opens the table with a column of every kind."""
    from alluxio.tf import Dataset

    return lambda **options: Dataset(kinds, address=node.at, **options)


def assert_row(element: dict, row: int) -> None:
    """Check one row of an element against what is computed from its number."""
    for name in SCALARS:
        assert name[0] not in "iu" or element[name] == row % 100
    assert element["f64"] == row
    assert element["f16"] == np.float16(row)
    assert element["bf16"] == tf.bitcast(
        tf.constant((np.array(row, np.float32).view(np.uint32) >> 16).astype(np.uint16)), tf.bfloat16
    )
    assert element["flag"] == (row % 2 == 0)
    assert element["when"] == row
    assert element["text"] == f"ä{row}".encode()
    assert element["blob"] == b"%d" % row
    assert element["opaque"].numpy().tobytes() == b"%04d" % row
    assert element["list"].numpy().tolist() == list(range(row % 4))
    np.testing.assert_array_equal(element["image"], row + np.arange(12).reshape(3, 4))


@pytest.mark.parametrize(
    ("options", "count", "lead"),
    [
        ({}, ROWS, ()),
        ({"shuffle": True}, ROWS, ()),
        ({"batch_size": 64}, 141, (None,)),
        ({"batch_size": 64, "drop_remainder": True}, 140, (64,)),
        ({"batch_size": 64, "shuffle": True, "drop_remainder": True}, 140, (64,)),
        ({"batch_size": 10_000, "drop_remainder": True}, 0, (10_000,)),
    ],
)
def test_specs_and_cardinality(open_kinds, options, count, lead):
    """The number of elements is known, and so are the types and shapes of all columns."""
    dataset = open_kinds(**options)
    spec = dataset.element_spec
    assert dataset.cardinality() == count
    for name, dtype in SCALARS.items():
        assert spec[name] == tf.TensorSpec(lead, dtype)
    assert spec["image"] == tf.TensorSpec((*lead, 3, 4), tf.float32)
    assert spec["opaque"] == tf.TensorSpec((*lead, 4), tf.uint8)
    assert spec["list"].dtype == tf.int32
    assert isinstance(spec["list"], tf.RaggedTensorSpec if lead else tf.TensorSpec)
    assert spec["list"].shape.as_list() == [*lead, None]


@pytest.mark.parametrize("shuffle", [False, True])
def test_values(open_kinds, shuffle):
    """Elements and batches have the documented value in every column, in order or shuffled."""
    for place, element in open_kinds(shuffle=shuffle).take(5).enumerate():
        row = int(element["f64"])
        assert shuffle or row == place
        assert_row(element, row)
    batch = next(iter(open_kinds(batch_size=5000, shuffle=shuffle)))
    for place in (0, 4095, 4096, 4999):
        assert_row({name: values[place] for name, values in batch.items()}, int(batch["f64"][place]))


def order(dataset) -> list[int]:
    """Read an epoch."""
    return [int(number) for batch in dataset for number in batch["f64"].numpy()]


def test_an_epoch_in_order(open_kinds):
    """Without shuffle the rows come in order, the last batch may be short, and each epoch is the same."""
    dataset = open_kinds(batch_size=1000, columns=["f64"])
    assert order(dataset) == order(dataset) == list(range(ROWS))
    assert order(open_kinds(batch_size=4000, columns=["f64"], drop_remainder=True)) == list(range(8000))


def test_shuffled_epochs(open_kinds):
    """Each epoch has every row once, in an order of its own; the same seed gives the same orders again."""
    one, two = (open_kinds(batch_size=1000, columns=["f64"], shuffle=True, seed=7) for _ in range(2))
    first, second = order(one), order(one)
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert sum(map(int.__eq__, first, second)) < ROWS // 100
    assert [order(two), order(two)] == [first, second]
    other = order(open_kinds(batch_size=1000, columns=["f64"], shuffle=True, seed=8))
    assert sum(map(int.__eq__, first, other)) < ROWS // 100
    # Neighbours in the table do not stay neighbours.
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.1
    unseeded = open_kinds(batch_size=1000, columns=["f64"], shuffle=True)
    assert sorted(order(unseeded)) == list(range(ROWS))


def test_batches_in_order_are_views(node):
    """The pages that a batch in order shows are those of the sealed memory, for rows of a multiple of 64 bytes."""
    from alluxio.tf import Dataset

    rows = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(5000 * 16, dtype=np.float32)), 16)
    node.register("tf/views", pa.table({"x": rows}))
    batches = list(Dataset("alluxio://datasets/tf/views", batch_size=1000, address=node.at))
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if "memfd:alluxio-lance" in line]
    for batch in batches:
        address = np.from_dlpack(batch["x"]).ctypes.data
        assert any(int(start, 16) <= address < int(stop, 16) for start, stop in spans)


def test_nulls(nulls, node):
    """Nulls need a value, except in floats and moments; the error names fill_null."""
    from alluxio.tf import Dataset

    for name in ("i", "t", "text", "list"):
        with pytest.raises(InvalidArgument, match=f'fill_null={{"{name}": value}}'):
            Dataset(nulls, columns=[name], address=node.at)
    batch = next(iter(Dataset(nulls, 3, columns=["f", "when"], address=node.at)))
    assert np.isnan(batch["f"]).tolist() == [False, True, False]
    assert batch["when"][1] == np.iinfo(np.int64).min
    fill = {"i": -1, "t": True, "f": 0, "when": 5, "text": "none", "list": [9, 9]}
    batch = next(iter(Dataset(nulls, 3, address=node.at, fill_null=fill)))
    assert batch["i"].numpy().tolist() == [1, -1, 3]
    assert batch["t"].numpy().tolist() == [True, True, False]
    assert batch["f"].numpy().tolist() == [1, 0, 3]
    assert batch["when"].numpy().tolist() == [1, 5, 3]
    assert batch["text"].numpy().tolist() == [b"a", b"none", b"c"]
    assert batch["list"].to_list() == [[1], [9, 9], [2, 3]]
    batch = next(iter(Dataset(nulls, 3, columns=["list"], address=node.at, fill_null={"list": []})))
    assert batch["list"].to_list() == [[1], [], [2, 3]]


def test_types_without_a_tensor(node):
    """A column that TensorFlow cannot hold is named, and can be left out."""
    from alluxio.tf import Dataset

    node.register("tf/struct", pa.table({"a": [1, 2], "s": [{"x": 1}, {"x": 2}]}))
    with pytest.raises(InvalidArgument, match=r"column 's' .* struct<x: int64>.* columns="):
        Dataset("alluxio://datasets/tf/struct", address=node.at)
    found = Dataset("alluxio://datasets/tf/struct", columns=["a"], address=node.at)
    assert [int(element["a"]) for element in found] == [1, 2]


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_rows(node, shuffle):
    """A version without rows is an empty dataset."""
    from alluxio.tf import Dataset

    schema = pa.schema([("a", pa.int32()), ("s", pa.string()), ("l", pa.list_(pa.float32()))])
    node.register(f"tf/empty{shuffle}", schema.empty_table())
    dataset = Dataset(f"alluxio://datasets/tf/empty{shuffle}", 4, shuffle=shuffle, address=node.at)
    assert list(dataset) == []
    assert dataset.cardinality() == 0


def test_wrong_calls(kinds, node, tmp_path):
    """A batch size below one, columns in its place or a single one are refused, and so is a dataset without a sidecar."""
    from alluxio.tf import Dataset

    with pytest.raises(InvalidArgument, match="batch_size=0"):
        Dataset(kinds, 0, address=node.at)
    with pytest.raises(InvalidArgument, match=r"columns by their name"):
        Dataset(kinds, ["f64"], address=node.at)
    with pytest.raises(InvalidArgument, match="'f64' is one name"):
        Dataset(kinds, columns="f64", address=node.at)
    with pytest.raises(Unavailable):
        Dataset(kinds, address=str(tmp_path))


def test_memory_and_lease_live_as_long_as_the_dataset(own_node, every_kind):
    """A dataset derived from it keeps version and lease; without any the lease ends, and the sidecar's death is no harm."""
    from alluxio.tf import Dataset

    own_node.register("x", every_kind)
    derived = Dataset("alluxio://datasets/x", 1000, columns=["f64", "list"], address=own_node.at).map(
        lambda batch: {"f64": batch["f64"] + 1, "list": batch["list"]}
    )
    gc.collect()
    assert holders(own_node) == 1
    batches = iter(derived)
    first = next(batches)
    own_node.kill()
    assert [float(batch["f64"][0]) for batch in batches] == [1001.0 + 1000 * place for place in range(8)]
    assert first["list"][3].numpy().tolist() == [0, 1, 2]
    own_node.start()
    again = Dataset("alluxio://datasets/x", 1000, columns=["f64"], address=own_node.at)
    assert holders(own_node) == 1
    del again
    gc.collect()
    assert holders(own_node) == 0


def holders(node) -> int:
    """Count the leases of a node."""
    from alluxio_lance.client.channel import Channel
    from alluxio_lance.v1 import cache_pb2

    with Channel.connect(node.address) as channel, channel.speaking() as stubs:
        return len(stubs.cache.Statistics(cache_pb2.StatisticsRequest()).leases)


def test_keras_fits(node):
    """A Keras model learns from a shuffled dataset, and knows its steps."""
    from alluxio.tf import Dataset

    rng = np.random.default_rng(0)
    x = rng.random((512, 4)).astype(np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 4)
    node.register("tf/keras", pa.table({"x": rows, "y": x.sum(1)}))
    dataset = Dataset("alluxio://datasets/tf/keras", batch_size=32, shuffle=True, seed=0, address=node.at)
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(1)])
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1), loss="mse")
    pairs = dataset.map(lambda batch: (batch["x"], batch["y"]))
    history = model.fit(pairs, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0] / 2


def test_an_archived_version_is_waited_for_when_told(node):
    """Otherwise the dataset says that it comes back."""
    from alluxio.tf import Dataset

    node.register("tf/archived", pa.table({"a": [1, 2, 3]}))
    node.update("tf/archived", pa.table({"a": [4]}))
    node.call(lambda manager: manager.archive_resource("datasets", "tf/archived", "1.0.0"))
    uri = "alluxio://datasets/tf/archived@1.0.0"
    with pytest.raises(Restoring):
        Dataset(uri, address=node.at)
    dataset = Dataset(uri, address=node.at, wait=True, on_progress=lambda _: None)
    assert [int(element["a"]) for element in dataset] == [1, 2, 3]
