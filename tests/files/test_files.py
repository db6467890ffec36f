"""Reading and writing plain files of a real Alluxio."""

import errno
import io
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from alluxio.option import CreateFile

from alluxio_lance.errors import AlluxioLanceError, Corrupt, InvalidArgument, InvalidURI, NotFound, Unavailable
from alluxio_lance.files.descriptors import OpenBlocks, OpenFiles
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.storage.alluxio.nearness import block_bytes
from alluxio_lance.ways import Way

DATA = random.Random(0).randbytes(3_500_000)
BLOCK = 1 << 20


@pytest.fixture
def blocks(files, folder):
    """A file of four blocks, the last one shorter."""
    path = f"{folder}/blocks"
    client = files.namespace._client
    number = client.create_file(path, CreateFile(recursive=True, block_size_bytes=BLOCK))
    client.write(number).write(DATA)
    client.close(number)
    found = files.status(path)
    assert len(found.blocks) == 4
    return found


RANGES = [(0, None), (0, 10), (BLOCK - 5, 10), (BLOCK, 2 * BLOCK), (3_499_990, 100), (3_500_000, 5), (9**9, 1), (7, 0)]


def test_ranges_are_the_same_by_each_way(files, far, blocks):
    """Within a block, over its edge, over the end, and after it; the ways are counted."""
    for offset, length in RANGES:
        expected = DATA[offset:] if length is None else DATA[offset : offset + length]
        for each in (files, far):
            assert each.read(blocks, offset, length) == expected
            buffer = bytearray(len(DATA) if length is None else length)
            assert each.read_into(blocks, memoryview(buffer), offset) == len(expected)
            assert buffer[: len(expected)] == expected
    assert [*files.ways()] == [Way.SHORT_CIRCUIT]
    assert [*far.ways()] == [Way.ENDPOINT]
    assert files.ways()[Way.SHORT_CIRCUIT] == far.ways()[Way.ENDPOINT]
    assert files.way(blocks) == (Way.SHORT_CIRCUIT, "its 4 blocks lie on this node")
    assert far.way(blocks)[0] is Way.ENDPOINT


def test_what_the_worker_dropped_comes_over_the_network_and_is_near_again(cluster, files, blocks):
    """Reading a block brings it back into the worker, as a whole; an open one is readable all the time."""
    assert files.read(blocks, 0, 5) == DATA[:5]
    files.namespace.free(blocks.path)
    assert files.namespace.await_cached(blocks.path, percent=0, patience=30)
    assert files.read(blocks) == DATA
    assert [*files.ways()] == [Way.SHORT_CIRCUIT]
    with AlluxioFiles.connect(cluster.uri) as fresh:
        assert fresh.way(blocks)[0] is Way.ENDPOINT
        assert fresh.read(blocks) == DATA
        assert fresh.ways() == {Way.ENDPOINT: len(DATA)}
        assert fresh.namespace.await_cached(blocks.path, percent=100, patience=30)
        assert fresh.read(blocks) == DATA
        assert fresh.ways() == {Way.SHORT_CIRCUIT: len(DATA), Way.ENDPOINT: len(DATA)}


@pytest.mark.parametrize("near", [True, False])
def test_an_open_file_reads_as_a_local_one(files, far, blocks, near):
    """By any pattern of seeks and sizes, and sequentially, where windows are fetched ahead."""
    chosen, chance, local = files if near else far, random.Random(1), io.BytesIO(DATA)
    with chosen.open(f"alluxio://{blocks.path}") as opened:
        while part := opened.read(100_000):
            assert part == local.read(100_000)
        assert opened.tell() == len(DATA)
        for _ in range(40):
            at, size = chance.randrange(len(DATA) + 1000), chance.choice([1, 700, 300_000, 2 * BLOCK])
            for each in (opened, local):
                each.seek(at)
            assert opened.read(size) == local.read(size)
        for each in (opened, local):
            each.seek(-20, io.SEEK_END)
            each.seek(3, io.SEEK_CUR)
        assert opened.read() == local.read()
        with pytest.raises(ValueError, match="before the file's first"):
            opened.seek(-1)


def test_many_files_come_in_the_order_asked_for(files, far, folder):
    """In parallel, from each of many threads."""
    data = {f"{folder}/many/{number:02}": bytes([number]) * (1000 + number) for number in range(12)}
    with ThreadPoolExecutor(6) as pool:
        assert not any(pool.map(files.write, data, data.values()))
    found = files.list(f"{folder}/many")
    assert [each.path for each in found] == [*data]
    found.reverse()
    for each in (files, far):
        with ThreadPoolExecutor(3) as pool:
            for many in pool.map(lambda _, each=each: each.read_many(found, threads=4), range(3)):
                assert many == [*data.values()][::-1]


# The test process has Lance loaded, which a training process has not; nobody uses it in the child.
@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
def test_a_forked_process_has_connections_of_its_own(files, far, blocks):
    """While its parent goes on with those that it had."""
    for each, way in ((files, Way.SHORT_CIRCUIT), (far, Way.ENDPOINT)):
        assert each.read(blocks) == DATA
        child = os.fork()
        if child == 0:
            os._exit(0 if each.read(blocks) == DATA and each.ways() == {way: len(DATA)} else 1)
        assert each.read(blocks) == DATA
        assert os.waitpid(child, 0) == (child, 0)
        assert each.ways() == {way: 2 * len(DATA)}


