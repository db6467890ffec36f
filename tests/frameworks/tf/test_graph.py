"""What stands in the graph: no Python per element, iterators that can be saved, shards, decoded pictures."""

from __future__ import annotations

import io
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from alluxio_lance.errors import InvalidArgument, NotFound

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.tf

ROWS = 1000
COUNT = 30
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 20, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def numbers(node) -> str:
    """Register a column that counts."""
    return node.register("tf/numbers", pa.table({"x": np.arange(ROWS)})).uri


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """Write a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photos(node) -> str:
    """Register PNG pictures of one size, which lose nothing."""
    files = pa.array([encoded(pixels) for pixels in PIXELS], pa.binary())
    return node.register("tf/photos", pa.table({"photo": files, "number": np.arange(COUNT)})).uri


def operations(dataset) -> set[str]:
    """Name all operations of a dataset's graph, those of its functions too."""
    graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_python_runs_per_element(kinds, photos, node, shuffle):
    """Neither numbers nor strings, lists and pictures call back into Python."""
    from alluxio.tf import Dataset

    for uri, options in ((kinds, {}), (photos, {"decode": "image"})):
        found = operations(Dataset(uri, 64, shuffle=shuffle, address=node.at, **options))
        assert "PrefetchDataset" in found
        assert [name for name in found if "PyFunc" in name or "Generator" in name] == []


@pytest.mark.parametrize(
    ("options", "taken"), [({}, 30), ({"shuffle": True, "seed": 3}, 30), ({"shuffle": True, "seed": 3}, 130)]
)
def test_a_saved_iterator_goes_on_where_it_was(numbers, node, tmp_path, options, taken):
    """Saved in its first or second epoch and restored into a dataset that was opened anew, it misses and repeats nothing."""
    from alluxio.tf import Dataset

    def opened():
        return iter(Dataset(numbers, 10, address=node.at, **options).repeat(3))

    iterator = opened()
    for _ in range(taken):
        next(iterator)
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "at"))
    rest = [batch["x"].numpy().tolist() for batch in iterator]
    again = opened()
    tf.train.Checkpoint(iterator=again).restore(saved)
    assert [batch["x"].numpy().tolist() for batch in again] == rest
    assert len(rest) == 300 - taken


def test_a_saved_shuffled_iterator_finishes_its_epoch_without_a_seed(numbers, node, tmp_path):
    """The order of the epoch is part of what is saved."""
    from alluxio.tf import Dataset

    iterator = iter(Dataset(numbers, 10, shuffle=True, address=node.at))
    seen = [next(iterator)["x"].numpy().tolist() for _ in range(40)]
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "at"))
    again = iter(Dataset(numbers, 10, shuffle=True, address=node.at))
    tf.train.Checkpoint(iterator=again).restore(saved)
    seen += [batch["x"].numpy().tolist() for batch in again]
    assert sorted(chain.from_iterable(seen)) == list(range(ROWS))


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "seed": 5}])
def test_shards_are_disjoint_and_complete(numbers, node, options):
    """``ds.shard`` gives each of three processes its own batches."""
    from alluxio.tf import Dataset

    shards = [
        [
            number
            for batch in Dataset(numbers, 10, address=node.at, **options).shard(3, i)
            for number in batch["x"].numpy()
        ]
        for i in range(3)
    ]
    assert [len(shard) for shard in shards] == [340, 330, 330]
    assert sorted(chain.from_iterable(shards)) == list(range(ROWS))


def test_a_strategy_distributes_it(numbers, node):
    """``experimental_distribute_dataset`` takes it, and every row comes once."""
    from alluxio.tf import Dataset

    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    dataset = strategy.experimental_distribute_dataset(Dataset(numbers, 10, shuffle=True, seed=1, address=node.at))
    assert sorted(number for batch in dataset for number in batch["x"].numpy()) == list(range(ROWS))


