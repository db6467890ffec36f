"""The fsspec file system ``alluxio`` on a real Alluxio, by itself and under those who use it."""

import io
import pickle

import fsspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from alluxio_lance.errors import AlluxioLanceError, AlreadyExists, InvalidURI, NotFound
from alluxio_lance.files.filesystem import AlluxioFileSystem

TABLE = pd.DataFrame({"a": range(50_000), "b": [f"row {number}" for number in range(50_000)]})


@pytest.fixture
def fs(cluster, folder, monkeypatch):
    """The file system, found by its protocol and by the variable that says where Alluxio is."""
    monkeypatch.setenv("ALLUXIO_LANCE_FILES", cluster.uri)
    AlluxioFileSystem.clear_instance_cache()
    found = fsspec.filesystem("alluxio")
    assert type(found) is AlluxioFileSystem
    yield found
    AlluxioFileSystem.clear_instance_cache()


def test_pandas_and_pyarrow_read_and_write_it(fs, folder):
    """By URI, and by the file system."""
    uri = f"alluxio://{folder}/deep/er/x.parquet"
    TABLE.to_parquet(uri)
    pd.testing.assert_frame_equal(pd.read_parquet(uri), TABLE)
    assert pq.read_table(f"{folder}/deep/er", filesystem=fs, columns=["a"]).num_rows == len(TABLE)
    TABLE.to_csv(f"alluxio://{folder}/x.csv.gz", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(f"alluxio://{folder}/x.csv.gz"), TABLE)


def test_numpy_saves_and_loads(fs, folder):
    """Also an archive, whose writer goes back to its headers."""
    with fs.open(f"{folder}/x.npy", "wb") as out:
        np.save(out, np.arange(5))
    with fs.open(f"{folder}/x.npz", "wb") as out:
        np.savez(out, a=np.arange(1000))
    with fs.open(f"{folder}/x.npy") as file:
        np.testing.assert_array_equal(np.load(file), np.arange(5))
    with fs.open(f"{folder}/x.npz") as file, np.load(file) as found:
        np.testing.assert_array_equal(found["a"], np.arange(1000))


def test_torch_saves_and_loads(fs, folder):
    """What it saved is there when the file is closed."""
    torch = pytest.importorskip("torch")
    with fsspec.open(f"alluxio://{folder}/x.pt", "wb") as out:
        torch.save({"w": torch.arange(1000)}, out)
    with fsspec.open(f"alluxio://{folder}/x.pt") as file:
        assert torch.load(file)["w"].sum() == 499_500


