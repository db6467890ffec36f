"""Files of a real Alluxio under the paths of a mount, for libraries that want paths."""

import contextlib
import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alluxio_lance.errors import AlreadyExists, InvalidArgument, InvalidURI, NotFound, Unavailable
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.files.mounts import Mount, Shown
from alluxio_lance.files.posix import PosixFsAdapter
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.storage.mounts import FuseMountManager

FUSE = Path("/dev/fuse").exists() and shutil.which("fusermount") is not None
needs_fuse = pytest.mark.skipif(not FUSE, reason="needs /dev/fuse and libfuse2")
MAIN = "alluxio.fuse.AlluxioFuse"
MXNET = os.environ.get("ALLUXIO_LANCE_MXNET")


@pytest.fixture(scope="module")
def mounted(cluster, tmp_path_factory):
    """A mount of one folder of the namespace, with a blank in its name."""
    manager = FuseMountManager("localhost", cluster.plan.ports.master, logs=tmp_path_factory.mktemp("logs"))
    place = tmp_path_factory.mktemp("mounts") / "with blank"
    with AlluxioFiles.connect(cluster.uri) as files:
        files.namespace.make_folder("/posix")
        yield manager.mount(place, root="/posix").path
        with contextlib.suppress(NotFound):
            manager.unmount(place)
        files.namespace.remove("/posix")


@pytest.fixture
def adapter(mounted, cluster, monkeypatch):
    """The mount, found by the variable that says which Alluxio is meant."""
    monkeypatch.setenv("ALLUXIO_LANCE_FILES", cluster.uri)
    return PosixFsAdapter.find()


@pytest.mark.parametrize(
    ("root", "uri", "path"),
    [
        ("/", "alluxio:///models/resnet50.params", "models/resnet50.params"),
        ("/", "alluxio:///", "."),
        ("/models", "alluxio:///models/a b/x", "a b/x"),
        ("/models", "alluxio:///models", "."),
    ],
)
def test_uris_and_paths_are_told_apart_and_back(root, uri, path):
    """Nothing has to be mounted to work out a name."""
    adapter = PosixFsAdapter(Path("/mnt/al"), root)
    assert adapter.path(uri) == Path("/mnt/al") / path
    assert adapter.uri(Path("/mnt/al") / path) == uri


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda adapter: adapter.path("alluxio:///modelsx/y"),
            NotFound,
            "not below alluxio:///models, .*alluxio-lance mount",
        ),
        (lambda adapter: adapter.path("alluxio:///"), NotFound, "not below"),
        (lambda adapter: adapter.path("alluxio:///models/../x"), InvalidURI, r"'\.\.'"),
        (lambda adapter: adapter.path("alluxio://models/x"), InvalidURI, "is a resource"),
        (lambda adapter: adapter.uri("/etc/passwd"), InvalidArgument, "not below /mnt/al"),
        (lambda adapter: adapter.uri("/mnt/al/../etc"), InvalidArgument, "not below /mnt/al"),
        (lambda adapter: adapter.open("/models/x", "r+b"), InvalidArgument, "'rb', 'wb' or 'xb'"),
    ],
)
def test_what_is_outside_is_refused(call, error, sentence):
    """With what to do."""
    with pytest.raises(error, match=sentence):
        call(PosixFsAdapter(Path("/mnt/al"), "/models"))


