"""Models from paths: what becomes a tensor, what a file, and what is refused with which sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, NotFound
from alluxio_lance.weights.importing import mapped as mapped_module
from alluxio_lance.weights.importing import npz as npz_module
from alluxio_lance.weights.importing import read_model
from alluxio_lance.weights.rows import Notes, source_of


def tensors_of(parts):
    """Return type, shape and bytes by name."""
    return {each.spec.name: (each.spec.dtype, each.spec.shape, bytes(each.data())) for each in parts.tensors}


def files_of(parts):
    """Return the contents by path."""
    return {each.path: bytes(each.data()) for each in parts.files}


def expected(arrays, names=None):
    """Return what `tensors_of` should, of arrays."""
    names = names or {"float32": "F32", "int64": "I64", "float16": "F16"}
    return {key: (names[array.dtype.name], array.shape, array.tobytes()) for key, array in arrays.items()}


ARRAYS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty": np.zeros((0, 5), np.float16),
    "steps": np.array(3, np.int64),
}


# -- safetensors -------------------------------------------------------------------------------------------------------


def test_a_safetensors_file_becomes_tensors_and_notes(tmp_path):
    """What its writer put into the metadata stays findable, but for the mark of the format."""
    save_file(ARRAYS, tmp_path / "m.safetensors", metadata={"format": "pt", "rank": "8"})
    parts = read_model(tmp_path / "m.safetensors")
    assert tensors_of(parts) == expected(ARRAYS)
    assert (parts.files, parts.notes) == ((), Notes(extra={"safetensors": {"rank": "8"}}))


def test_notes_of_an_exported_model_come_back(tmp_path):
    """Ties are tied again; those that cannot be are refused."""
    notes = Notes(tied={"head": "a.weight"}, extra={"framework": "x"})
    save_file(ARRAYS, tmp_path / "m.safetensors", metadata={"alluxio_lance": notes.to_json().decode()})
    parts = read_model(tmp_path / "m.safetensors")
    assert parts.notes == notes
    source_of(parts.tensors, parts.files, parts.notes).reader.read_all()
    for tied in ({"head": "none"}, {"steps": "a.weight"}):
        wrong = Notes(tied=tied).to_json().decode()
        save_file(ARRAYS, tmp_path / "m.safetensors", metadata={"alluxio_lance": wrong})
        with pytest.raises(InvalidArgument, match=r"m\.safetensors: .* cannot be tied to"):
            read_model(tmp_path / "m.safetensors")


def test_a_file_that_changes_its_size_meanwhile_is_refused(tmp_path):
    """Memory beyond the end of a file would end the process."""
    path = tmp_path / "m.safetensors"
    save_file({"x": np.zeros(100_000, np.float32)}, path)
    parts = read_model(path)
    os.truncate(path, 1000)
    with pytest.raises(InvalidArgument, match="wait until it is written"):
        parts.tensors[0].data()


def test_a_file_that_is_written_to_meanwhile_is_refused(tmp_path):
    """Its head would be of one state and its tensors of another; so for files that are kept as they are."""
    for name, data in {"m.safetensors": save(ARRAYS), "m.gguf": b"GGUF"}.items():
        (tmp_path / name).write_bytes(data)
        parts = read_model(tmp_path / name)
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, ns=(1, 1))
        with pytest.raises(InvalidArgument, match="was written to meanwhile"):
            (*parts.tensors, *parts.files)[0].data()


def test_a_file_that_is_cut_short_takes_no_bytes_back(tmp_path):
    """To touch what was mapped beyond the new end would end the process by SIGBUS."""
    path = tmp_path / "m.safetensors"
    save_file({"x": np.ones(100_000, np.float32)}, path)
    data = read_model(path).tensors[0].data()
    os.truncate(path, 0)
    assert bytes(data) == np.ones(100_000, np.float32).tobytes()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    """Whatever comes there after the look at the folder."""
    (tmp_path / "a").write_bytes(b"")
    (part,) = read_model(tmp_path).files
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    with pytest.raises(InvalidArgument, match="no plain file any more"):
        part.data()


def test_parts_that_are_too_large_to_be_read_are_mapped(tmp_path, monkeypatch):
    """The bytes are the same."""
    save_file(ARRAYS, tmp_path / "m.safetensors")
    (tmp_path / "b").write_bytes(bytes(range(100)))
    expected = read_model(tmp_path)
    monkeypatch.setattr(mapped_module, "_MOST_READ", 10)
    parts = read_model(tmp_path)
    assert tensors_of(parts) == tensors_of(expected)
    assert files_of(parts) == {"b": bytes(range(100))}


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 100, save(ARRAYS)[:-1], save(ARRAYS) + b"x"])
def test_damaged_safetensors_are_refused(tmp_path, data):
    """Also an empty one, which cannot even be mapped."""
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(InvalidArgument, match=r"m\.safetensors"):
        read_model(tmp_path / "m.safetensors")


# -- folders -----------------------------------------------------------------------------------------------------------


def folder_of(path, files):
    """Write files into a folder; arrays become safetensors."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(save(data) if isinstance(data, dict) else data)
    return path


