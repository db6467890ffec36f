"""``decode="image"``: pictures as tensors, by torchvision or Pillow, and what is said of bytes that are none."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from alluxio_lance.errors import Corrupt, InvalidArgument, NotFound, Unavailable
from alluxio_lance.frameworks.torch import decoding

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch

COUNT = 30
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 20, 32, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """Write a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photos(node) -> str:
    """Register PNG pictures of one size, which lose nothing."""
    files = pa.array([encoded(pixels) for pixels in PIXELS], pa.binary())
    return node.register("photos", pa.table({"photo": files, "number": np.arange(COUNT)})).uri


@pytest.fixture(params=["torchvision", "pillow"])
def library(request, monkeypatch):
    """Decode with one of the two; torchvision only where no TensorFlow was loaded, which it would end."""
    if request.param == "torchvision" and "tensorflow" in sys.modules:
        pytest.skip("TensorFlow is loaded: test_both_libraries runs torchvision in a process of its own")
    if request.param == "pillow":
        monkeypatch.setitem(sys.modules, "torchvision", None)
        monkeypatch.setitem(sys.modules, "torchvision.io", None)
    decoding._library.cache_clear()
    yield request.param
    decoding._library.cache_clear()


def opened(node, name: str, files: list[bytes | None], **options):
    """Register files under a name and open them decoded."""
    from alluxio.torch import Dataset

    node.register(name, pa.table({"photo": pa.array(files, pa.binary()), "number": np.arange(len(files))}))
    return Dataset(f"alluxio://datasets/{name}", address=node.at, **{"decode": "image", **options})


