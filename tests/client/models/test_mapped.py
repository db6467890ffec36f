"""Mapped models: the bytes, who keeps them and the lease alive, and what is refused."""

from __future__ import annotations

import errno
import gc
import mmap
import os

import numpy as np
import pytest
import safetensors

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.errors import Corrupt, InvalidArgument, NotFound, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import Notes

WEIGHT = TensorSpec(name="layer.weight", dtype="F32", shape=(16, 4))
BIAS = TensorSpec(name="layer.bias", dtype="F32", shape=(3,))
SCALAR = TensorSpec(name="steps", dtype="I64", shape=())
EMPTY = TensorSpec(name="none", dtype="BF16", shape=(0, 7))
NUMBERS = np.arange(64, dtype=np.float32)
PARTS = {
    WEIGHT: NUMBERS.tobytes(),
    BIAS: NUMBERS[:3].tobytes(),
    SCALAR: (5).to_bytes(8, "little"),
    EMPTY: b"",
}
FILES = {"config.json": b"{}", "a/b/vocab.txt": b"one\ntwo\n", "empty": b""}
NOTES = Notes(tied={"head.weight": "layer.weight"})


@pytest.fixture
def lease(make_lease):
    """A lease on a small model."""
    return make_lease(PARTS, FILES, NOTES)


def test_every_part_has_its_bytes(lease):
    """Tensors by name, a tied name like the one it is tied to, files by path, the notes; all within the file."""
    with MappedModel(lease) as model:
        assert {name: bytes(model.data(name)) for name in model.tensors} == {s.name: d for s, d in PARTS.items()}
        assert bytes(model.data("head.weight")) == PARTS[WEIGHT]
        assert {path: bytes(data) for path, data in model.files.items()} == FILES
        assert model.notes == NOTES
        assert model.uri == "alluxio://models/x@v1"
        assert all(model.data(name).nbytes == placed.size for name, placed in model.tensors.items())


def test_the_descriptor_is_a_safetensors_file(lease):
    """Whoever reads the format reads the memory, by its path."""
    with MappedModel(lease) as model, safetensors.safe_open(f"/proc/self/fd/{model.descriptor}", "np") as file:
        assert set(file.keys()) == {spec.name for spec in PARTS}
        np.testing.assert_array_equal(file.get_tensor("layer.weight"), NUMBERS.reshape(16, 4))
        assert file.metadata()["format"] == "pt"


def test_writes_stay_in_their_mapping(lease):
    """Tensors are writable, files are not; neither the memory nor another mapping sees a write."""
    with MappedModel(lease) as one, MappedModel(lease) as other:
        one.data("layer.weight")[:4] = b"\xff" * 4
        assert bytes(one.data("layer.weight")[:4]) == b"\xff" * 4
        assert bytes(other.data("layer.weight")) == PARTS[WEIGHT]
        placed = one.tensors["layer.weight"]
        assert os.pread(one.descriptor, placed.size, placed.offset) == PARTS[WEIGHT]
        with pytest.raises(TypeError):
            one.files["config.json"][0] = 1


@pytest.mark.parametrize(
    "keep",
    [
        lambda model: model.data("layer.weight"),
        lambda model: np.frombuffer(model.data("layer.weight"), np.float32)[1:],
        lambda model: model.files["config.json"],
    ],
    ids=["view", "array", "file"],
)
def test_what_was_handed_out_holds_the_lease(lease, keep):
    """After close the bytes stay, and the lease with them; it ends with the last of them, and nothing else ends it."""
    model = MappedModel(lease)
    kept = keep(model)
    before = bytes(memoryview(kept))
    model.close()
    del model
    gc.collect()
    assert not lease.closed
    assert bytes(memoryview(kept)) == before
    del kept
    assert lease.closed


def test_no_cycle_keeps_the_lease(lease):
    """A model that is forgotten gives its lease back at once, without the collector of cycles."""
    gc.disable()
    try:
        model = MappedModel(lease)
        model.data("steps")
        del model
        assert lease.closed
    finally:
        gc.enable()


