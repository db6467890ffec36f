"""TFRecord files in Alluxio: the elements, order and errors of tf.data.TFRecordDataset on local copies of them."""

from __future__ import annotations

import os
import re
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")

from alluxio.tf import TFRecordDataset  # noqa: E402 - after the skip
from alluxio_lance.errors import InvalidArgument, InvalidURI, NotFound  # noqa: E402
from alluxio_lance.files.files import AlluxioFiles  # noqa: E402

pytestmark = pytest.mark.tf

COUNTS = (5, 0, 1, 9, 3, 7)
"""Records by file: uneven, so that files end while others are read beside them; one is empty."""
KINDS = {"": "", "GZIP": ".gz", "ZLIB": ".z"}


class Records:
    """A folder of record files, in Alluxio and as local copies."""

    def __init__(self, local: Path, cluster: Any) -> None:
        self.local = local
        self.near = cluster.uri
        self.far = _with_worker(cluster.uri, 1)
        self.files = AlluxioFiles.connect(cluster.uri)
        self.folder = f"/records-{os.urandom(6).hex()}"

    def put(self, name: str, data: bytes) -> None:
        """Write a file to both places."""
        (self.local / name).write_bytes(data)
        self.files.write(f"{self.folder}/{name}", data)

    def write(self, name: str, records: list[bytes], compression: str = "") -> bytes:
        """Write a record file to both places and return its bytes."""
        with tf.io.TFRecordWriter(str(self.local / name), compression or None) as writer:
            for record in records:
                writer.write(record)
        data = (self.local / name).read_bytes()
        self.put(name, data)
        return data

    def uri(self, name: str) -> str:
        """Name a file in Alluxio."""
        return f"alluxio://{self.folder}/{name}"

    def here(self, name: str) -> str:
        """Name its copy."""
        return str(self.local / name)


def _with_worker(uri: str, port: int) -> str:
    """An address that finds no worker on this node, as a node without one: all comes over the network."""
    return "&".join([*(part for part in uri.split("&") if not part.startswith("worker=")), f"worker={port}"])


@pytest.fixture(scope="module")
def records(cluster, tmp_path_factory) -> Iterator[Records]:
    """Files of several lengths in every compression."""
    found = Records(tmp_path_factory.mktemp("records"), cluster)
    for kind, ending in KINDS.items():
        for number, count in enumerate(COUNTS):
            found.write(f"part-{number}.tfrecord{ending}", [b"%d:%d" % (number, i) * 50 for i in range(count)], kind)
    yield found
    found.files.close()


def elements(dataset: Any) -> list[bytes]:
    """Read all of a dataset."""
    return [*dataset.as_numpy_iterator()]


def open_copies() -> set[str]:
    """What this process holds open of blocks of Alluxio and of unnamed files."""
    held = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except FileNotFoundError:
            continue
        if "alluxioworker" in target or target.endswith("(deleted)"):
            held.add(f"{each.name} {target}")
    return held


@pytest.mark.parametrize("reads", [None, 1, 3, tf.data.AUTOTUNE])
@pytest.mark.parametrize("way", ["near", "far"])
@pytest.mark.parametrize("compression", KINDS)
def test_the_same_elements_in_the_same_order(records, reads, way, compression):
    """Near and far, compressed or not, with any number of files at once: what tf.data reads from local copies."""
    pattern = f"part-*.tfrecord{KINDS[compression]}"
    names = sorted(str(path) for path in records.local.glob(pattern))
    expected = elements(tf.data.TFRecordDataset(names, compression, None, reads))
    assert len(expected) == sum(COUNTS)
    dataset = TFRecordDataset(records.uri(pattern), compression, None, reads, address=getattr(records, way))
    assert dataset.element_spec == tf.TensorSpec([], tf.string)
    assert elements(dataset) == expected
    assert elements(dataset) == expected