def test_without_a_mount_the_command_that_makes_one_is_named(tmp_path):
    """Also when another Alluxio is mounted."""
    with pytest.raises(NotFound, match=r"is not mounted: `alluxio-lance mount"):
        PosixFsAdapter.find(address=f"alluxio://localhost:{Ports.free().master}")
    with pytest.raises(NotFound, match=f"not mounted at {tmp_path}"):
        PosixFsAdapter.find(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (
            ["-Dalluxio.master.hostname=h", "-Dalluxio.master.rpc.port=5", MAIN, "-m", "/mnt/x", "-a", "/r"],
            Shown("/r", "h", 5),
        ),
        ([MAIN, "-m", "/mnt/x"], Shown("/", None, None)),
        (["-Dalluxio.fuse.mount.point=/mnt/x", "-Dalluxio.fuse.mount.alluxio.path=/r", MAIN], Shown("/r", None, None)),
        ([MAIN, "-m", "/mnt/other", "-a", "/r"], None),
        (["another.Main", "-m", "/mnt/x", "-a", "/r"], None),
    ],
)
def test_what_a_mount_shows_is_on_the_command_line_of_its_process(arguments, shown):
    """In each form in which Alluxio takes it; here by a process that has nothing but such a line."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert Mount(Path("/mnt/x")).shown() == shown
        process.stdin.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts processes of other users")
def test_the_command_line_of_another_users_process_says_nothing():
    """Anybody could start one, and lead others to files of his own."""
    # Not Python: others may not be able to reach this one.
    arguments = ["/bin/sh", "-c", "echo; read line", MAIN, "-m", "/mnt/x", "-a", "/r"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=65534) as process:
        process.stdout.readline()
        assert Mount(Path("/mnt/x"), owner=0).shown() is None
        assert Mount(Path("/mnt/x"), owner=65534).shown() == Shown("/r", None, None)
        process.stdin.close()


def test_nothing_is_written_where_a_mount_was(tmp_path):
    """The folder is left: what was written there would be on the local disk, and hidden by the next mount."""
    with pytest.raises(Unavailable, match=r"is not mounted at .* any more"):
        PosixFsAdapter(tmp_path).open("/a/x", "wb")
    assert list(tmp_path.iterdir()) == []


@needs_fuse
def test_a_mount_is_found_with_what_it_shows(adapter, mounted):
    """By its place too; it travels to other processes."""
    assert (adapter.mount, adapter.root) == (mounted, "/posix")
    assert PosixFsAdapter.find(mounted).root == "/posix"
    assert PosixFsAdapter.find(mounted, root="/other").root == "/other"
    assert pickle.loads(pickle.dumps(adapter)).path("/posix/x") == mounted / "x"


@needs_fuse
def test_a_file_is_there_when_its_writer_is_closed(adapter, files):
    """Whole, for all readers, and it may be renamed at once; it replaces one of that name."""
    uri = "alluxio:///posix/deep/er/f"
    for size in (0, 10, 3_000_000):
        with adapter.open(uri, "wb") as out:
            out.write(os.urandom(size))
        path = adapter.path(uri)
        path.rename(path.with_name("g"))
        assert files.status("/posix/deep/er/g").length == size
        (path.with_name("g")).rename(path)
        with adapter.open(uri) as file:
            assert len(file.read()) == size
    with pytest.raises(AlreadyExists):
        adapter.open(uri, "xb")
    with pytest.raises(NotFound, match="alluxio:///posix/none"):
        adapter.open("alluxio:///posix/none")


@needs_fuse
def test_a_writer_that_an_error_ends_leaves_nothing(adapter):
    """The old file stays."""
    with adapter.open("/posix/left/f", "wb") as out:
        out.write(b"old")
    with pytest.raises(ZeroDivisionError), adapter.open("/posix/left/f", "wb") as out:
        out.write(b"half" * (1 // out.write(b"")))
    assert adapter.path("/posix/left/f").read_bytes() == b"old"
    assert [each.name for each in adapter.path("/posix/left").iterdir()] == ["f"]


HALF = """
import sys
from alluxio_lance.files.posix import PosixFsAdapter

with PosixFsAdapter.find(sys.argv[1]).open("/posix/killed/f", "wb") as out:
    out.write(bytes(1 << 20))
    out.flush()
    print("half", flush=True)
    sys.stdin.read()