def test_a_closed_model_says_so(lease):
    """A second close does nothing; what needs the memory names the remedy."""
    model = MappedModel(lease)
    model.close()
    model.close()
    assert model.closed
    for use in (lambda: model.data("steps"), lambda: model.files, lambda: model.tensors, lambda: model.descriptor):
        with pytest.raises(Unavailable, match="open it again"):
            use()


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
def test_the_end_of_a_forked_child_ends_no_lease(lease):
    """A child reads what it inherited, lets go of it, and the parent's lease and bytes stay."""
    model = MappedModel(lease)
    data = model.data("layer.weight")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            right = bytes(data) == PARTS[WEIGHT]
            data[:1] = b"\x01"
            model.close()
            del model, data
            status = 0 if right and lease.closed else 1
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert not lease.closed
    assert bytes(data) == PARTS[WEIGHT]


def test_a_part_may_be_opened_alone(make_lease):
    """Only tensors: no files; and a name that is not there is told with those like it."""
    with MappedModel(make_lease(PARTS, None, NOTES)) as model:
        assert model.files == {}
        with pytest.raises(NotFound, match=r"no tensor 'layer\.wieght' - did you mean 'layer\.weight'"):
            model.data("layer.wieght")


@pytest.mark.parametrize("parts", [(), ("weights",), ("tensors", "notes")])
def test_unknown_parts_are_refused(parts):
    """Before a sidecar is asked."""
    with pytest.raises(InvalidArgument, match="'tensors' and 'files'"):
        MappedModel.open("alluxio://models/x", parts)


@pytest.mark.parametrize(
    ("tied", "why"),
    [({"steps": "none"}, "tie 'steps'"), ({"a": "b"}, "tie 'a' to 'b'")],
)
def test_notes_that_contradict_the_tensors_are_refused(make_lease, tied, why):
    """A tie to nothing, or of a name that has bytes."""
    lease = make_lease(PARTS, FILES, Notes(tied=tied))
    with pytest.raises(Corrupt, match=why):
        MappedModel(lease)


@pytest.mark.parametrize(
    "raw",
    [b"\x10", (1 << 40).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}", b"\0" * 5000],
    ids=["short", "long-head", "no-notes", "zeros"],
)
def test_memory_that_is_no_model_is_refused(make_lease, raw):
    """A head that lies, or one without notes: a sentence, and no lease is left."""
    lease = make_lease(PARTS, FILES, NOTES, raw)
    with pytest.raises(InvalidArgument, match=r"alluxio://models/x@v1|the notes of the model"):
        MappedModel(lease)
    gc.collect()
    assert lease.closed


def test_paths_that_leave_the_folder_are_refused(make_lease):
    """Also in memory, which another release may have filled."""
    with pytest.raises(InvalidArgument, match=r"\.\./out"):
        MappedModel(make_lease(PARTS, {"../out": b""}, NOTES))


@pytest.mark.parametrize("enough", [True, False])
def test_writes_into_huge_pages_are_claimed_beforehand(make_lease, monkeypatch, enough):
    """With enough of them no write can fail; with too few the model is readable and says so. Nobody else is asked.

    The pages are ordinary ones, and a stand-in refuses as the kernel does: there is one number of huge pages for all.
    """
    asked = []
    real = mmap.mmap

    def mapped(descriptor: int, length: int, *more: int) -> mmap.mmap:
        asked.append(length)
        if enough:
            return real(descriptor, length, *more)
        raise OSError(errno.ENOMEM, "no huge pages")

    monkeypatch.setattr(mmap, "mmap", mapped)
    for pages in (Pages.SMALL, Pages.TRANSPARENT):
        with MappedModel(make_lease(PARTS, FILES, NOTES, pages=pages), reserve=True) as model:
            assert not model.writes_may_fail
    with MappedModel(make_lease(PARTS, FILES, NOTES, pages=Pages.HUGE)) as model:
        assert model.writes_may_fail
    assert asked == []
    lease = make_lease(PARTS, FILES, NOTES, pages=Pages.HUGE)
    with MappedModel(lease, reserve=True) as model:
        assert len(asked) == 1
        assert model.writes_may_fail is not enough
        kept = model.data("layer.weight")
        assert bytes(kept) == PARTS[WEIGHT]
        kept[:1] = b"\x01"
        assert os.pread(model.descriptor, 1, model.tensors["layer.weight"].offset) == PARTS[WEIGHT][:1]
    assert not lease.closed
    del kept, model
    assert lease.closed
