"""What in a worker's folder is taken for a block: other users of the node may make files there."""

import os
import socket
import stat
from pathlib import Path

import pytest

from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.blocks import LocalBlocks, NotHere
from alluxio_lance.files.namespace import FileStatus

NOBODY = 65534


def _file(length):
    return FileStatus(
        path="/x",
        is_folder=False,
        length=length,
        cached_percent=100,
        pinned=False,
        persisted=True,
        block_bytes=4,
        blocks=tuple(range(1, 1 + -(-length // 4))),
        under_path="",
    )


def _link(path):
    path.with_name("elsewhere").write_bytes(b"abcd")
    path.symlink_to("elsewhere")


def _foreign(path):
    path.write_bytes(b"abcd")
    os.chown(path, NOBODY, NOBODY)


def _listening(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.mark.parametrize(
    "put",
    [_link, os.mkfifo, os.mkdir, _listening, pytest.param(_foreign, marks=needs_root)],
    ids=["link", "pipe", "folder", "socket", "file of another user"],
)
def test_what_is_no_file_of_the_worker_is_no_block(tmp_path, put):
    """It is refused at once, without waiting for a writer, and what was open before it is closed again."""
    (tmp_path / "1").write_bytes(b"0123")
    put(tmp_path / "2")
    before = _open_files()
    with pytest.raises(NotHere, match="block 2 of 2") as refused:
        LocalBlocks([tmp_path]).open(_file(8))
    assert not refused.value.damaged
    assert _open_files() == before
    (descriptor,) = LocalBlocks([tmp_path]).open(_file(4))
    os.close(descriptor)


def test_nobody_else_can_write_into_a_worker_that_we_start(cluster):
    """Alluxio lets all users do it, and makes block files that all users can write."""
    (folder,) = LocalBlocks.find(AlluxioAddress.parse(cluster.uri, tables=False)).folders
    assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0