def index(where):
    """Return the index of shards."""
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": where}).encode()


FIRST, SECOND = {"x": np.ones(2, np.float32)}, {"y": np.arange(3, dtype=np.int64)}


def test_a_folder_becomes_tensors_and_files(tmp_path):
    """Safetensors files directly in it are one set of tensors; what lies below, or begins with a dot, is not."""
    folder_of(
        tmp_path,
        {
            "model.safetensors": FIRST,
            "more.safetensors": SECOND,
            "config.json": b"{}",
            "LICENSE": b"",
            "pooling/model.safetensors": FIRST,
            ".git/HEAD": b"ref",
            ".gitattributes": b"x",
        },
    )
    parts = read_model(tmp_path)
    assert tensors_of(parts) == expected(FIRST | SECOND)
    assert files_of(parts) == {"config.json": b"{}", "LICENSE": b"", "pooling/model.safetensors": save(FIRST)}


def test_shards_are_read_as_their_index_says(tmp_path):
    """The index is not kept, since what is exported is one file; other safetensors beside the shards are files."""
    where = {"x": "m-1.safetensors", "y": "m-2.safetensors"}
    files = {
        "m.safetensors.index.json": index(where),
        "m-1.safetensors": FIRST,
        "m-2.safetensors": SECOND,
        "consolidated.safetensors": FIRST,
    }
    parts = read_model(folder_of(tmp_path, files))
    assert tensors_of(parts) == expected(FIRST | SECOND)
    assert list(files_of(parts)) == ["consolidated.safetensors"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"i": index({"x": "a.safetensors", "y": "a.safetensors"})}, "says that tensor 'y' is in a.safetensors, and"),
        ({"i": index({"x": "b.safetensors"}), "b.safetensors": SECOND}, "says that tensor 'x' is in b.safetensors"),
        ({"i": index({}), "b.safetensors": SECOND}, None),
        ({"i": index({"x": "c.safetensors"})}, "names the shard 'c.safetensors', which is not in the folder"),
        ({"i": index({"x": "../a.safetensors"})}, "names the shard"),
        ({"i": index({"x": "sub/a.safetensors"}), "sub/a.safetensors": FIRST}, "names the shard 'sub/a"),
        ({"i": index({"x": "config.json"}), "config.json": b"{}"}, "names the shard 'config.json'"),
        ({"i": index({"x": 5})}, "names the shard '5'"),
        ({"i": b"{"}, "is no index"),
        ({"i": b"[]"}, "is no index"),
        ({"i": b'{"weight_map": []}'}, "is no index"),
        ({"i": b'{"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}}'}, "comes twice"),
        ({"i": index({"x": "a.safetensors"}), "b.safetensors.index.json": index({})}, "has the indexes"),
        ({"b.safetensors": FIRST}, "tensor 'x' is in a.safetensors and in b.safetensors"),
        (
            {"i": index({"x": "a.safetensors", "y": "b.safetensors"}), "b.safetensors": FIRST | SECOND},
            "tensor 'x' is in",
        ),
        ({"i": index({"x": "b.safetensors"}), "b.safetensors": FIRST | SECOND}, "does not name tensor 'y'"),
        ({"optimizer.pt": b""}, r"'optimizer\.pt' is a pickle.*alluxio\.torch\.save_model"),
        ({"sub/scaler.pkl": b""}, r"'sub/scaler\.pkl' is a pickle.*as \.safetensors"),
        ({"pytorch_model.bin": pickle.dumps([1])}, r"'pytorch_model\.bin' is a pickle"),
        ({"bad\\name": b""}, "backslash"),
    ],
)
def test_what_is_wrong_in_a_folder_is_said(tmp_path, files, message):
    """Beside a sound ``a.safetensors`` with the tensor x; an index that names nothing means a model of files."""
    names = {"i": "a.safetensors.index.json"}
    folder_of(tmp_path, {"a.safetensors": FIRST} | {names.get(name, name): data for name, data in files.items()})
    if message is None:
        assert read_model(tmp_path).tensors == ()
        return
    with pytest.raises(InvalidArgument, match=message):
        read_model(tmp_path)


