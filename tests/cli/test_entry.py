"""The command as a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alluxio_lance.cli.entry import main


def at(system):
    """Name the running system."""
    return ["--address", system.address.grpc]


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_package_is_one_sentence(package):
    """It names what to install, without a traceback."""
    code = f"import sys; sys.modules[{package!r}] = None; from alluxio_lance.cli.entry import main; main()"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'alluxio-lance[cli]'" in done.stderr


def test_a_fault_in_an_import_is_not_hidden(monkeypatch):
    """Another module that is missing is no matter of the extra."""
    monkeypatch.delitem(sys.modules, "alluxio_lance.cli.app")
    monkeypatch.setitem(sys.modules, "alluxio_lance.cli.views", None)
    monkeypatch.delitem(sys.modules, "alluxio_lance.cli.looking", raising=False)
    with pytest.raises(ModuleNotFoundError, match="views"):
        main()


def test_a_closed_pipe_is_no_fault(system, process):
    """`alluxio-lance list | head` ends quietly when the reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        done = process(*at(system), "list", stdout=stdout, stderr=subprocess.PIPE, capture_output=False)
    assert done.stderr == ""
    assert done.returncode == 1


def test_a_full_disk_is_no_fault_of_ours(system, process):
    """What the system says is the message."""
    with Path("/dev/full").open("w") as stdout:
        done = process(*at(system), "list", stdout=stdout, stderr=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_ctrl_c_shows_no_trace_while_modules_load(tmp_path):
    """The signal comes in the middle of an import; nobody reads a trace of ours for it."""
    (tmp_path / "typer.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(60)\n")
    # A shell starts what it puts into the background with the signal ignored, and children inherit that.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from alluxio_lance.cli.entry import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, timeout=60, check=False, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_no_color_is_honoured(embedded, first):
    """A terminal that wants no colour gets none; one that wants it does."""
    embedded("register", "datasets/rows", first)
    environment = {"FORCE_COLOR": "1", "TERM": "xterm"}
    coloured = embedded("show", "datasets/rows", env={**environment, "NO_COLOR": None})
    plain = embedded("show", "datasets/rows", env={**environment, "NO_COLOR": "1"})
    assert "\x1b[1;32mactive" in coloured.stdout
    assert "32m" not in plain.stdout
    assert "active" in plain.stdout


def test_looking_loads_no_framework(embedded, process):
    """Neither torch nor TensorFlow, whatever is installed."""
    code = (
        "import sys; from typer.testing import CliRunner; from alluxio_lance.cli.app import application;"
        f"CliRunner().invoke(application, {[*embedded.options, 'list']!r});"
        "print(sorted({'torch', 'tensorflow', 'sklearn', 'grpc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
