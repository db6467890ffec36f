"""Real sidecars: one in this process, and some that may be killed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pyarrow as pa
import pytest

from alluxio_lance.address import Address
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings


@pytest.fixture
def settings(tmp_path):
    """Settings of a small node."""
    return Settings(root=tmp_path / "root", run_dir=tmp_path / "run", node="here", memory_budget="64MiB")


@pytest.fixture
def sidecar(settings):
    """A sidecar in this process."""
    with Sidecar(settings) as sidecar:
        yield sidecar


@pytest.fixture
def manager(sidecar):
    """A manager that is connected to it."""
    with RemoteManager.open(sidecar.address) as manager:
        yield manager


@pytest.fixture
def cache(sidecar):
    """Its cache."""
    with RemoteCache.connect(sidecar.address) as cache:
        yield cache


@pytest.fixture
def channel(sidecar):
    """A channel to it."""
    with Channel.connect(sidecar.address) as channel:
        yield channel


class Node:
    """A sidecar in a process of its own."""

    def __init__(self, process, ready):
        self.process = process
        self.instance = ready["instance"]
        self.address = Address.find(ready["address"])

    def kill(self):
        """Kill it as the kernel would."""
        self.process.kill()
        self.process.wait(60)

    def stop(self):
        """Ask it to stop and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def start(tmp_path):
    """Start sidecars as processes; those that still run in the end are killed."""
    with ExitStack() as stack:

        def start(*arguments, root=tmp_path / "root", run_dir=tmp_path / "run"):
            command = [sys.executable, "-m", "alluxio_lance.sidecar.server", "--root", root, "--run-dir", run_dir]
            process = stack.enter_context(
                subprocess.Popen(
                    [str(part) for part in (*command, "--memory-budget", "64MiB", *arguments)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": ""},
                )
            )
            stack.callback(process.kill)
            line = process.stdout.readline()
            if not line:
                process.wait(60)
                return process
            return Node(process, json.loads(line))

        yield start


@pytest.fixture
def rows():
    """Make tables."""
    return lambda count, start=0: pa.table({"id": pa.array(range(start, start + count), pa.int64())})


@pytest.fixture
def spawn():
    """Run Python code in another process; it prints lines and waits on its input."""
    with ExitStack() as stack:

        def spawn(code, *arguments):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code, *[str(argument) for argument in arguments]],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield spawn


READER = """
import sys
from alluxio_lance.address import Address
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.door import Door
address = Address.find(sys.argv[1])
with Channel.connect(address) as channel, Door.connect(address) as door:
    lease, layout = channel.open_version(sys.argv[2])
    door.attach(lease)
    print(layout.semver, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def reader(spawn):
    """Open a version in another process, which holds it until it is killed or its input ends."""

    def reader(address, uri):
        process = spawn(READER, address.run_folder, uri)
        assert process.stdout.readline().strip()
        return process

    return reader