NAMES = [f"part-{number}.tfrecord" for number in (3, 0, 4)]
GIVEN = {
    "a string": lambda full: full(NAMES[0]),
    "bytes": lambda full: full(NAMES[0]).encode(),
    "a list": lambda full: [full(name) for name in NAMES],
    "a nested list": lambda full: [[full(name)] for name in NAMES],
    "a tensor": lambda full: tf.constant([full(name) for name in NAMES]),
    "a dataset": lambda full: tf.data.Dataset.from_tensor_slices([full(name) for name in NAMES]),
    "a dataset that repeats": lambda full: tf.data.Dataset.from_tensors(full(NAMES[0])).repeat(3),
    "none": lambda _: tf.constant([], tf.string),
}


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("reads", [None, 2])
def test_names_in_every_form(records, kind, reads):
    """Names come in all forms that tf.data takes."""
    expected = elements(tf.data.TFRecordDataset(GIVEN[kind](records.here), num_parallel_reads=reads))
    ours = TFRecordDataset(GIVEN[kind](records.uri), num_parallel_reads=reads, address=records.near)
    assert elements(ours) == expected


def test_names_that_are_not_in_alluxio_are_tensorflows_own(records):
    """A mounted or local file beside one of Alluxio is read in its place."""
    dataset = TFRecordDataset([records.here(NAMES[0]), records.uri(NAMES[1])], address=records.near)
    assert elements(dataset) == elements(tf.data.TFRecordDataset([records.here(NAMES[0]), records.here(NAMES[1])]))


def test_in_pipelines(records):
    """It shuffles with a seed, repeats, batches and runs in a tf.function as tf.data's own one does."""

    def pipeline(dataset: Any) -> list[list[bytes]]:
        shuffled = dataset.shuffle(100, seed=7, reshuffle_each_iteration=True).repeat(2).batch(4).prefetch(1)
        return [batch.tolist() for batch in shuffled.as_numpy_iterator()]

    names = [f"part-{number}.tfrecord" for number in range(len(COUNTS))]
    tf.random.set_seed(1)
    expected = pipeline(tf.data.TFRecordDataset([records.here(name) for name in names], num_parallel_reads=2))
    tf.random.set_seed(1)
    ours = TFRecordDataset([records.uri(name) for name in names], num_parallel_reads=2, address=records.near)
    assert pipeline(ours) == expected

    @tf.function
    def total(files: Any) -> Any:
        dataset = TFRecordDataset(files, address=records.near)
        return dataset.reduce(tf.constant(0, tf.int32), lambda so_far, record: so_far + tf.strings.length(record))

    whole = sum(len(record) for record in elements(ours))
    assert total(tf.constant([records.uri(name) for name in names])).numpy() == whole
    assert total(tf.constant([records.uri(name) for name in names])).numpy() == whole


@pytest.mark.parametrize("reads", [None, 2])
@pytest.mark.parametrize("way", ["near", "far"])
def test_nothing_stays_open(records, reads, way):
    """After the end, and after a break in the middle, no block file and no copy is held open; meanwhile some are."""
    dataset = TFRecordDataset(
        records.uri("part-*.tfrecord"), num_parallel_reads=reads, address=getattr(records, way)
    ).repeat(3)
    before = open_copies()
    elements(dataset)
    assert open_copies() == before
    iterator = iter(dataset)
    next(iterator)
    assert open_copies() > before
    del iterator
    _until(lambda: open_copies() == before)


