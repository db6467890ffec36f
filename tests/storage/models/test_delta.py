"""The next version of a model: what it adds to the disk, that it is exactly what was given, and who comes in between."""

from __future__ import annotations

import runpy
from itertools import pairwise
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alluxio_lance.errors import Conflict, InvalidArgument, Unavailable
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.models import delta
from alluxio_lance.weights.rows import CHUNK_BYTES, Notes

LOCATION = "models/a.lance"
MIB = 1 << 20
# The folders of tests are no packages.
weights = runpy.run_path(str(Path(__file__).with_name("conftest.py")))["weights"]


def data_files(store):
    """Return the data files of the table and their sizes."""
    return {path.name: path.stat().st_size for path in (store._place.root / LOCATION / "data").iterdir()}


def test_a_change_of_one_per_cent_adds_at_most_two(store, write, model_of, content, parts_of):
    """One of a hundred tensors of a model of 64 MiB: `usage` shows what the new version takes alone, and it is whole."""
    arrays = weights(100, 64 * MIB // 100)
    store.create(LOCATION, model_of(arrays, {"config.json": b"{}"}), write())
    before = sum(data_files(store).values())
    changed = {**arrays, "layer.050": arrays["layer.050"] ^ 1}
    assert store.overwrite(LOCATION, model_of(changed, {"config.json": b"{}"}), write()) == 2
    usage = store.usage(LOCATION, [1, 2])
    assert usage.unique[2] <= 0.02 * before
    assert usage.total[2] <= 1.02 * before
    assert usage.table <= 1.02 * before
    assert content(2) == parts_of(changed, {"config.json": b"{}"})
    assert content(1) == parts_of(arrays, {"config.json": b"{}"})


def test_of_a_large_tensor_only_the_pieces_that_differ_are_written(store, write, model_of, content, parts_of):
    """One byte changes: one piece of 4 MiB comes."""
    arrays = weights(1, 6 * CHUNK_BYTES + 5)
    store.create(LOCATION, model_of(arrays), write())
    changed = arrays["layer.000"].copy()
    changed[3 * CHUNK_BYTES] ^= 1
    store.overwrite(LOCATION, model_of({"layer.000": changed}), write())
    assert CHUNK_BYTES < store.usage(LOCATION, [2]).unique[2] < 1.02 * CHUNK_BYTES
    assert content(2) == parts_of({"layer.000": changed})


SMALL = weights(4, 1000)
FILES = {"config.json": b"{}", "vocabulary.txt": b"a\nb\n"}
CHANGES = {
    "nothing": (SMALL, FILES, Notes()),
    "a tensor": ({**SMALL, "layer.001": SMALL["layer.002"]}, FILES, Notes()),
    "all tensors": ({name: array ^ 255 for name, array in SMALL.items()}, FILES, Notes()),
    "all parts": ({name: array ^ 255 for name, array in SMALL.items()}, {"b": b"b"}, Notes(extra={"a": 1})),
    "two tensors change names": (
        {**SMALL, "layer.000": SMALL["layer.001"], "layer.001": SMALL["layer.000"]},
        FILES,
        Notes(),
    ),
    "a shape": ({**SMALL, "layer.000": SMALL["layer.000"].reshape(10, 100)}, FILES, Notes()),
    "a tensor less": ({name: array for name, array in SMALL.items() if name != "layer.000"}, FILES, Notes()),
    "a tensor more": ({**SMALL, "layer.9": np.zeros(0, np.uint8)}, FILES, Notes()),
    "no tensor": ({}, FILES, Notes()),
    "no file": (SMALL, {}, Notes()),
    "a file": (SMALL, {**FILES, "config.json": b"[]"}, Notes()),
    "a file shorter": (SMALL, {**FILES, "config.json": b""}, Notes()),
    "notes": (SMALL, FILES, Notes(extra={"epoch": 3})),
    "nothing left": ({}, {}, Notes()),
}


@pytest.mark.parametrize(("arrays", "files", "notes"), CHANGES.values(), ids=CHANGES)
def test_the_result_is_exactly_what_was_given(store, write, model_of, content, parts_of, arrays, files, notes):
    """Whatever changed: one version, with all that is new and nothing that is gone; the old one is as it was."""
    store.create(LOCATION, model_of(SMALL, FILES), write())
    assert store.overwrite(LOCATION, model_of(arrays, files, notes), write("2" * 32)) == 2
    assert content(2) == parts_of(arrays, files, notes)
    assert content(1) == parts_of(SMALL, FILES)
    assert store.writers(LOCATION) == {1: "1" * 32, 2: "2" * 32}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.dictionaries(st.sampled_from("abcde"), st.binary(max_size=3), max_size=5), min_size=1, max_size=4)
)
def test_versions_that_follow_one_another(tmp_path_factory, write, model_of, parts_of, steps):
    """Any tensors on any others: each version is what was given, also those that were written anew."""
    store = LanceStore.local(tmp_path_factory.mktemp("root"))
    models = [{name: np.frombuffer(data, np.uint8) for name, data in step.items()} for step in steps]
    store.create(LOCATION, model_of({"a": np.zeros(3, np.uint8)}), write())
    for number, arrays in enumerate(models, 2):
        assert store.overwrite(LOCATION, model_of(arrays), write()) == number
    for number, arrays in enumerate(models, 2):
        with store.open(LOCATION, number) as reader:
            rows = [row for batch in reader.batches(["kind", "name", "data"]) for row in batch.to_pylist()]
        assert len(rows) == len(parts_of(arrays))
        assert {(row["kind"], row["name"]): row["data"] for row in rows} == parts_of(arrays)


