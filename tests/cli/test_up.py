"""A real system as a process, and the commands against it."""

import json
import os
import re
import signal
import subprocess

import pytest

from alluxio_lance.cli.app import application
from alluxio_lance.client.table import Table


def test_register_list_and_show_as_a_stranger_does(system, process, first):
    """From other processes, with nothing on stdout but the document."""
    place = ["--address", system.address.grpc]
    assert process(*place, "register", "datasets/stranger", first).returncode == 0
    listed = json.loads(process(*place, "list", "--json").stdout)["resources"]
    assert ("stranger", "1.0.0") in [(each["name"], each["active"]["semver"]) for each in listed]
    shown = json.loads(process(*place, "show", "datasets/stranger", "--json").stdout)
    assert shown["version"]["num_rows"] == 100


def test_the_cache_shows_what_is_hot_and_who_reads(connected, system, first):
    """Prefetch, a reader, a refused eviction, an eviction."""
    connected("register", "datasets/hot", first)
    loaded = connected.json("cache", "prefetch", "datasets/hot")
    assert (loaded["uri"], loaded["rows"]) == ("alluxio://datasets/hot", 100)
    assert "is hot: 100 rows" in connected("cache", "prefetch", "datasets/hot@1.0.0", "--column", "id").stdout
    with Table.open("alluxio://datasets/hot", address=system.address.grpc):
        status = connected.json("cache", "status")
        (version,) = [each for each in status["versions"] if each["name"] == "hot"]
        assert (version["semver"], version["status"], version["leases"]) == ("1.0.0", "hot", 1)
        assert [(lease["pid"], lease["semver"]) for lease in status["leases"]] == [(os.getpid(), "1.0.0")]
        assert status["used_bytes"] <= status["budget_bytes"]
        text = connected("cache", "status", env={"COLUMNS": "80"}).stdout
        assert len(re.findall(r"^datasets/hot +1\.0\.0 ", text, re.MULTILINE)) == 3, text
        assert "Hot versions" in text
        assert "Readers" in text
        assert re.search(r"local .+ \(100%\)", text.partition("Last loads")[2]), text
        assert version["ways"].keys() == {"local"}
        assert (version["cached_percent"], status["disk"]["budget_bytes"]) == (None, 0)
        assert max(map(len, text.splitlines())) <= 80
        assert str(os.getpid()) in connected("cache", "evict", "datasets/hot", code=3).stderr
        assert str(os.getpid()) in connected("delete", "datasets/hot", "--yes", code=3).stderr
    assert connected.json("cache", "evict", "datasets/hot")["freed_bytes"] > 0
    assert "no longer hot" in connected("cache", "evict", "datasets/hot").stdout


def test_the_doctor_finds_the_system(connected, system):
    """It names process and budget."""
    checks = {check["name"]: check for check in connected.json("doctor")["checks"]}
    assert checks["sidecar"]["status"] == "ok"
    assert str(system.pid) in checks["sidecar"]["found"]


def test_a_second_system_in_the_same_place_is_refused(system, process, tmp_path):
    """With the process that is there."""
    done = process("up", "--root", tmp_path, "--run-dir", system.address.run_folder)
    assert done.returncode == 5
    assert str(system.pid) in done.stderr
    assert "ready" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_gracefully(spawn, tmp_path, number):
    """It says where it listens, that it is ready, and stops with code 0 and without its sockets."""
    run_dir = tmp_path / "run"
    options = ["--root", tmp_path / "root", "--run-dir", run_dir, "--memory-budget", "64MiB"]
    child = spawn("up", *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in child.stdout:
        lines.append(line)
        if line.startswith("ready"):
            break
    text = "".join(lines)
    assert f"unix:{run_dir}/grpc.sock" in text
    assert f"--address unix:{run_dir}/grpc.sock register" in text
    assert "64.0 MiB for hot versions" in text
    child.send_signal(number)
    rest, errors = child.communicate(timeout=30)
    assert child.returncode == 0, errors
    assert rest.splitlines()[-1] == "stopped"
    assert "Traceback" not in errors
    assert not list(run_dir.glob("*.sock"))


def test_a_store_that_is_silent_is_said(spawn, tmp_path):
    """It starts all the same: what lies on the node's disk is served."""
    options = ["--root", tmp_path / "root", "--run-dir", tmp_path / "run", "--memory-budget", "64MiB"]
    store = ["--store", "alluxio://localhost:1/x?proxy=1"]
    child = spawn("up", *options, *store, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in child.stdout:
        lines.append(line)
        if line.startswith("ready"):
            break
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    said = " ".join("".join(lines).split())
    assert "tables cannot be reached now: the proxy of Alluxio at localhost:1 does not answer" in said
    assert "doctor --store" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--memory-budget", "lots"], "memory_budget"),
        (["--catalog", "nonsense"], "catalog"),
    ],
)
def test_a_setting_that_is_not_usable_is_wrong_usage(process, tmp_path, options, says):
    """The sentence names the setting."""
    done = process("up", "--root", tmp_path / "root", "--run-dir", tmp_path / "run", *options)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_default_place_needs_no_address(monkeypatch, tmp_path):
    """The next command is printed as short as it works."""
    from alluxio_lance.address import Address
    from alluxio_lance.cli.starting import _command

    monkeypatch.delenv("ALLUXIO_LANCE_ADDRESS", raising=False)
    monkeypatch.setenv("ALLUXIO_LANCE_RUN_DIR", str(tmp_path))
    assert _command(Address(tmp_path)) == "alluxio-lance"
    assert _command(Address(tmp_path / "other")) == f"alluxio-lance --address unix:{tmp_path}/other/grpc.sock"


def test_up_needs_the_server_side(monkeypatch):
    """Without it the sentence names the extra."""
    import sys

    from typer.testing import CliRunner

    monkeypatch.setitem(sys.modules, "alluxio_lance.sidecar.server", None)
    result = CliRunner().invoke(application, ["up"])
    assert result.exit_code == 1
    assert "pip install 'alluxio-lance[server]'" in result.stderr
