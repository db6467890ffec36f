"""Files of a folder in Alluxio as a torch dataset: torchvision's ImageFolder on a local copy is the measure."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from alluxio.torch import FileDataset
from alluxio_lance.errors import Conflict, Corrupt, InvalidArgument, InvalidURI, NotFound, Unavailable
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.ways import Way

pytestmark = [
    pytest.mark.torch,
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

IMAGES = (
    # Names whose order by path is not the order of folders, endings in capitals, grey and transparent images.
    *[f"cat/{number}.jpg" for number in range(11)],
    *[f"cat-big/{number}.PNG" for number in range(5)],
    "cat/deep/1.png",
    "cat/deep-er/x.webp",
    "cat/deep.jpg",
    "Dog ä/with blank.jpeg",
    "Dog ä/b.bmp",
)


class Folder:
    """A folder in Alluxio with a local copy."""

    def __init__(self, local: Path, address: str) -> None:
        self.local = local
        self.address = address
        self.files = AlluxioFiles.connect(address)
        self.path = f"/images-{os.urandom(6).hex()}"
        self.uri = f"alluxio://{self.path}"

    def put(self, name: str, data: bytes) -> None:
        """Write a file to both places."""
        (self.local / name).parent.mkdir(parents=True, exist_ok=True)
        (self.local / name).write_bytes(data)
        self.files.write(f"{self.path}/{name}", data)

    def open(self, **options: Any) -> FileDataset:
        """Open it."""
        return FileDataset(self.uri, address=self.address, **options)


def an_image(number: int, kind: str) -> bytes:
    """Draw an image that no other number has."""
    mode = ("RGB", "L", "RGBA")[number % 3] if kind in {"png", "webp"} else ("RGB", "L")[number % 2]
    noise = np.random.default_rng(number).integers(0, 255, (20 + number, 24, len(mode)), np.uint8)
    room = io.BytesIO()
    Image.fromarray(noise.squeeze()).save(room, {"jpg": "jpeg"}.get(kind, kind))
    return room.getvalue()


@pytest.fixture(scope="module")
def images(cluster, tmp_path_factory) -> Iterator[Folder]:
    """Images in folders, and files that are none; some are hidden."""
    found = Folder(tmp_path_factory.mktemp("images"), cluster.uri)
    for number, name in enumerate(IMAGES):
        found.put(name, an_image(number, name.rpartition(".")[2].lower()))
    found.put("README.md", b"on no class")
    found.put("cat/notes.txt", b"no image")
    found.files.write(f"{found.path}/cat/.0.jpg.0123.part", b"half an upload")
    found.files.write(f"{found.path}/.ipynb_checkpoints/0.jpg", b"no class")
    yield found
    found.files.close()


@pytest.fixture
def own(cluster, tmp_path) -> Iterator[Folder]:
    """A folder that the test may change, with two classes of one file."""
    found = Folder(tmp_path, cluster.uri)
    found.put("a/1.bin", b"one")
    found.put("b/2.bin", b"two")
    yield found
    found.files.close()


def test_it_is_an_image_folder(images):
    """Classes, their numbers, order, targets and each item are those of ImageFolder, with transforms of both kinds."""
    script = Path(__file__).with_name("image_folder.py")
    command = [sys.executable, "-P", script, images.address, images.uri, images.path, images.local]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dict.fromkeys(("none", "v1", "v2"), len(IMAGES))


def test_shuffled_epochs_of_every_start_method(own):
    """Without workers, and with forked, served and spawned ones that persist, two epochs are ImageFolder's, seed for seed."""
    folder = Folder(own.local / "copy", own.address)
    for number in range(24):
        folder.put(f"{number % 3}/{number}.png", an_image(number, "png"))
    script = Path(__file__).with_name("file_epochs.py")
    command = [sys.executable, "-P", "-W", "error", str(script), folder.address, folder.uri, str(folder.local)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = found.pop("ImageFolder")
    assert expected[0] != expected[1]
    assert found == dict.fromkeys(("none", "fork", "forkserver", "spawn"), expected)


def test_labels_of_every_kind(images):
    """Labels are none, or come from a function of the path below the folder: names of classes, or values as they are."""
    unlabelled = images.open(labels=None)
    assert len(unlabelled) == len(IMAGES) + 2
    assert (unlabelled.classes, unlabelled.class_to_idx, unlabelled.targets) == ([], {}, [])
    paths = [path for path, _ in unlabelled.samples]
    assert paths == sorted(f"{images.path}/{name}" for name in (*IMAGES, "README.md", "cat/notes.txt"))
    assert unlabelled[paths.index(f"{images.path}/README.md")] == b"on no class"
    assert isinstance(unlabelled[-len(unlabelled)], Image.Image)

    named = images.open(labels=lambda path: path.rpartition(".")[2].lower(), loader=lambda file: file.name)
    assert named.classes == ["bmp", "jpeg", "jpg", "md", "png", "txt", "webp"]
    assert {(name, name.lower().endswith(named.classes[label])) for name, label in named} == {
        (path, True) for path in paths
    }
    valued = images.open(labels=len, loader=lambda file: len(file.read()))
    assert valued.classes == []
    sizes = [((images.local / path.removeprefix(f"{images.path}/")).stat().st_size) for path in paths]
    assert [*valued] == [(size, len(path) - len(images.path) - 1) for size, path in zip(sizes, paths, strict=True)]


LOADERS = {
    "numpy": (np.save, np.load, lambda value: value.tolist()),
    "torch": (lambda room, value: torch.save(torch.tensor(value), room), torch.load, lambda value: value.tolist()),
    "bytes": (lambda room, value: room.write(json.dumps(value).encode()), None, json.loads),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_loaders_take_open_files(own, kind):
    """The functions of numpy and torch are loaders; without one a file that is no image is bytes."""
    save, load, plain = LOADERS[kind]
    values = [[number, number + 1] for number in range(40)]
    for number, value in enumerate(values):
        room = io.BytesIO()
        save(room, value)
        own.files.write(f"{own.path}/many/{number:02}", room.getvalue())
    dataset = FileDataset(f"{own.uri}/many", load, labels=None, address=own.address)
    assert [plain(value) for value in dataset.__getitems__(range(40))] == values
    assert dataset.__getitems__([]) == []


@pytest.mark.parametrize("way", [Way.SHORT_CIRCUIT, Way.ENDPOINT])
def test_each_way_gives_the_same(images, way):
    """On the worker's node files are read from its blocks, elsewhere over the network: the items are the same."""
    address = images.address if way is Way.SHORT_CIRCUIT else f"{images.address.partition('&worker=')[0]}&worker=1"
    dataset = FileDataset(images.uri, lambda file: file.read(), address=address)
    expected = [(images.local / path.removeprefix(f"{images.path}/")).read_bytes() for path, _ in dataset.samples]
    assert [data for data, _ in dataset.__getitems__(range(len(dataset)))] == expected
    assert dataset._files.ways() == {way: sum(map(len, expected))}


def test_a_list_that_stays_until_it_is_refreshed(own):
    """Files that come, go or change are seen after refresh, which outdates pickled copies and refuses in a worker."""
    dataset = own.open()
    copied = pickle.loads(pickle.dumps(dataset))
    own.put("c/3.bin", b"three")
    assert (len(dataset), [*dataset]) == (2, [(b"one", 0), (b"two", 1)])
    assert dataset.refresh()
    assert not dataset.refresh()
    assert (dataset.classes, len(dataset), dataset[2]) == (["a", "b", "c"], 3, (b"three", 2))
    with pytest.raises(Conflict, match="make a new DataLoader afterwards"):
        copied[0]
    own.put("c/3.bin", b"THREE")
    assert dataset.refresh()
    assert dataset[2] == (b"THREE", 2)
    dataset.transform = lambda _: dataset.refresh()
    with pytest.raises(InvalidArgument, match="call it in the main process"):
        next(iter(DataLoader(dataset, num_workers=1, multiprocessing_context="fork")))
    own.files.namespace.remove(own.path)
    with pytest.raises(NotFound, match=own.path):
        dataset.refresh()
    assert len(dataset) == 3


def test_a_file_that_vanished_or_shrank(own):
    """Gone or replaced since the folder was listed: the error names the file, also from a worker."""
    dataset = own.open()
    own.files.write(f"{own.path}/b/2.bin", b"longer than it was")
    own.files.namespace.remove(f"{own.path}/a/1.bin")
    # The worker drops the blocks of removed files in its own time.
    for place, kind, name in ((0, NotFound, "a/1.bin"), (1, Corrupt, "b/2.bin")):
        error = _until_raised(dataset, place)
        assert type(error) is kind
        assert f"{own.path}/{name}" in str(error)
    with pytest.raises(NotFound, match=rf"errors\.NotFound: .*{own.path}/a/1\.bin"):
        next(iter(DataLoader(dataset, num_workers=1, multiprocessing_context="fork")))


def _until_raised(dataset: FileDataset, place: int) -> Exception:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        dataset.close()
        try:
            dataset[place]
        except (NotFound, Corrupt) as error:
            return error
        threading.Event().wait(0.05)
    raise AssertionError("the file is read on")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
"""PIL would have Ghostscript run it."""
_HEADER = b"IHDR" + struct.pack(">IIBBBBB", 1 << 16, 1 << 16, 8, 2, 0, 0, 0)
BOMB = (
    b"\x89PNG\r\n\x1a\n"
    + struct.pack(">I", 13)
    + _HEADER
    + struct.pack(">I", zlib.crc32(_HEADER))
    + struct.pack(">I", 1)
    + b"IDAT"
)
"""A few bytes that say they are four thousand million pixels."""


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("text.png", b"no image at all", "text.png is no image that PIL knows: remove it"),
        ("cut.png", an_image(0, "png")[:-400], r"cut.png is a damaged image \("),
        ("empty.jpg", b"", "empty.jpg is no image that PIL knows"),
        ("program.jpg", POSTSCRIPT, "program.jpg is no image that PIL knows"),
        ("bomb.png", BOMB, r"bomb.png is an image of more pixels than PIL takes for harmless"),
    ],
)
def test_files_that_are_no_images(own, name, data, sentence):
    """A file that only is named like an image is an error with its name."""
    own.put(f"c/{name}", data)
    dataset = own.open()
    with pytest.raises(Corrupt, match=sentence):
        dataset[2]
    with pytest.raises(Corrupt, match=sentence):
        dataset.__getitems__([0, 1, 2])


