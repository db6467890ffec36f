"""The run folder: private, locked, and never somebody else's."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from alluxio_lance.errors import AlreadyExists, InvalidArgument, PermissionDenied, Unavailable
from alluxio_lance.sidecar.run_folder import RunFolder


@pytest.mark.parametrize(("shared", "mode"), [(False, 0o700), (True, 0o711)])
def test_it_is_made_with_its_parents_and_private(tmp_path, shared, mode):
    """Other users reach the sockets only when they are meant to."""
    with RunFolder.open(tmp_path / "a" / "b", shared=shared) as folder:
        assert folder.address.run_folder == tmp_path / "a" / "b"
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == mode


def test_a_folder_that_others_could_enter_is_closed_to_them(tmp_path):
    """An own folder with a wide mode gets the narrow one."""
    tmp_path.chmod(0o777)
    with RunFolder.open(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_second_sidecar_is_refused_and_told_who_is_there(tmp_path):
    """The first one goes on."""
    with RunFolder.open(tmp_path), pytest.raises(AlreadyExists, match=f"process {os.getpid()}"):
        RunFolder.open(tmp_path)


def test_the_lock_of_a_killed_sidecar_is_free(tmp_path):
    """The kernel takes it back."""
    code = (
        "import sys, pathlib\n"
        "from alluxio_lance.sidecar.run_folder import RunFolder\n"
        "folder = RunFolder.open(pathlib.Path(sys.argv[1]))\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(AlreadyExists, match=f"process {other.pid}"):
            RunFolder.open(tmp_path)
        other.kill()
    RunFolder.open(tmp_path).close()


def test_closing_twice_is_closing_once(tmp_path):
    """And the folder may be opened again."""
    folder = RunFolder.open(tmp_path)
    folder.close()
    folder.close()
    RunFolder.open(tmp_path).close()


def test_links_are_not_followed(tmp_path):
    """Somebody could have laid a link to a folder of his."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionDenied, match="is a link"):
        RunFolder.open(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(PermissionDenied, match="no folder"):
        RunFolder.open(tmp_path / "file")
    (tmp_path / "real" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        RunFolder.open(tmp_path / "real")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    """Also when this user could use it."""
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(PermissionDenied, match="belongs to uid 65534"):
        RunFolder.open(tmp_path)


def test_a_path_that_is_too_long_for_a_socket_is_refused(tmp_path):
    """With a sentence instead of a socket error."""
    with pytest.raises(InvalidArgument, match="at most 107 bytes"):
        RunFolder.open(tmp_path / ("x" * 100))


def test_a_folder_that_cannot_be_made_is_said_so():
    """With the setting to change."""
    with pytest.raises(Unavailable, match="run_dir"):
        RunFolder.open(Path("/proc/none"))


def test_small_files_are_exchanged(tmp_path):
    """What was there before comes back; removing what is not there is no error."""
    with RunFolder.open(tmp_path) as folder:
        assert folder.exchange("instance", "one") is None
        assert folder.exchange("instance", "two") == "one"
        folder.remove("instance")
        folder.remove("instance")
        assert folder.exchange("instance", "three") is None
