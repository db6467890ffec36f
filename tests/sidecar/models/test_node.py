"""Models on a node: opened by clients, kept on its disk over restarts, and what clients are told."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import safetensors
from tests.sidecar.models.conftest import FILES, TENSORS

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.opening import open_lease, open_stream
from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.layout import ColumnKind, Region
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.ways import Way
from alluxio_lance.weights.rows import Notes

WAIT = 30.0
"""Seconds after which a test that waits has failed."""
URI = "alluxio://models/m"


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline
        pause.wait(0.01)


@pytest.fixture
def start(tmp_path):
    """Start the node of this test; socket paths are short, so the run folder is elsewhere."""
    with tempfile.TemporaryDirectory(prefix="al-") as run:
        defaults = {"memory_budget": "64MiB", "disk_budget": "64MiB", "prefetch": "none", "janitor_interval": 0}
        yield lambda **options: Sidecar(Settings(root=tmp_path / "root", run_dir=Path(run), **{**defaults, **options}))


def _stream(table: pa.Table) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches())


def _register(node: Sidecar, table: pa.Table):
    return node.manager.register_resource("models", "m", _stream(table))


def _read(node: Sidecar, version) -> list[bytes]:
    hold = node.residency.open(version)
    try:
        return [Path(f"/proc/self/fd/{descriptor}").read_bytes() for descriptor in hold.descriptors]
    finally:
        hold.release()


def test_a_client_opens_a_model(start, table):
    """Its layout comes over the wire, its memfds through the door, and the library of the format opens them."""
    with start() as node:
        _register(node, table)
        with open_lease(URI, address=node.address) as lease:
            assert [(column.name, column.kind, column.dtype) for column in lease.layout.columns] == [
                ("tensors", ColumnKind.FILE, "safetensors"),
                ("files", ColumnKind.FILE, "safetensors"),
            ]
            for place, names in enumerate((TENSORS, FILES)):
                (segment,) = lease.layout.columns[place].segments
                assert segment.data == Region(0, segment.length)
                with safetensors.safe_open(f"/proc/self/fd/{lease.descriptors.numbers[place]}", "numpy") as file:
                    assert set(file.keys()) == set(names)


def test_what_clients_cannot_do_with_a_model(start, table):
    """Streams and other columns are refused with a sentence."""
    with start() as node:
        _register(node, table)
        with pytest.raises(InvalidArgument, match="is a model, which is read as a whole"):
            open_stream(URI, address=node.address)
        with pytest.raises(NotFound, match="its columns are tensors, files"):
            open_lease(URI, ["weight"], address=node.address)
        with open_lease(URI, ["files"], address=node.address) as lease:
            from alluxio_lance.client.channel import Channel
            from alluxio_lance.v1 import selection_pb2 as pb

            with (
                Channel.connect(node.address, WAIT) as channel,
                pytest.raises(InvalidArgument, match="filters select rows of datasets"),
                channel.speaking() as stubs,
            ):
                list(stubs.selection.Select(pb.SelectRequest(lease=lease.token, filter="chunk = 0")))


def test_a_client_makes_a_model_hot_and_watches(start, table):
    """Prefetch tells bytes, the statistics have the model, and watchers are told that it is hot."""
    with start() as node, RemoteCache.connect(node.address) as cache:
        _register(node, table)
        told = list(cache.prefetch(URI))
        assert told[-1].rows == told[-1].total_rows == table.num_rows
        (found,) = cache.statistics().versions
        assert (found.type, found.columns, found.bytes > 8 << 20) == ("models", ("tensors", "files"), True)
        events = cache.watch()
        first = next(events)
        assert (first.event, first.type, first.name) == ("hot", "models", "m")
        events.close()
        assert cache.evict(URI) == found.bytes


def test_a_model_on_the_disk_needs_no_store(start, table, tmp_path):
    """After a restart both files are there again, byte by byte, whatever became of the table."""
    with start() as node:
        version = _register(node, table)
        expected = _read(node, version)
        _until(lambda: node.disk.statistics().columns == 2)
    (tmp_path / "root" / "data").rename(tmp_path / "root" / "elsewhere")
    with start() as node:
        assert _read(node, version) == expected
        (found,) = node.residency.statistics().versions
        assert list(found.ways) == [Way.DISK]
        assert node.disk.statistics().hits == 2


def test_damage_on_the_disk_is_found(start, table, tmp_path):
    """A file with other bytes goes, and the model comes from the store."""
    with start() as node:
        version = _register(node, table)
        expected = _read(node, version)
        _until(lambda: node.disk.statistics().columns == 2)
        node.residency.evict(version)
        for path in (tmp_path / "root" / "disk").glob("*/0.arrow"):
            path.chmod(0o600)
            path.write_bytes(bytes(path.stat().st_size))
        assert _read(node, version) == expected
        assert node.disk.statistics().corrupt == 2
        (found,) = node.residency.statistics().versions
        assert list(found.ways) == [Way.LOCAL]


def test_an_update_gets_hot_by_itself(start, table, model_table):
    """The active version is made hot when the pointer moves; the one before stays for a rollback."""
    with start(prefetch="active") as node:
        first = _register(node, table)
        _until(lambda: node.residency.is_hot(first))
        changed = model_table(notes=Notes(extra={"step": 2}))
        second = node.manager.update_resource("models", "m", _stream(changed), mode="overwrite")
        _until(lambda: node.residency.is_hot(second))
        assert node.residency.is_hot(first)
        assert b'{\\"step\\":2}' in _read(node, second)[0][: 1 << 16]
        node.manager.rollback_resource("models", "m", first.semver)
        assert node.residency.is_hot(first)