def test_a_process_that_is_started_gets_the_files_pickled(files, blocks):
    """Only the address travels."""
    assert files.read(blocks, 0, 1) == DATA[:1]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(files.read, blocks).result() == DATA
    assert pickle.loads(pickle.dumps(files)).ways() == {}


def test_patterns_find_files(files, folder):
    """As in a shell: within a name, through folders, and none that begins with a dot unless it is asked for."""
    for name in ("a/1.rec", "a/2.rec", "a/x/3.rec", "b/1.txt", "b/.hidden.rec", ".c/4.rec", "b/[1].rec"):
        files.write(f"{folder}/{name}", b"x")
    for pattern, expected in {
        "*/*.rec": ["a/1.rec", "a/2.rec", "b/[1].rec"],
        "**/*.rec": ["a/1.rec", "a/2.rec", "a/x/3.rec", "b/[1].rec"],
        "**": ["a/1.rec", "a/2.rec", "a/x/3.rec", "b/1.txt", "b/[1].rec"],
        "a/?.rec": ["a/1.rec", "a/2.rec"],
        "a/[!1].rec": ["a/2.rec"],
        "?/[2-9].*": ["a/2.rec"],
        "b/[[]1].rec": ["b/[1].rec"],
        "b/.h*": ["b/.hidden.rec"],
        "a/**/3*": ["a/x/3.rec"],
        "a/1.rec": ["a/1.rec"],
        "a": [],
        "none/*": [],
        "*": [],
    }.items():
        found = [each.path.removeprefix(f"{folder}/") for each in files.glob(f"alluxio://{folder}/{pattern}")]
        assert found == expected, pattern
    with pytest.raises(InvalidArgument, match="is no pattern"):
        files.glob(f"{folder}/[z-a]")


@pytest.mark.parametrize("name", ["a b", "ü", "a#b", "a%20b", "a+b;c=d,e", "a&b=c", "[x]*", "'\"", "deep/er/f"])
def test_any_name_is_written_and_read(files, far, folder, name):
    """Whatever it means elsewhere in a URL; parents are made."""
    path = f"{folder}/{name}"
    files.write(path, name.encode())
    assert files.status(path).path == path
    assert path in [each.path for each in files.list(folder, recursive=True)]
    assert far.read(far.status(path)) == name.encode()


def test_a_name_that_the_proxy_would_cut_is_refused(files, folder):
    """It would read, write and remove another file: the one before the question mark; a backslash makes a folder."""
    files.write(f"{folder}/a", b"mine")
    for call in (files.status, files.namespace.remove, lambda path: files.write(path, b"x")):
        with pytest.raises(InvalidArgument, match=r"'\?' in it"):
            call(f"{folder}/a?b")
        with pytest.raises(InvalidArgument, match="another file"):
            call(f"{folder}/a\\b")
    assert files.read(files.status(f"{folder}/a")) == b"mine"


def test_a_file_is_replaced_as_a_whole(files, far, folder):
    """Who has looked at the old one is told; an empty one is one too; a folder is in nobody's place."""
    path = f"{folder}/f"
    files.write(path, b"old content")
    old = files.status(path)
    for new in (b"new", b""):
        files.write(path, new)
        assert far.read(far.status(path)) == new
    files.write(path, b"x")
    with pytest.raises(Corrupt, match="list it again") as caught:
        far.read(old)
    assert caught.value.details == {"expected": 11, "found": 1}
    files.namespace.remove(path)
    with pytest.raises(NotFound, match="/f"):
        far.read(old)
    with pytest.raises(InvalidArgument, match="is a folder"):
        files.write(folder, b"x")
    with pytest.raises(AlluxioLanceError):
        files.write("/", b"x")
    files.write(path, b"x")
    with pytest.raises(InvalidArgument, match="is a file"):
        files.write(f"{path}/below", b"x")
    assert [each.path for each in files.list(folder)] == [path]


def test_files_of_the_root_pass_through_the_other_service(files, far):
    """They lie in no bucket."""
    path = f"/root-{os.getpid()}.bin"
    try:
        files.write(path, DATA)
        status = far.status(path)
        for offset, length in RANGES:
            expected = DATA[offset:] if length is None else DATA[offset : offset + length]
            assert far.read(status, offset, length) == expected
        files.write(path, b"short")
        with pytest.raises(Corrupt, match="list it again"):
            far.read(status)
        files.namespace.remove(path)
        with pytest.raises(NotFound):
            far.read(status)
    finally:
        files.namespace.remove(path)


STUCK = """
import io, sys
from alluxio_lance.files.files import AlluxioFiles

class Stuck(io.BytesIO):
    def read(self, size=-1):
        if self.tell():
            print("half", flush=True)
            sys.stdin.read()
        return super().read(1 << 20)

AlluxioFiles.connect(sys.argv[1]).write_from(sys.argv[2], Stuck(bytes(3 << 20)), 3 << 20)
"""


