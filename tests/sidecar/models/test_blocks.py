"""Models in a real Alluxio, read from the block files of its worker: every byte of them is verified as part of its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt
from alluxio_lance.incoming import Source
from alluxio_lance.layout import Pages
from alluxio_lance.lifecycle.ports import Write
from alluxio_lance.sidecar.memfd import Memfd
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.raw import scanning
from alluxio_lance.ways import Way
from alluxio_lance.weights.header import parse_head

LOCATION = "models/m.lance"
NEAR = {Way.SHORT_CIRCUIT}


@pytest.fixture
def store(alluxio, tmp_path) -> LanceStore:
    """A store in Alluxio."""
    return LanceStore.at(alluxio, tmp_path / "node")


@pytest.fixture
def known(store, table):
    """Write the model as version 1, and return what the catalog would know of its files."""
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    store.create(LOCATION, Source(reader=reader, description="it"), Write(operation="0" * 32, actor="me", message=""))
    return {file.path: file for file in store.snapshot(LOCATION, 1, {}).files}


@pytest.fixture
def good(table, load, read) -> dict[str, bytes]:
    """The files that the model is in memory."""
    return {hot.column.name: read(hot).data for hot in load(table)}


def _data(store: LanceStore, cluster: Any) -> tuple[Path, Path]:
    """Name the block file of the one data file, and the file in the under-store."""
    place: Any = store._place
    (status,) = place.namespace.list(place.path(LOCATION, "data"), recursive=True)
    return cluster.plan.tier / "alluxioworker" / str(status.blocks[0]), Path(status.under_path)


@pytest.fixture(params=["a piece", "a hash", "a name", "the footer"])
def place(request, table, tensor_bytes):
    """Say what is changed: find its first byte in the file."""
    rows = table.to_pylist()
    of_weight = next(row for row in rows if row["name"] == "weight")
    sought = {"a piece": tensor_bytes("weight")[:64], "a hash": of_weight["hash"], "a name": b"weight"}
    if request.param == "the footer":
        return lambda data: len(data) - 20
    return lambda data: data.index(sought[request.param])


def _flip(file: Path, place) -> None:
    data = bytearray(file.read_bytes())
    data[place(bytes(data))] ^= 1
    times = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_model_is_read_from_blocks(store, known, table, good, load, read):
    """The files in memory are those of a model from anywhere else."""
    with store.open(LOCATION, 1, known) as reader:
        hot = load(table, reader=reader)
        assert {way.way for way in reader.ways} == NEAR
    assert {each.column.name: read(each).data for each in hot} == good


@pytest.mark.parametrize("load", ["in passes"], indirect=True)
def test_a_model_is_read_from_blocks_right_to_its_place(
    store, known, table, good, load, read, reserved_pages, monkeypatch
):
    """On reserved huge pages nothing is copied but the heads, and each tensor has its bytes."""
    copied = []
    write = Memfd.write

    def watched(memfd: Memfd, offset: int, data: Any) -> int:
        there = memfd.room(offset, len(data))
        if there is None or np.frombuffer(there, np.uint8).ctypes.data != np.frombuffer(data, np.uint8).ctypes.data:
            copied.append((memfd.pages, offset))
        return write(memfd, offset, data)

    monkeypatch.setattr(scanning, "_WORTH", 0)
    monkeypatch.setattr(Memfd, "write", watched)
    with store.open(LOCATION, 1, known) as reader:
        hot = load(table, reader=reader, prefer=Pages.HUGE)
        assert {way.way for way in reader.ways} == NEAR
    assert {offset for pages, offset in copied if pages is Pages.HUGE} == {0}
    for each in hot:
        wanted = parse_head(good[each.column.name], len(good[each.column.name]), "it").tensors
        found = read(each)
        for name, placed in wanted.items():
            assert found[name] == good[each.column.name][placed.offset : placed.offset + placed.size], name


def test_a_changed_block_is_not_read(store, known, cluster, place, table, good, load, read):
    """Whatever of it is changed: the model comes from the under-store then, each piece verified by itself."""
    block, _ = _data(store, cluster)
    _flip(block, place)
    with store.open(LOCATION, 1, known) as reader:
        hot = load(table, reader=reader)
        assert {way.way for way in reader.ways} == {Way.ENDPOINT}
    assert {each.column.name: read(each).data for each in hot} == good


def test_a_model_that_is_changed_everywhere_is_refused(store, known, cluster, place, table, load):
    """In the block and below it: no byte of it is served, by no way."""
    block, below = _data(store, cluster)
    _flip(block, place)
    _flip(below, place)
    with store.open(LOCATION, 1, known) as reader, pytest.raises(Corrupt):
        load(table, reader=reader)