def test_errors_of_the_users_functions_name_the_file(own):
    """What a loader or transform raises comes as it is, with a note that says which file it was."""
    with pytest.raises(ZeroDivisionError) as error:
        own.open(transform=lambda _: 1 / 0)[1]
    assert error.value.__notes__ == [f"while making an item of {own.path}/b/2.bin in Alluxio"]


WRONG = {
    "nowhere": ({}, "alluxio:///nowhere/at/all", NotFound, "/nowhere/at/all"),
    "a resource": ({}, "alluxio://datasets/images", InvalidURI, "is a resource and no file"),
    "no such ending": (
        {"extensions": (".tif", ".gif")},
        None,
        NotFound,
        r"no files that end with \.tif, \.gif in alluxio",
    ),
    "no folders": ({}, "a", NotFound, "there are no folders in .* give labels=None"),
    "an empty class": ({"extensions": "1.bin"}, None, NotFound, "no files for the classes b in alluxio:///"),
    "labels of two kinds": (
        {"labels": {"a/1.bin": "one", "b/2.bin": 2}.get},
        None,
        InvalidArgument,
        "and 2 for .*b/2.bin",
    ),
    "labels of no kind": ({"labels": "parent"}, None, InvalidArgument, "labels='parent' is no way"),
    "no threads": ({"threads": 0}, None, InvalidArgument, "threads=0"),
    "nobody there": ({"address": "alluxio://localhost:1/?proxy=1"}, None, Unavailable, "localhost:1 does not answer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_opened(own, case):
    """What is wrong is said when the dataset is made: what, where, and what to do."""
    options, uri, kind, sentence = WRONG[case]
    uri = own.uri if uri is None else uri if "://" in uri else f"{own.uri}/{uri}"
    with pytest.raises(kind, match=sentence):
        FileDataset(uri, **{"address": own.address, **options})
    with pytest.raises(IndexError):
        own.open()[2]
