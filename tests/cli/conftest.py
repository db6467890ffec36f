"""Data to register, the command in this process, and a real system beside it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from alluxio_lance.cli.app import application
from alluxio_lance.cli.demo.system import System


def write_rows(path, start, count):
    """Write a Parquet file with an id, a price and a name."""
    ids = list(range(start, start + count))
    table = pa.table({"id": ids, "price": [i / 2 for i in ids], "name": [f"row {i}" for i in ids]})
    pq.write_table(table, path)
    return path


@pytest.fixture
def first(tmp_path):
    """Give a file with 100 rows."""
    return write_rows(tmp_path / "first.parquet", 0, 100)


@pytest.fixture
def more(tmp_path):
    """Give a file with 20 rows, 10 of which have ids of the first file."""
    return write_rows(tmp_path / "more.parquet", 90, 20)


@dataclass
class Command:
    """The command in this process, with its global options."""

    options: list

    def __call__(self, *words, code=0, **how):
        """Run it, check its exit code, return what it printed."""
        result = CliRunner().invoke(application, [*self.options, *map(str, words)], **how)
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return result

    def json(self, *words):
        """Run it with ``--json`` and return the document, which must be all of stdout."""
        result = self(*words, "--json")
        assert result.stderr == ""
        return json.loads(result.stdout)


@pytest.fixture
def embedded(tmp_path):
    """Give the command on a folder."""
    return Command(["--embedded", str(tmp_path / "root")])


@pytest.fixture(scope="session")
def system(tmp_path_factory):
    """Run `up` as a process, one for all tests: each has resources of its own."""
    folder = tmp_path_factory.mktemp("up")
    with System(folder / "root", folder / "run", folder / "up.log") as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def connected(system):
    """Give the command on the running system."""
    return Command(["--address", system.address.grpc])


@pytest.fixture
def process():
    """Give a way to run the command as a process of its own."""

    def run(*words, **how):
        how = {"capture_output": True, "text": True, "timeout": 60} | how
        command = [sys.executable, "-P", "-m", "alluxio_lance.cli", *map(str, words)]
        return subprocess.run(command, check=False, **how)

    return run


@pytest.fixture
def spawn():
    """Give a way to start the command and leave it running; it is ended with the test."""
    started = []

    def start(*words, **how):
        command = [sys.executable, "-P", "-m", "alluxio_lance.cli", *map(str, words)]
        started.append(subprocess.Popen(command, **how))
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()