@pytest.mark.parametrize("shuffle", [False, True])
def test_pictures_are_decoded_and_stacked(photos, node, shuffle):
    """Batches have the pixels that were encoded, and the cardinality is known."""
    from alluxio.tf import Dataset

    dataset = Dataset(photos, 8, shuffle=shuffle, seed=2, decode="image", address=node.at)
    assert dataset.cardinality() == 4
    assert dataset.element_spec["photo"] == tf.TensorSpec((None, None, None, 3), tf.uint8)
    seen = []
    for batch in dataset:
        np.testing.assert_array_equal(batch["photo"], PIXELS[batch["number"].numpy()])
        seen += batch["number"].numpy().tolist()
    assert sorted(seen) == list(range(COUNT))
    whole = Dataset(photos, 8, shuffle=shuffle, decode={"photo": "image"}, drop_remainder=True, address=node.at)
    assert whole.element_spec["photo"] == tf.TensorSpec((8, None, None, 3), tf.uint8)
    assert len(list(whole)) == whole.cardinality() == 3


def test_pictures_of_all_kinds_and_sizes(node):
    """Row by row any size and kind is read, and tf.image.resize makes batches of them."""
    from alluxio.tf import Dataset

    frames = [Image.fromarray(np.full((9, 8), value, np.uint8)) for value in (10, 200)]
    film = io.BytesIO()
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    files = [
        encoded(PIXELS[0][:7]),
        encoded(PIXELS[1, :, :, 0]),
        encoded(PIXELS[2], "JPEG", quality=95),
        # Cameras write more behind the picture.
        encoded(PIXELS[2], "JPEG", quality=95) + b"more" * 100,
        film.getvalue(),
        encoded(PIXELS[3], "BMP"),
    ]
    node.register("tf/mixed", pa.table({"photo": pa.array(files, pa.binary())}))
    dataset = Dataset("alluxio://datasets/tf/mixed", decode="image", address=node.at)
    found = [element["photo"].numpy() for element in dataset]
    assert [picture.shape for picture in found] == [(7, 32, 3), *[(20, 32, 3)] * 3, (9, 8, 3), (20, 32, 3)]
    np.testing.assert_array_equal(found[0], PIXELS[0][:7])
    np.testing.assert_array_equal(found[1][..., 2], PIXELS[1, :, :, 0])
    np.testing.assert_array_equal(found[2], found[3])
    assert np.unique(found[4]).tolist() == [10]
    np.testing.assert_array_equal(found[5], PIXELS[3])
    (batch,) = dataset.map(lambda row: tf.image.resize(row["photo"], (5, 6))).batch(6)
    assert batch.shape == (6, 5, 6, 3)


@pytest.mark.parametrize(
    "wrong",
    [encoded(PIXELS[1])[:-200], encoded(PIXELS[1], "JPEG")[:-200], b"no picture", b"", b"\xff"],
    ids=["torn PNG", "torn JPEG", "text", "nothing", "one byte"],
)
def test_what_is_no_picture_is_said_with_its_row(node, wrong):
    """The error names row and column; whoever wants to leaves such rows out."""
    from alluxio.tf import Dataset

    name = f"tf/wrong{len(wrong)}"
    files = pa.array([encoded(PIXELS[0]), wrong, encoded(PIXELS[2])], pa.binary())
    node.register(name, pa.table({"photo": files}))
    dataset = Dataset(f"alluxio://datasets/{name}", decode="image", address=node.at)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[row\] \[1\] \[of column .*photo.* no whole"):
        list(dataset)
    assert len(list(dataset.ignore_errors())) == 2


def test_null_pictures_need_one_to_stand_in(node):
    """As with all strings; the one that stands in is decoded."""
    from alluxio.tf import Dataset

    node.register("tf/missing", pa.table({"photo": pa.array([encoded(PIXELS[0]), None], pa.binary())}))
    uri = "alluxio://datasets/tf/missing"
    with pytest.raises(InvalidArgument, match="fill_null"):
        Dataset(uri, decode="image", address=node.at)
    (batch,) = Dataset(uri, 2, decode="image", fill_null={"photo": encoded(PIXELS[5])}, address=node.at)
    np.testing.assert_array_equal(batch["photo"], PIXELS[[0, 5]])


def test_wrong_columns_to_decode(photos, node):
    """What cannot be decoded is said when the dataset is opened."""
    from alluxio.tf import Dataset

    with pytest.raises(NotFound, match="'picture'"):
        Dataset(photos, decode={"picture": "image"}, address=node.at)
    with pytest.raises(InvalidArgument, match=r"'number' .* not binary"):
        Dataset(photos, decode={"number": "image"}, address=node.at)