def _until(is_true: Any) -> None:
    """Wait for what a thread that was told to stop does."""
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@pytest.mark.parametrize("compression", KINDS)
@pytest.mark.parametrize("fault", ["a flipped bit", "a lost end"])
def test_damage_is_what_tensorflow_calls_it(records, compression, fault):
    """A wrong checksum or a cut file is the error of tf.data, after the same records; with ignore_errors it goes on."""
    records.write(f"whole{compression}", [b"w" * 40] * 3, compression)
    data = bytearray(records.write(f"bad{compression}", [os.urandom(400) for _ in range(30)], compression))
    if fault == "a flipped bit":
        data[len(data) // 2] ^= 1
    else:
        del data[-len(data) // 4 :]
    records.put(f"bad{compression}", bytes(data))
    names = [f"bad{compression}", f"whole{compression}"]
    found = {}
    for what, dataset in {
        "tf": tf.data.TFRecordDataset([records.here(name) for name in names], compression),
        "ours": TFRecordDataset([records.uri(name) for name in names], compression, address=records.far),
    }.items():
        seen: list[bytes] = []
        with pytest.raises(tf.errors.DataLossError) as error:
            seen.extend(dataset.as_numpy_iterator())
        found[what] = (seen, _plain(error.value), elements(dataset.ignore_errors()))
    assert found["ours"] == found["tf"]
    assert len(found["ours"][2]) >= 3


def _plain(error: Exception) -> str:
    """The sentence of the reader, without the names of the graph's nodes."""
    return str(error).rpartition("}} ")[2].partition(" [Op")[0].partition("\n")[0]


def test_missing_files_and_folders(records):
    """A file that is not there is a NotFoundError with its name, a folder an InvalidArgumentError."""
    names = [records.uri(name) for name in ("part-0.tfrecord", "gone.tfrecord", "part-4.tfrecord")]
    for reads in (None, 2):
        dataset = TFRecordDataset(names, num_parallel_reads=reads, address=records.near)
        with pytest.raises(tf.errors.NotFoundError, match=f"alluxio:{records.folder}/gone.tfrecord; No such file"):
            elements(dataset)
    with pytest.raises(tf.errors.InvalidArgumentError, match="is a folder in Alluxio: name its files, as in"):
        elements(TFRecordDataset(f"alluxio://{records.folder}", address=records.near))


def test_arguments_that_are_wrong(records):
    """Patterns without a file, resources, and values of a wrong type are refused when the dataset is made."""
    with pytest.raises(NotFound, match="no file in Alluxio matches alluxio:///nowhere/"):
        TFRecordDataset("alluxio:///nowhere/*.tfrecord", address=records.near)
    with pytest.raises(InvalidURI, match="is a resource and no file"):
        TFRecordDataset("alluxio://datasets/*.tfrecord", address=records.near)
    with pytest.raises(InvalidArgument, match="give alluxio://HOST"):
        TFRecordDataset("alluxio:///a", address="http://localhost")
    for wrong in ([1, 2], tf.data.Dataset.range(3)):
        with pytest.raises(TypeError) as theirs:
            tf.data.TFRecordDataset(wrong)
        with pytest.raises(TypeError, match="^" + re.escape(str(theirs.value)) + "$"):
            TFRecordDataset(wrong, address=records.near)


def test_alluxio_that_does_not_answer(records):
    """Without Alluxio the error says who does not answer; nothing hangs."""
    nowhere = "alluxio://localhost:1/?proxy=1&worker=1"
    with pytest.raises(
        tf.errors.UnknownError, match="Unavailable: the proxy of Alluxio at localhost:1 does not answer"
    ):
        elements(TFRecordDataset(records.uri("part-0.tfrecord"), address=nowhere))


def test_copies_of_many_pieces(records):
    """A far file of several pieces is put together in order, while another is read."""
    random = [os.urandom(1 << 20) for _ in range(11)]
    for name in ("large-0", "large-1"):
        records.write(name, random)
    dataset = TFRecordDataset(records.uri("large-*"), address=records.far)
    crc = [zlib.crc32(record) for record in random]
    assert [zlib.crc32(record) for record in dataset.as_numpy_iterator()] == crc * 2


def test_datasets_of_one_alluxio_share_their_connections(records):
    """TensorFlow never lets go of what a dataset calls: else each one made would keep a socket."""

    def sockets() -> int:
        return sum("socket" in str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink())

    def read() -> None:
        assert len(elements(TFRecordDataset(records.uri("part-*.tfrecord"), address=records.far))) == sum(COUNTS)

    read()
    before = sockets()
    for _ in range(12):
        read()
    assert sockets() < before + 8
