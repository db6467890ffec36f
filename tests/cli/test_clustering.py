"""The commands of a local Alluxio and of mounts, as a user runs them."""

import shutil
from pathlib import Path

import pytest

from alluxio_lance.cli.clustering import _pair
from alluxio_lance.errors import Unavailable
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.storage.alluxio.cluster.jars import class_path, java

from .conftest import Command

FUSE = Path("/dev/fuse").exists() and shutil.which("fusermount") is not None


@pytest.fixture(scope="module", autouse=True)
def jars():
    """Java and the jars; `make servers` brings both."""
    try:
        java()
        class_path(lambda _: None)
    except Unavailable as missing:
        pytest.skip(missing.message)


def base_of_free_ports():
    """Find five free ports in a row."""
    while True:
        base = Ports.free().master
        if base < 65000 and not Ports.starting_at(base).taken():
            return base


def words_of(cmdline):
    """Return the command line of a process; nothing of one that has just ended."""
    try:
        return cmdline.read_bytes()
    except OSError:
        return b""


def test_an_alluxio_is_started_looked_at_mounted_and_stopped(tmp_path, monkeypatch):
    """What `up` says is what `status` says; `down` leaves no process and no mount; a mistake has its exit code and the next command."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    command, folder, port = Command([]), tmp_path / "alluxio", base_of_free_ports()
    assert f"alluxio up --folder {folder}`" in command("alluxio", "status", "--folder", folder, code=4).stderr
    said = command("alluxio", "up", "--folder", folder, "--port-base", port, "--tier", "128MiB").stdout
    assert f"alluxio://localhost:{port}/?proxy={port + 4}&worker={port + 3}" in said
    assert f"--store 'alluxio://localhost:{port}/lance?proxy={port + 4}&worker={port + 3}'" in said
    try:
        status = command.json("alluxio", "status", "--folder", folder)
        assert status["ready"]
        assert status["capacity_bytes"] == 128 << 20
        assert [node["name"] for node in status["nodes"]] == ["master", "worker", "proxy"]
        assert f"down --folder {folder}`" in command("alluxio", "up", "--folder", folder, code=5).stderr
        if FUSE:
            place = tmp_path / "mounted"
            assert command.json("mount", place, "--master", f"localhost:{port}") == {"mounted": str(place)}
            (place / "f").write_bytes(b"abc")
            assert {"path": str(place), "stale": False} in command.json("mount")["mounts"]
            assert "mounted" in command("mount").stdout
            assert command.json("unmount", place) == {"unmounted": str(place)}
            assert (folder / "ufs" / "f").read_bytes() == b"abc"
            command("mount", place, "--master", f"localhost:{port}")
            other, mounted = tmp_path / "other", command.json("mount")["mounts"]
            command("mount", other, "--master", f"localhost:{port}")
    finally:
        ended = command.json("alluxio", "down", "--folder", folder)
    if FUSE:
        assert {str(place), str(other)} <= set(ended["unmounted"])
        assert command.json("mount")["mounts"] == [each for each in mounted if each["path"] not in ended["unmounted"]]
        assert not [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if str(other).encode() in words_of(entry)]
    assert not [node["pid"] for node in status["nodes"] if Path(f"/proc/{node['pid']}").exists()]
    command("alluxio", "down", "--folder", folder, code=4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up", "--tier", "much"], "--tier"),
        (["up", "--block", "0"], "--block"),
        (["up", "--port-base", "70000"], "--port-base"),
        (["up", "--option", "x"], "KEY=VALUE"),
        (["up", "--option", "s3a.secretKey=@/nowhere/secret"], "/nowhere/secret cannot be read"),
    ],
)
def test_a_wrong_option_is_named(words, said, tmp_path):
    """With exit code 2, before anything is started."""
    assert said in Command([])("alluxio", *words, "--folder", tmp_path, code=2).stderr


def test_a_secret_is_taken_from_a_file(tmp_path):
    """The value is what is in it, without the line's end."""
    (tmp_path / "secret").write_text("a=b@c\n")
    assert _pair(f"s3a.secretKey=@{tmp_path}/secret") == ("s3a.secretKey", "a=b@c")
    assert _pair("s3a.accessKeyId=a=b") == ("s3a.accessKeyId", "a=b")


def test_another_under_store_is_refused(tmp_path):
    """Alluxio would forget all files that its journal knows: the sentence names where they are, and nothing is started."""
    mark = tmp_path / "journal" / "formatted"
    mark.parent.mkdir()
    mark.write_text("s3://bucket/lake")
    words = ("alluxio", "up", "--folder", tmp_path, "--port-base", base_of_free_ports())
    said = Command([])(*words, code=2).stderr
    assert "has its files in s3://bucket/lake" in said
    assert "--under-store" in said
    assert not (tmp_path / "conf").exists()


@pytest.mark.parametrize("master", ["", "host:x", "host:0", ":1"])
def test_a_wrong_master_is_named(master, tmp_path):
    """With exit code 2."""
    assert "--master" in Command([])("mount", tmp_path, "--master", master, code=2).stderr


@pytest.mark.skipif(not FUSE, reason="no FUSE")
def test_a_mount_of_nothing_is_told_before_it_is_tried(tmp_path):
    """Where nobody answers, and which option says another place; no process is started, no folder made."""
    port = Ports.free().master
    said = Command([])("mount", tmp_path / "mnt", "--master", f"localhost:{port}", code=1).stderr
    assert f"localhost:{port} (Connection refused)" in said
    assert "--master" in said
    assert not (tmp_path / "mnt").exists()


def test_a_place_that_is_no_mount_is_told(tmp_path):
    """With the exit code of what is not there."""
    assert "not mounted" in Command([])("unmount", tmp_path, code=4).stderr