def test_bytes_are_read_in_slices(fs, folder):
    """As Python slices them, many at once; a range of a missing file is an error in its place."""
    fs.pipe(f"{folder}/f", b"0123456789")
    for start, end in [(None, None), (2, 5), (-3, None), (5, -2), (8, 100), (20, 30), (None, -20), (5, 2)]:
        assert fs.cat_file(f"{folder}/f", start, end) == b"0123456789"[start:end]
    assert fs.cat_ranges([f"{folder}/f"] * 3, [0, -1, 4], [2, None, 6]) == [b"01", b"9", b"45"]
    good, bad = fs.cat_ranges([f"{folder}/f", f"{folder}/none"], 0, 1)
    assert good == b"0"
    assert isinstance(bad, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([f"{folder}/none"], 0, 1, on_error="raise")
    assert fs.cat(f"{folder}/*") == {f"{folder}/f": b"0123456789"}


def test_files_and_folders_are_listed_copied_moved_and_removed(fs, folder, tmp_path):
    """With the meaning that fsspec gives these words."""
    fs.makedirs(f"{folder}/a/b")
    for name in ("a/1", "a/b/2", "c"):
        fs.pipe(f"{folder}/{name}", name.encode())
    assert fs.ls(f"alluxio://{folder}", detail=False) == [f"{folder}/a", f"{folder}/c"]
    assert [(each["type"], each["size"]) for each in fs.ls(folder)] == [("directory", 0), ("file", 1)]
    assert fs.find(folder) == [f"{folder}/a/1", f"{folder}/a/b/2", f"{folder}/c"]
    assert fs.glob(f"{folder}/**/[12]") == [f"{folder}/a/1", f"{folder}/a/b/2"]
    fs.cp(f"{folder}/a", f"{folder}/copy", recursive=True)
    assert fs.find(f"{folder}/copy") == [f"{folder}/copy/1", f"{folder}/copy/b/2"]
    fs.mv(f"{folder}/copy", f"{folder}/moved")
    fs.mv(f"{folder}/c", f"{folder}/moved/")
    fs.mv(f"{folder}/moved/1", f"{folder}/moved/c")
    assert fs.cat(f"{folder}/moved/c") == b"a/1"
    assert fs.find(f"{folder}/moved") == [f"{folder}/moved/b/2", f"{folder}/moved/c"]
    with pytest.raises(FileExistsError):
        fs.mv(f"{folder}/moved", f"{folder}/a/1")
    with pytest.raises(OSError, match="not empty"):
        fs.rm(f"{folder}/moved")
    fs.rm([f"{folder}/moved", f"{folder}/a/?"], recursive=True)
    assert fs.find(folder) == []
    fs.rmdir(f"{folder}/a")
    (tmp_path / "f").write_bytes(b"local")
    fs.put(str(tmp_path / "f"), f"{folder}/put")
    before = fs.ukey(f"{folder}/put")
    fs.get(f"{folder}/put", str(tmp_path / "g"))
    assert (tmp_path / "g").read_bytes() == b"local"
    fs.pipe(f"{folder}/put", b"other")
    assert fs.ukey(f"{folder}/put") != before


def test_what_an_error_ends_is_not_written(fs, folder):
    """Nor what a transaction has not yet committed."""
    fs.pipe(f"{folder}/f", b"old")
    with pytest.raises(ZeroDivisionError), fs.open(f"{folder}/f", "wb") as out:
        out.write(b"half" * (1 // out.write(b"")))
    assert fs.cat(f"{folder}/f") == b"old"
    with fs.transaction:
        with fs.open(f"{folder}/f", "wb") as out:
            out.write(b"new")
        assert fs.cat(f"{folder}/f") == b"old"
    assert fs.cat(f"{folder}/f") == b"new"
    with pytest.raises(ZeroDivisionError), fs.transaction, fs.open(f"{folder}/f", "w") as out:
        out.write("half" * (1 // out.write("")))
    with pytest.raises(ZeroDivisionError), fs.transaction, fs.open(f"{folder}/f", "wb") as out:
        out.write(b"half" * (1 // out.write(b"")))
    assert fs.cat(f"{folder}/f") == b"new"


@pytest.mark.parametrize(
    ("call", "ours", "pythons"),
    [
        (lambda fs, at: fs.open(f"{at}/none"), NotFound, FileNotFoundError),
        (lambda fs, at: fs.info(f"{at}/none"), NotFound, FileNotFoundError),
        (lambda fs, at: fs.rm(f"{at}/none"), NotFound, FileNotFoundError),
        (lambda fs, at: fs.open(f"{at}/f", "xb"), AlreadyExists, FileExistsError),
        (lambda fs, at: fs.mkdir(at), AlreadyExists, FileExistsError),
        (lambda fs, at: fs.makedirs(at), AlreadyExists, FileExistsError),
        (lambda fs, at: fs.mkdir(f"{at}/no/parent", create_parents=False), NotFound, FileNotFoundError),
        (lambda fs, at: fs.rmdir(f"{at}/f"), NotADirectoryError, OSError),
        (lambda fs, at: fs.open(f"{at}/f", "ab"), io.UnsupportedOperation, OSError),
        (lambda fs, _: fs.open("alluxio://datasets/x"), InvalidURI, AlluxioLanceError),
    ],
)
def test_mistakes_are_errors_of_both_worlds(fs, folder, call, ours, pythons):
    """Who uses fsspec asks for Python's own; they pass through pickle, as from a worker of a loader."""
    fs.pipe(f"{folder}/f", b"x")
    with pytest.raises(ours) as caught:
        call(fs, folder)
    assert isinstance(caught.value, pythons)
    if isinstance(caught.value, AlluxioLanceError):
        assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_it_is_pickled_with_its_address(fs, cluster, folder):
    """As dask and loaders do; an address of one's own is a storage option."""
    uri = f"alluxio://{folder}/f"
    with fsspec.open(uri, "wb", address=cluster.uri) as out:
        out.write(b"x")
    other = fsspec.filesystem("alluxio", address=cluster.uri)
    assert pickle.loads(pickle.dumps(other)) == other
    assert other.cat(uri) == b"x"
    assert fs.unstrip_protocol(f"{folder}/f") == uri