def test_what_is_excluded_is_not_even_looked_at(tmp_path):
    """Patterns are of paths within the folder."""
    folder_of(tmp_path, {"a.safetensors": FIRST, "b.safetensors": FIRST, "x/y.pt": b"", "c.txt": b"c"})
    parts = read_model(tmp_path, exclude=["b.*", "x/*"])
    assert (list(tensors_of(parts)), list(files_of(parts))) == (["x"], ["c.txt"])
    with pytest.raises(InvalidArgument, match="holds no file of a model"):
        read_model(tmp_path, exclude=["*"])
    with pytest.raises(InvalidArgument, match="of a folder alone"):
        read_model(tmp_path / "c.txt", exclude=["x"])


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("../outside.txt", "is a link out of the folder.*cp -rL"),
        ("/etc/hostname", "is a link out of the folder"),
        ("nowhere", "is a link that leads nowhere"),
        ("loop", "is a link that leads nowhere"),
        ("sub", "is a link to a folder"),
        ("..", "is a link to a folder"),
    ],
)
def test_links_out_of_a_folder_are_refused(tmp_path, link, message):
    """No file of somebody else's gets into a model through them."""
    folder_of(tmp_path, {"outside.txt": b"secret", "m/a.safetensors": FIRST, "m/sub/b": b""})
    (tmp_path / "m" / "loop").symlink_to(link)
    with pytest.raises(InvalidArgument, match=message):
        read_model(tmp_path / "m")


def test_what_could_not_be_read_can_be_excluded(tmp_path):
    """As the messages advise."""
    folder_of(tmp_path, {"m/a.safetensors": FIRST, "m/sub/b": b"b"})
    (tmp_path / "m" / "sub" / "nowhere").symlink_to("nothing")
    (tmp_path / "m" / "folder").symlink_to("sub")
    os.mkfifo(tmp_path / "m" / "pipe")
    assert files_of(read_model(tmp_path / "m", exclude=["sub/nowhere", "folder", "pipe"])) == {"sub/b": b"b"}


def test_a_link_within_the_folder_is_what_it_leads_to(tmp_path):
    """As the folder itself may be one."""
    folder_of(tmp_path, {"m/a.safetensors": FIRST})
    (tmp_path / "m" / "again").symlink_to("a.safetensors")
    (tmp_path / "linked").symlink_to("m")
    assert files_of(read_model(tmp_path / "linked")) == {"again": save(FIRST)}


