"""FUSE mounts of a real Alluxio."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound
from alluxio_lance.files.mounts import mounts
from alluxio_lance.storage.mounts import FuseMountManager, Mount

FUSE = Path("/dev/fuse").exists() and shutil.which("fusermount") is not None
needs_fuse = pytest.mark.skipif(not FUSE, reason="needs /dev/fuse and libfuse2")

TABLE = """\
24 30 0:22 / /proc rw,nosuid - proc proc rw
91 30 0:45 / /mnt/with\\040blank rw,nosuid shared:1 - fuse.alluxio-fuse alluxio-fuse rw,user_id=0
94 30 0:48 / /mnt/a\x0c\x1cb\x85 rw - fuse.alluxio-fuse alluxio-fuse rw,user_id=1000,group_id=0
92 30 0:46 / /mnt/other rw - fuse.sshfs x rw
93 30 0:47 / /mnt/two rw shared:2 master:3 - fuse.alluxio-fuse alluxio-fuse rw
"""


def test_the_kernels_table_is_read(tmp_path):
    """Only mounts of Alluxio, with blanks and control characters in their names, however many optional fields there are."""
    table = tmp_path / "mountinfo"
    table.write_text(TABLE, encoding="utf-8")
    found = mounts(table)
    assert [(str(each.path), each.owner) for each in found] == [
        ("/mnt/with blank", 0),
        ("/mnt/a\x0c\x1cb\x85", 1000),
        ("/mnt/two", None),
    ]


def test_without_a_mount_the_command_that_makes_one_is_named(tmp_path):
    """Also for a place that is no mount."""
    manager = FuseMountManager(logs=tmp_path)
    with pytest.raises(NotFound, match="alluxio-lance mount"):
        manager.find(tmp_path)
    with pytest.raises(NotFound, match="not mounted at"):
        manager.unmount(tmp_path)


@pytest.fixture
def manager(cluster, tmp_path):
    """The mounts of the Alluxio of this run."""
    return FuseMountManager("localhost", cluster.plan.ports.master, logs=tmp_path / "logs")


@pytest.fixture
def place(tmp_path, manager):
    """A folder to mount on, which is none any more afterwards."""
    found = tmp_path / "with blank"
    yield found
    with contextlib.suppress(NotFound):
        manager.unmount(found)


def server_of(place):
    """Find the process that serves a mount."""
    found = subprocess.run(["pgrep", "-f", f"AlluxioFuse -m {place}"], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


def until(condition):
    """Wait for something that comes within half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


@needs_fuse
def test_files_are_written_and_read_through_a_mount(manager, place):
    """What a script saves is there for another one; a second mount at the place is refused."""
    assert manager.mount(place) == Mount(place)
    np.save(place / "x.npy", np.arange(5))
    until(lambda: (place / "x.npy").stat().st_size > 0)
    np.testing.assert_array_equal(np.load(place / "x.npy"), np.arange(5))
    assert manager.find(place).path == manager.find().path == place
    with pytest.raises(AlreadyExists):
        manager.mount(place)
    manager.unmount(place)
    assert place not in [each.path for each in manager.list()]
    assert list(place.iterdir()) == []


@needs_fuse
def test_a_mount_whose_process_was_killed_is_cleared_by_the_next(manager, place):
    """Such a mount is stale: everything below it fails until somebody clears it."""
    manager.mount(place)
    os.kill(server_of(place), signal.SIGKILL)
    until(lambda: Mount(place).is_stale)
    with pytest.raises(NotFound):
        manager.find(place)
    manager.mount(place)
    assert not Mount(place).is_stale
    manager.unmount(place)


@needs_fuse
def test_a_stale_mount_is_taken_down(manager, place):
    """Without mounting again."""
    manager.mount(place)
    os.kill(server_of(place), signal.SIGKILL)
    until(lambda: Mount(place).is_stale)
    manager.unmount(place)
    assert list(place.iterdir()) == []


@needs_fuse
def test_a_folder_with_files_in_it_is_no_place_for_a_mount(manager, place):
    """They would be hidden."""
    place.mkdir()
    (place / "mine").touch()
    with pytest.raises(InvalidArgument, match="not empty"):
        manager.mount(place)