@pytest.mark.parametrize(("library", "workers"), [("torchvision", 2), ("pillow", 0)])
def test_both_libraries(node, photos, tmp_path, library, workers):
    """A plain DataLoader delivers the pixels that were encoded, stacked, with torchvision and without it."""
    np.save(tmp_path / "pixels.npy", PIXELS.transpose(0, 3, 1, 2))
    script = [sys.executable, Path(__file__).with_name("pictures.py"), library, node.at, photos]
    done = subprocess.run(
        [*script, tmp_path / "pixels.npy", str(workers)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == library


def test_every_kind_of_picture_is_rgb(node, library):
    """Grey, 16 bits, with a palette, transparent, CMYK, animated: all become uint8 [3, height, width]."""
    grey, pixels = PIXELS[0, :, :, 0], PIXELS[0]
    still = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(still, "JPEG", quality=100, subsampling=0)
    film = io.BytesIO()
    frames = [Image.fromarray(np.full((20, 32), value, np.uint8)) for value in (10, 200)]
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    files = [
        encoded(grey),
        encoded(grey.astype(np.uint16) * 257),
        encoded(np.dstack([pixels, np.full((20, 32), 255, np.uint8)])),
        encoded(pixels, "JPEG", quality=100, subsampling=0),
        still.getvalue(),
        film.getvalue(),
    ]
    name = f"kinds-{library}"
    with opened(node, name, files) as dataset:
        found = dataset.batch(range(len(files)))["photo"]
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (6, 3, 20, 32))
    whole = torch.from_numpy(pixels).permute(2, 0, 1)
    assert all(torch.equal(found[place][0], torch.from_numpy(grey)) for place in (0, 1))
    assert torch.equal(found[2], whole)
    for place in (3, 4):
        assert (found[place].int() - whole.int()).abs().float().mean() < 8
    assert found[5].unique().tolist() == [10]


def test_sizes_that_differ_stay_a_list(node, library):
    """A batch of them is a list; transform brings them to one size."""
    from torch.utils.data import DataLoader

    files = [encoded(PIXELS[place][: 10 + place]) for place in range(4)]
    with opened(node, f"sizes-{library}", files) as dataset:
        found = dataset.batch(range(4))["photo"]
        assert [tuple(picture.shape) for picture in found] == [(3, 10 + place, 32) for place in range(4)]
    with opened(node, f"sizes-cut-{library}", files, transform=lambda row: row["photo"][:, :10]) as dataset:
        (batch,) = DataLoader(dataset, batch_size=4)
    assert torch.equal(batch, torch.from_numpy(PIXELS[:4, :10]).permute(0, 3, 1, 2))


def test_rows_of_the_users_own_hands_are_stacked_too(node, photos):
    """A collate function that picks rows gets the same tensor from default_collate."""
    from torch.utils.data import DataLoader, default_collate

    from alluxio.torch import Dataset

    with Dataset(photos, decode="image", address=node.at) as dataset:
        loader = DataLoader(dataset, batch_size=4, collate_fn=lambda rows: default_collate([rows[2], rows[0]]))
        batch = next(iter(loader))
    assert torch.equal(batch["photo"], torch.from_numpy(PIXELS[[2, 0]]).permute(0, 3, 1, 2))


def test_nulls(node, library):
    """A null is None and keeps its batch a list; fill_null gives it a picture."""
    files = [encoded(PIXELS[0]), None]
    with opened(node, f"nulls-{library}", files) as dataset:
        assert dataset[1]["photo"] is None
        assert dataset.batch([0, 1])["photo"][1] is None
    with opened(node, f"nulls-filled-{library}", files, fill_null={"photo": encoded(PIXELS[5])}) as dataset:
        assert torch.equal(dataset.batch([1, 0])["photo"], torch.from_numpy(PIXELS[[5, 0]]).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    "wrong",
    [encoded(PIXELS[1])[:-200], encoded(PIXELS[1], "JPEG")[:-200], b"no picture", b""],
    ids=["torn PNG", "torn JPEG", "text", "nothing"],
)
def test_what_is_no_picture_is_said_with_its_row(node, library, wrong):
    """The error names row, column and version; the other rows stay readable."""
    name = f"wrong-{library}-{len(wrong)}"
    with opened(node, name, [encoded(PIXELS[0]), wrong, encoded(PIXELS[2])]) as dataset:
        for read in (lambda: dataset[1], lambda: dataset[-2], lambda: dataset.batch([2, 1])):
            with pytest.raises(Corrupt, match=rf"row 1 of column 'photo' of alluxio://datasets/{name}") as caught:
                read()
            assert caught.value.details == {"row": 1, "column": "photo"}
        assert dataset.batch([0, 2])["photo"].shape == (2, 3, 20, 32)
        with pytest.raises(IndexError):
            dataset[3]


def test_wrong_arguments(node, photos, kinds):
    """What cannot be decoded is said when the dataset is opened."""
    from alluxio.torch import Dataset

    for uri, decode, error, said in (
        (photos, "sound", InvalidArgument, "decode='sound'"),
        (photos, {"photo": "sound"}, InvalidArgument, "decode='sound'"),
        (photos, {"picture": "image"}, NotFound, "'picture'"),
        (photos, {"number": "image"}, InvalidArgument, "'number' .* not binary"),
        (kinds, {"text": "image"}, InvalidArgument, "'text' .* not binary"),
    ):
        with pytest.raises(error, match=said):
            Dataset(uri, decode=decode, address=node.at)
    with pytest.raises(InvalidArgument, match="no binary column"):
        Dataset(photos, ["number"], decode="image", address=node.at)


def test_without_a_library_the_dataset_does_not_open(node, photos, monkeypatch):
    """The sentence says what to install."""
    from alluxio.torch import Dataset

    for name in ("torchvision", "torchvision.io", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    decoding._library.cache_clear()
    with pytest.raises(Unavailable, match="pip install pillow"):
        Dataset(photos, decode="image", address=node.at)
    decoding._library.cache_clear()


def test_datasets_put_together_decode_alike(node, photos):
    """Pictures of one and bytes of the other would be mixed in a column."""
    from alluxio.torch import Dataset, concat

    with (
        Dataset(photos, decode="image", address=node.at) as decoded,
        Dataset(photos, address=node.at) as plain,
        pytest.raises(InvalidArgument, match=r"decodes \[\] instead of \['photo'\]"),
    ):
        concat([decoded, plain])