def test_special_files_are_refused(tmp_path):
    """A pipe would be waited for without an end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidArgument, match=r"no plain file|neither a file nor a folder"):
            read_model(path)


# -- archives of numpy -------------------------------------------------------------------------------------------------

NUMPY = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_an_archive_becomes_tensors(tmp_path, write):
    """Of every element type; whatever the order of bytes and dimensions in the archive is."""
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in NUMPY} | {"sub/e": np.zeros((0, 2), "float32")}
    odd = {"fortran": np.asfortranarray(arrays["float64"]), "big": arrays["int32"].astype(">i4"), "0d": np.float32(2)}
    write(tmp_path / "m.npz", **arrays, **odd)
    parts = read_model(tmp_path / "m.npz")
    straight = {"fortran": arrays["float64"], "big": arrays["int32"], "0d": np.array(2, np.float32)}
    assert tensors_of(parts) == expected(arrays | straight, NUMPY)


def test_a_version_2_head_and_one_of_python_2_are_read(tmp_path):
    """As older and larger arrays have them."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ones(2, np.float32), version=(2, 0))
    old = npy(None, "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L), }", np.ones(2, "<f4").tobytes())
    _zip(tmp_path / "m.npz", [("two.npy", file.getvalue()), ("old.npy", old)])
    found = tensors_of(read_model(tmp_path / "m.npz"))
    assert {name: shape for name, (_, shape, _) in found.items()} == {"two": (2,), "old": (1, 2)}


def test_complex128_is_noted_as_a_view(tmp_path):
    """The format has no such type: it is stored as pairs."""
    values = np.array([[1 + 2j, 3 - 4j]])
    np.savez(tmp_path / "m.npz", z=values)
    parts = read_model(tmp_path / "m.npz")
    assert tensors_of(parts) == {"z": ("F64", (1, 2, 2), values.tobytes())}
    assert parts.notes == Notes(views={"z": "complex128"})


def npy(array, head=None, data=None):
    """Return a .npy file, with another head or other bytes than belong to it."""
    file = io.BytesIO()
    if head is None:
        np.lib.format.write_array(file, array, allow_pickle=True)
        return file.getvalue()
    text = head.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def _zip(path, members, **how):
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, data in members:
            archive.writestr(name, data)


ONE = npy(np.ones(1, np.float32))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("x.npy", npy(np.array([{}], object)))], "holds Python objects, as a pickle"),
        ([("x.npy", npy(np.array(["text"])))], "has the element type '<U4'"),
        ([("x.npy", npy(np.array([1], "M8[s]")))], "has the element type '<M8"),
        ([("x.npy", npy(np.zeros(1, "V2")))], r"has the element type '\|V2"),
        ([("x.npy", npy(np.zeros(1, [("a", "f4")])))], "has the element type"),
        ([("x.npy", npy(None, "{'descr':'<f4','fortran_order':False,'shape':(9,)}", b"1234"))], "by its shape 36"),
        ([("x.npy", npy(None, "{'descr':'<f4','fortran_order':False,'shape':(-1,)}", b"1234"))], "is no array"),
        ([("x.npy", npy(None, "{'descr':'<f4','fortran_order':False,'shape':(2**9,)}", b""))], "is no array"),
        ([("x.npy", npy(None, "{'descr':'<f4','fortran_order':False,'shape':" + "(9" * 30, b""))], "is no array"),
        ([("x.npy", npy(None, f"{{'descr':'<f4','fortran_order':False,'shape':({10**30},)}}", b""))], "has the shape"),
        ([("x.npy", npy(None, f"{{'descr':'<f4','fortran_order':False,'shape':({10**18},)}}", b""))], "by its shape 4"),
        ([("x.npy", npy(None, "{'descr':'<f4','fortran_order':False,'shape':(1,,)}", b"1234"))], "has the shape"),
        ([("x.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 20_000)], "is no array"),
        ([("x.npy", b"\x93NUMPY\x09\x00")], "is no array"),
        ([("x.npy", b"no numpy")], "is no array"),
        ([("x.npy", b"")], "is no array"),
        ([("x.npy", ONE), ("x.npy", ONE)], "holds 'x.npy' twice"),
        ([("x.txt", b"text")], "holds 'x.txt': an archive of numpy arrays holds"),
        ([(".npy", ONE)], "holds '.npy'"),
    ],
)
def test_what_is_wrong_in_an_archive_is_said(tmp_path, members, message):
    """No pickle is read, no array believed that is not there."""
    _zip(tmp_path / "m.npz", members)
    with pytest.raises(InvalidArgument, match=message):
        read_model(tmp_path / "m.npz")


def test_damaged_archives_are_refused(tmp_path):
    """Cut short, of flipped bits, of a compression that numpy does not write, encrypted."""
    path = tmp_path / "m.npz"
    np.savez_compressed(path, x=np.arange(1000))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(InvalidArgument, match="no archive of numpy arrays"):
        read_model(path)
    for at in (200, 400):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(InvalidArgument, match="damaged"):
            read_model(path).tensors[0].data()
    _zip(path, [("x.npy", ONE)], compression=zipfile.ZIP_LZMA)
    with pytest.raises(InvalidArgument, match="compression"):
        read_model(path)
    _zip(path, [("x.npy", ONE)])
    # Bit 0 of the flags, in the local and in the central head: encrypted.
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InvalidArgument, match="encrypted"):
        read_model(path)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    """By what its heads say, before anything is inflated; what is stored plainly never is such a bomb."""
    monkeypatch.setattr(npz_module, "_HARMLESS", 1 << 16)
    zeros = np.zeros(1 << 20, np.uint8)
    np.savez_compressed(tmp_path / "bomb.npz", x=zeros)
    with pytest.raises(InvalidArgument, match="would inflate to"):
        read_model(tmp_path / "bomb.npz")
    np.savez(tmp_path / "plain.npz", x=zeros)
    assert tensors_of(read_model(tmp_path / "plain.npz"))["x"][1] == (1 << 20,)