def test_nothing_changed_adds_no_data(store, write, model_of, snapshots):
    """It is a version all the same, with the same content hash."""
    store.create(LOCATION, model_of(SMALL), write())
    files = data_files(store)
    assert store.overwrite(LOCATION, model_of(SMALL), write()) == 2
    assert data_files(store) == files
    described, _ = snapshots(store, LOCATION, [1, 2])
    assert described[1].content_hash == described[2].content_hash


def test_a_table_of_which_most_is_deleted_is_written_anew(store, write, model_of, content, parts_of):
    """Deltas go on until more than half of a version's bytes are of deleted rows; then one file holds all."""
    arrays = weights(8, MIB)
    arrays["frozen"] = np.zeros(MIB, np.uint8)
    store.create(LOCATION, model_of(arrays), write())
    taken = []
    for version in range(2, 12):
        name = f"layer.{(version - 2) % 4:03}"
        arrays = {**arrays, name: arrays[name] ^ 1}
        arrays.pop(f"layer.{version - 2 + 4:03}", None)
        store.overwrite(LOCATION, model_of(arrays), write())
        taken.append(store.usage(LOCATION, [version]).total[version] / (len(arrays) * MIB))
        assert content(version) == parts_of(arrays)
    assert max(taken) < 2.6
    assert any(later < 1.1 < earlier for earlier, later in pairwise(taken))


def test_a_table_that_is_no_model_is_written_anew(store, source, write, model_of, content, parts_of):
    """Nothing of it stays."""
    store.create(LOCATION, source(pa.table({"kind": ["tensor"]})), write())
    store.overwrite(LOCATION, model_of(SMALL), write())
    assert content(2) == parts_of(SMALL)


def test_a_table_that_lost_a_file_is_written_anew(store, write, model_of, content, parts_of):
    """What it had cannot be told, and is not needed."""
    store.create(LOCATION, model_of(SMALL), write())
    (file,) = data_files(store)
    (store._place.root / LOCATION / "data" / file).unlink()
    store.overwrite(LOCATION, model_of(SMALL), write())
    assert content(2) == parts_of(SMALL)


def test_a_source_that_fails_leaves_nothing(store, write, model_of):
    """Neither a version nor a file, and the error is the source's own."""
    store.create(LOCATION, model_of(weights(1, 1000)), write())
    files = data_files(store)

    class Unread:
        """A tensor whose bytes cannot be had."""

        shape = (100,)

    with pytest.raises(InvalidArgument, match="cannot be read"):
        store.overwrite(LOCATION, model_of({**weights(3, 4 * MIB, seed=1), "z": Unread()}), write())
    assert store.latest(LOCATION) == 1
    assert data_files(store) == files