def test_a_writer_that_is_killed_leaves_the_old_file(cluster, files, folder):
    """And a hidden part, that no pattern finds: Alluxio itself takes half an upload for a whole file."""
    path = f"{folder}/f"
    files.write(path, b"old")
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, cluster.uri, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    assert files.read(files.status(path)) == b"old"
    assert [each.path for each in files.glob(f"{folder}/**")] == [path]
    left = {each.path for each in files.list(folder)} - {path}
    assert all(each.startswith(f"{folder}/.f.") and each.endswith(".part") for each in left)
    files.write(path, b"new")
    assert files.read(files.status(path)) == b"new"


def test_mistakes_are_told(files, folder):
    """With the door for what is no file."""
    with pytest.raises(NotFound, match="/none"):
        files.open(f"{folder}/none")
    with pytest.raises(InvalidURI, match="is a resource"):
        files.open("alluxio://datasets/x")
    files.namespace.make_folder(folder)
    with pytest.raises(NotFound, match="is a folder"):
        files.open(folder)


@pytest.mark.parametrize("length", [1, 60 << 20])
def test_a_first_file_makes_its_folders(files, length):
    """Also a large one, which the proxy refuses for a missing bucket before it has read it."""
    top = f"/files-{uuid.uuid4().hex[:12]}"
    files.write(f"{top}/a/b", bytes(length))
    assert files.status(f"{top}/a/b").length == length
    files.namespace.remove(top)


@pytest.mark.parametrize("place", ["folder", "root"])
def test_of_a_stream_as_many_bytes_are_sent_as_were_announced(far, folder, place):
    """What lies behind them would be a call of its own to the proxy, whose answer somebody else would get."""
    path = f"{folder}/x" if place == "folder" else f"/files-{uuid.uuid4().hex[:12]}"
    far.write(f"{folder}/secret", b"secret")
    far.write(f"{folder}/other", b"others")
    call = f"GET /api/v1/s3{folder}/secret HTTP/1.1\r\nHost: x\r\n\r\n"
    far.write_from(path, io.BytesIO(b"0123456789" + call.encode()), 10)
    assert far.read(far.status(f"{folder}/other")) == b"others"
    assert far.read(far.status(path)) == b"0123456789"
    with pytest.raises(InvalidArgument, match=r"there are 3 bytes for .* and not 10"):
        far.write_from(path, io.BytesIO(b"abc"), 10)
    assert far.read(far.status(path)) == b"0123456789"
    assert [each.path for each in far.list(folder) if each.path.endswith(".part")] == []
    far.namespace.remove(path)


class Torn(io.BytesIO):
    """A stream on a disk that fails."""

    def read(self, size=-1):
        raise OSError(errno.EIO, "Input/output error")


def test_a_stream_that_cannot_be_read_is_no_fault_of_alluxio(files, folder):
    """The error is told at once, and nothing is there."""
    with pytest.raises(InvalidArgument, match=r"cannot be read: .*Input/output error"):
        files.write_from(f"{folder}/x", Torn(bytes(10)), 10)
    assert not files.namespace.exists(f"{folder}/x")


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (-1, 1), (0, -1)])
def test_what_lies_before_a_file_is_refused(files, far, blocks, offset, length):
    """By each way, as the caller's mistake."""
    for each in (files, far):
        with pytest.raises(InvalidArgument, match="give none below 0"):
            each.read(blocks, offset, length)
    with pytest.raises(InvalidArgument, match="give none below 0"):
        files.read_into(blocks, memoryview(bytearray(1)), -1)


def test_the_environments_http_proxy_is_not_asked(cluster, monkeypatch):
    """Neither for the names nor for the bytes; and no password of ~/.netrc is sent."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://localhost:{Ports.free().proxy}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with AlluxioFiles.connect(cluster.uri) as found:
        assert found.status("/").is_folder
        assert block_bytes(found.address) == cluster.plan.block_bytes


def test_a_proxy_that_is_down_is_told(blocks):
    """After a few tries."""
    down = AlluxioFiles.connect(f"alluxio://localhost/?proxy={Ports.free().proxy}&worker=1")
    with down, pytest.raises(Unavailable, match="does not serve"):
        down.read(blocks)


def test_few_files_are_kept_open(tmp_path):
    """The least used go first, and one that is being read is closed when its reader has done."""
    (tmp_path / "f").write_bytes(b"0123456789")

    def descriptors():
        return sum(each.resolve() == tmp_path / "f" for each in Path("/proc/self/fd").iterdir())

    def make():
        return OpenBlocks([os.open(tmp_path / "f", os.O_RDONLY) for _ in range(2)], 10, 20)

    kept = OpenFiles()
    first = kept.get((0,), make)
    for number in range(1, 100):
        kept.get((number,), make)
    assert descriptors() == 64 + 2
    assert first.read(5, 10) == b"5678901234"
    del first
    assert descriptors() == 64
    kept.clear()
    assert descriptors() == 0