# -- all else ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.onnx", "m.gguf", "m.bin", "m.h5"])
def test_other_files_are_kept_as_they_are(tmp_path, name):
    """One file, no tensors."""
    (tmp_path / name).write_bytes(b"\x08\x07bytes")
    parts = read_model(tmp_path / name)
    assert (parts.tensors, files_of(parts)) == ((), {name: b"\x08\x07bytes"})


def test_an_empty_file_is_a_file(tmp_path):
    """Although it cannot be mapped."""
    (tmp_path / "LICENSE").touch()
    assert files_of(read_model(tmp_path / "LICENSE")) == {"LICENSE": b""}


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.ckpt", "m.pkl", "m.pickle", "m.joblib", "M.PT"])
def test_pickles_are_refused_by_their_names(tmp_path, name):
    """With the call that reads those of PyTorch."""
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidArgument, match="is a pickle, and reading one can run any code"):
        read_model(tmp_path / name)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_refused_by_their_bytes(tmp_path, protocol):
    """Whatever they are called, and within an archive as PyTorch writes it."""
    data = pickle.dumps({"x": 1}, protocol)
    (tmp_path / "weights.dat").write_bytes(data)
    _zip(tmp_path / "model.bin", [("archive/data.pkl", data)])
    for name in ("weights.dat", "model.bin"):
        with pytest.raises(InvalidArgument, match="is a pickle"):
            read_model(tmp_path / name)


def test_an_archive_without_a_pickle_is_a_file(tmp_path):
    """Also one that is damaged: its bytes are kept, nobody reads them here."""
    _zip(tmp_path / "a.zip", [("x", b"")])
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and no more")
    assert list(files_of(read_model(tmp_path))) == ["a.zip", "b.zip"]


def test_what_is_not_there_is_not_found(tmp_path):
    """With its path."""
    with pytest.raises(NotFound, match="none"):
        read_model(tmp_path / "none")


def test_noise_never_ends_in_another_error(tmp_path):
    """Archives and safetensors with bytes changed at random."""
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)  # noqa: T201 - shown when it fails
    random = np.random.default_rng(seed)
    np.savez_compressed(tmp_path / "m.npz", **ARRAYS)
    save_file(ARRAYS, tmp_path / "m.safetensors")
    for name in ("m.npz", "m.safetensors"):
        whole = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(300):
            changed = whole.copy()
            at = random.integers(0, changed.size, random.integers(1, 8))
            changed[at] = random.integers(0, 256, at.size)
            (tmp_path / name).write_bytes(
                changed[: random.integers(1, changed.size + 1)] if random.random() < 0.2 else changed
            )
            try:
                tensors_of(read_model(tmp_path / name))
            except AlluxioLanceError:
                continue
