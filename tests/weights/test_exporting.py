"""Models as files again: byte for byte, whole or not at all, and never in place of something else unasked."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from safetensors.numpy import load_file

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound
from alluxio_lance.weights import exporting
from alluxio_lance.weights.exporting import export_file, export_folder, export_npz
from alluxio_lance.weights.header import TensorSpec, make_head
from alluxio_lance.weights.importing import read_model
from alluxio_lance.weights.rows import Tensor

VALUES = np.arange(50_000, dtype=np.float32)


@pytest.fixture
def memory():
    """Give the descriptor and the length of a safetensors file in memory that is longer than it."""
    head = make_head([TensorSpec(name="x", dtype="F32", shape=VALUES.shape)])
    descriptor = os.memfd_create("model")
    os.write(descriptor, head.raw + VALUES.tobytes() + b"\0" * 1000)
    yield descriptor, head.length
    os.close(descriptor)


def tensor(name, array, dtype):
    """Make a tensor of an array."""
    spec = TensorSpec(name=name, dtype=dtype, shape=array.shape)
    return Tensor(spec, lambda: memoryview(array.tobytes()))


def names(folder):
    """Return what is there, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_the_memory_byte_for_byte(memory, tmp_path, monkeypatch):
    """In several steps, with progress; with the rights that any new file has."""
    monkeypatch.setattr(exporting, "_STEP", 100_000)
    seen = []
    export_file(*memory, tmp_path / "m.safetensors", on_progress=seen.append)
    assert (tmp_path / "m.safetensors").read_bytes() == os.pread(memory[0], memory[1], 0)
    assert [(each.bytes, each.total_bytes) for each in seen] == [
        (100_000, memory[1]),
        (200_000, memory[1]),
        (memory[1], memory[1]),
    ]
    assert load_file(tmp_path / "m.safetensors")["x"].tobytes() == VALUES.tobytes()
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_memory_that_the_kernel_does_not_send_is_copied(memory, tmp_path, monkeypatch):
    """As some kernels refuse huge pages; another fault is the caller's."""

    def refuse(*_):
        raise OSError(errno.EINVAL, "invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    monkeypatch.setattr(exporting, "_STEP", 70_000)
    export_file(*memory, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == os.pread(memory[0], memory[1], 0)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_nothing(memory, tmp_path, monkeypatch, overwrite):
    """No half file under the name or beside it; what was to be replaced stays."""

    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    if overwrite:
        (tmp_path / "m.safetensors").write_bytes(b"old")
    before = names(tmp_path)
    monkeypatch.setattr(os, "sendfile", full)
    for export in (
        lambda: export_file(*memory, tmp_path / "m.safetensors", overwrite=overwrite),
        lambda: export_folder(*memory, {"a/b.txt": memoryview(b"b")}, tmp_path / "m"),
    ):
        with pytest.raises(OSError, match="no space"):
            export()
    assert names(tmp_path) == before
    assert not overwrite or (tmp_path / "m.safetensors").read_bytes() == b"old"


def test_nothing_is_replaced_unasked(memory, tmp_path):
    """Neither a file nor a folder nor a link; a file is, when told."""
    taken = tmp_path / "taken"
    taken.write_bytes(b"old")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    spec = tensor("x", VALUES, "F32")
    for name in ("taken", "link", "folder"):
        with pytest.raises(AlreadyExists, match=f"{name} is there already"):
            export_file(*memory, tmp_path / name)
        with pytest.raises(AlreadyExists, match="is there already"):
            export_folder(*memory, {}, tmp_path / name)
        with pytest.raises(AlreadyExists, match="is there already"):
            export_npz([spec], tmp_path / name)
    with pytest.raises(AlreadyExists, match="folder is there already"):
        export_file(*memory, tmp_path / "folder", overwrite=True)
    assert taken.read_bytes() == b"old"
    export_npz([spec], taken, overwrite=True)
    assert np.load(taken)["x"].tobytes() == VALUES.tobytes()
    with pytest.raises(NotFound, match="make it first"):
        export_file(*memory, tmp_path / "no" / "m")
    assert names(tmp_path) == ["folder", "link", "taken"]


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "模" * 85])
def test_the_longest_names_can_be_exported(memory, tmp_path, name):
    """The name that stands for it meanwhile is not longer than file systems take."""
    export_file(*memory, tmp_path / name)
    assert names(tmp_path) == [name]