"""


@needs_fuse
def test_a_writer_that_is_killed_leaves_the_old_file(adapter, files):
    """And a hidden part, that no pattern finds."""
    with adapter.open("/posix/killed/f", "wb") as out:
        out.write(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", HALF, adapter.mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"half\n"
        writer.kill()
    assert adapter.path("/posix/killed/f").read_bytes() == b"old"
    assert [each.path for each in files.glob("/posix/killed/*")] == ["/posix/killed/f"]
    assert len(files.list("/posix/killed")) == 2
    with adapter.open("/posix/killed/f", "wb") as out:
        out.write(b"new")
    assert adapter.path("/posix/killed/f").read_bytes() == b"new"


@needs_fuse
def test_numpy_works_on_paths_and_on_open_files(adapter):
    """An archive needs the adapter's file: under a path its writer would go back, which no mount of Alluxio can."""
    path = adapter.path("/posix/x.npy")
    np.save(path, np.arange(5))
    adapter.settle(path)
    np.testing.assert_array_equal(np.load(path), np.arange(5))
    with adapter.open("/posix/x.npz", "wb") as out:
        np.savez(out, a=np.arange(1000))
        with pytest.raises(io.UnsupportedOperation):
            out.seek(0)
    with np.load(adapter.path("/posix/x.npz")) as found:
        np.testing.assert_array_equal(found["a"], np.arange(1000))
    with pytest.raises(NotFound, match="was it written"):
        adapter.settle(adapter.path("/posix/none"))


@needs_fuse
def test_pandas_works_on_paths_of_any_name(adapter):
    """Also of those that the proxy does not know to read."""
    path, frame = adapter.path("/posix/a?b\\c.parquet"), pd.DataFrame({"a": range(1000)})
    frame.to_parquet(path)
    adapter.settle(path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame)


@needs_fuse
def test_torch_works_on_paths_and_on_open_files(adapter):
    """As on any file system."""
    torch = pytest.importorskip("torch")
    path = adapter.path("/posix/x.pt")
    torch.save({"w": torch.arange(1000)}, path)
    adapter.settle(path)
    path.rename(path.with_name("y.pt"))
    with adapter.open("/posix/z.pt", "wb") as out:
        torch.save({"w": torch.arange(1000)}, out)
    for name in ("y.pt", "z.pt"):
        assert torch.load(adapter.path(f"/posix/{name}"))["w"].sum() == 499_500


@needs_fuse
@pytest.mark.tf
def test_tensorflow_works_on_mapped_paths(adapter, files):
    """Its gfile takes file systems from compiled plug-ins only."""
    tf = pytest.importorskip("tensorflow")
    from alluxio.tf import gfile_path

    tf.io.gfile.makedirs(gfile_path("alluxio:///posix/tf"))
    with tf.io.gfile.GFile(gfile_path("alluxio:///posix/tf/f.txt"), "w") as out:
        out.write("abc")
    tf.io.gfile.copy(gfile_path("alluxio:///posix/tf/f.txt"), gfile_path("alluxio:///posix/tf/g.txt"))
    assert tf.io.gfile.glob(gfile_path("alluxio:///posix/tf/*.txt")) == [
        gfile_path(f"alluxio:///posix/tf/{name}.txt") for name in "fg"
    ]
    assert files.read(files.status("/posix/tf/g.txt")) == b"abc"
    with pytest.raises(tf.errors.UnimplementedError):
        tf.io.gfile.exists("alluxio:///posix/tf/f.txt")


@needs_fuse
@pytest.mark.skipif(MXNET is None, reason="needs ALLUXIO_LANCE_MXNET, the Python of an environment with mxnet 1.9.1")
def test_mxnet_works_on_mapped_paths(adapter, cluster):
    """The script of examples/, in an environment of its own: MXNet wants an older numpy than ours."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [MXNET, root / "examples/mxnet_files.py", "alluxio:///posix/mx"],
        env={**os.environ, "PYTHONPATH": str(root / "src"), "ALLUXIO_LANCE_FILES": cluster.uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "resnet50.params: 2 arrays" in done.stdout
    assert "train.rec: 100 records" in done.stdout
