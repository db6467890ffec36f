"""The command as a process."""

import os
import subprocess
import sys

import pytest

from alluxio_lance.cli.entry import main


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


def test_a_closed_pipe_is_no_fault(embedded, process):
    """`alluxio-lance list | head` ends quietly when the reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        done = process(*embedded.options, "list", stdout=stdout, stderr=subprocess.PIPE, capture_output=False)
    assert done.stderr == ""
    assert done.returncode == 1


def test_no_color_is_honoured(embedded, process, first):
    """A terminal that wants no colour gets none; one that wants it does."""
    embedded("register", "datasets/rows", first)
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"}
    coloured = process(*embedded.options, "show", "datasets/rows", env=environment)
    plain = process(*embedded.options, "show", "datasets/rows", env={**environment, "NO_COLOR": "1"})
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