def test_somebody_who_was_quicker_is_not_overwritten(memory, tmp_path):
    """What appears while the file is written stays."""
    path = tmp_path / "m.safetensors"
    with pytest.raises(AlreadyExists, match="meanwhile"):
        export_file(*memory, path, on_progress=lambda _: path.write_bytes(b"other"))
    assert (names(tmp_path), path.read_bytes()) == (["m.safetensors"], b"other")


def test_a_folder_has_tensors_and_files(memory, tmp_path):
    """And is what the importer reads again."""
    files = {"config.json": memoryview(b"{}"), "a/b/c.txt": memoryview(b""), "big": memoryview(b"x" * 100_000)}
    export_folder(*memory, files, tmp_path / "m")
    parts = read_model(tmp_path / "m")
    assert {each.path: bytes(each.data()) for each in parts.files} == {key: bytes(each) for key, each in files.items()}
    assert [bytes(each.data()) for each in parts.tensors] == [VALUES.tobytes()]
    export_folder(None, 0, files, tmp_path / "files")
    assert names(tmp_path / "files") == ["a", "big", "config.json"]


@pytest.mark.parametrize("path", ["model.safetensors", "../x", "/x", "model.safetensors/x"])
def test_files_that_cannot_lie_in_the_folder_are_refused(memory, tmp_path, path):
    """Nothing is written outside of it."""
    with pytest.raises(InvalidArgument, match="cannot have"):
        export_folder(*memory, {path: memoryview(b"")}, tmp_path / "m")
    assert names(tmp_path) == []


def test_an_archive_is_what_numpy_reads(tmp_path):
    """Every element type that numpy has, scalars and empty arrays, complex128 by its view."""
    arrays = {code: (np.arange(6).reshape(2, 3).astype(code), name) for name, code in exporting.NUMPY_CODES.items()} | {
        "0d": (np.array(1.5), "F64"),
        "empty": (np.zeros((0, 2), np.float16), "F16"),
    }
    pairs = np.arange(4.0).reshape(2, 2)
    tensors = [tensor(code, array, name) for code, (array, name) in arrays.items()]
    seen = []
    export_npz([*tensors, tensor("z", pairs, "F64")], tmp_path / "m.npz", {"z": "complex128"}, on_progress=seen.append)
    found = np.load(tmp_path / "m.npz")
    for code, (array, _) in arrays.items():
        assert (found[code].dtype, found[code].shape, found[code].tobytes()) == (
            array.dtype,
            array.shape,
            array.tobytes(),
        )
    assert found["z"].tolist() == [1j, 2 + 3j]
    assert seen[-1].bytes == seen[-1].total_bytes
    again = {each.spec: bytes(each.data()) for each in read_model(tmp_path / "m.npz").tensors}
    assert again == {each.spec: bytes(each.data()) for each in [*tensors, tensor("z", pairs, "F64")]}


@pytest.mark.parametrize(("name", "dtype"), [("x", "BF16"), ("x", "F8_E4M3"), ("../x", "U8"), ("/x", "U8")])
def test_what_an_archive_cannot_hold_is_refused(tmp_path, name, dtype):
    """Types that numpy does not have, and names that would leave a folder."""
    with pytest.raises(InvalidArgument, match=r"export safetensors|cannot have"):
        export_npz([Tensor(TensorSpec(name=name, dtype=dtype, shape=(2,)), memoryview)], tmp_path / "m.npz")
    assert names(tmp_path) == []