def strangers(store):
    """Ways of coming in between."""
    uri = store.absolute(LOCATION)
    return {
        "append": lambda: lance.write_dataset(lance.dataset(uri).to_table(), uri, mode="append"),
        "overwrite": lambda: lance.write_dataset(lance.dataset(uri).to_table().slice(0, 2), uri, mode="overwrite"),
        "delete": lambda: lance.dataset(uri).delete("name = 'layer.001'"),
    }


@pytest.mark.parametrize("way", ["append", "overwrite", "delete"])
@pytest.mark.parametrize("when", ["before the commit", "in the commit"])
def test_a_stranger_in_between_is_a_conflict(store, write, model_of, monkeypatch, way, when):
    """Rows that were left out may be gone by then: the caller hears of it, and a repetition is right."""
    store.create(LOCATION, model_of(SMALL), write())
    come = strangers(store)[way]
    came = []

    def late(real):
        def call(*args, **kwargs):
            result = real(*args, **kwargs) if when == "before the commit" else None
            if not came:
                came.append(come())
            return real(*args, **kwargs) if result is None else result

        return call

    changed = {**SMALL, "layer.000": SMALL["layer.000"] ^ 1}
    with monkeypatch.context() as patch:
        if when == "before the commit":
            patch.setattr(delta, "write_fragments", late(delta.write_fragments))
        else:
            patch.setattr(delta.lance.LanceDataset, "commit", staticmethod(late(lance.LanceDataset.commit)))
        with pytest.raises(Conflict, match="another writer"):
            store.overwrite(LOCATION, model_of(changed), write())
    assert came
    # Nobody's newest version lacks a file.
    lance.dataset(store.absolute(LOCATION)).to_table()


@pytest.mark.parametrize(
    "fault", [Unavailable("the answer was lost"), KeyboardInterrupt()], ids=["lost", "interrupted"]
)
def test_a_commit_that_went_through_keeps_its_files(store, write, model_of, content, parts_of, monkeypatch, fault):
    """The caller hears of an error, and what was committed can be read and taken over by who finishes the operation."""
    store.create(LOCATION, model_of(SMALL), write())
    changed = {**SMALL, "layer.000": SMALL["layer.000"] ^ 1}
    commit = lance.LanceDataset.commit

    def late(*args, **kwargs):
        commit(*args, **kwargs)
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(delta.lance.LanceDataset, "commit", staticmethod(late))
        with pytest.raises(type(fault)):
            store.overwrite(LOCATION, model_of(changed), write("2" * 32))
    assert store.writers(LOCATION) == {1: "1" * 32, 2: "2" * 32}
    assert content(2) == parts_of(changed)


@pytest.mark.parametrize("way", ["append", "overwrite", "delete"])
def test_what_a_stranger_left_is_replaced(store, write, model_of, content, parts_of, way):
    """Who finds another table than he knew still makes exactly his model of it."""
    store.create(LOCATION, model_of(SMALL), write())
    strangers(store)[way]()
    changed = {**SMALL, "layer.000": SMALL["layer.000"] ^ 1}
    store.overwrite(LOCATION, model_of(changed), write())
    assert content(3) == parts_of(changed)


def test_only_small_columns_are_read(store, write, model_of):
    """The bytes of the old version stay on the disk: a delta of a large model reads little."""
    arrays = weights(16, MIB)
    store.create(LOCATION, model_of(arrays), write())

    def read():
        return int(Path("/proc/self/io").read_text().split()[1])

    started = read()
    store.overwrite(LOCATION, model_of({**arrays, "layer.000": arrays["layer.001"]}), write())
    assert read() - started < 2 * MIB


def test_a_branch_is_merged_as_a_difference(store, write, model_of, content, parts_of):
    """Of the branch's rows only those come to the main line that it has not; the branch can go."""
    arrays = weights(50, MIB // 4)
    store.create(LOCATION, model_of(arrays), write())
    store.branch(LOCATION, "tuned", 1, write())
    own = store.branch_location(LOCATION, "tuned")
    changed = {**arrays, "layer.007": arrays["layer.007"] ^ 1}
    number = store.overwrite(own, model_of(changed), write())
    assert content(number, own) == parts_of(changed)
    merged = store.merge(LOCATION, "tuned", number, write())
    assert store.usage(LOCATION, [merged]).unique[merged] < MIB
    store.unbranch(LOCATION, "tuned")
    assert content(merged) == parts_of(changed)
    assert content(1) == parts_of(arrays)
