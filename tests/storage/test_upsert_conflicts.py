"""Upserts that meet another writer between merge and commit."""

from __future__ import annotations

import lance
import pyarrow as pa
import pytest

from alluxio_lance.errors import Conflict, Unavailable
from alluxio_lance.storage import upserting

LOCATION = "datasets/a.lance"
TABLE = pa.table({"a": [1, 1, 2], "b": ["x", "y", "x"], "v": [10, 20, 30]})


@pytest.fixture
def table(store, source, write):
    """A table with a key of two columns."""
    store.create(LOCATION, source(TABLE), write())


GIVEN = [
    (pa.table({"a": [1, 5], "v": [11, 50]}), [(1, "x", 11), (5, None, 50)]),
    (pa.table({"a": [1, 5], "b": ["m", "n"], "v": [11, 50]}), [(1, "m", 11), (5, "n", 50)]),
]


@pytest.mark.parametrize(("given", "rows"), GIVEN, ids=["some columns", "all columns"])
@pytest.mark.parametrize("strangers", [1, 3])
def test_a_merge_is_done_again_after_a_conflict(store, source, write, read, table, monkeypatch, strangers, given, rows):
    """A stranger overwrites the table between merge and commit: the merge is computed anew on what is there."""
    commit = lance.LanceDataset.commit
    came = []

    def late(table, transaction, *args, **kwargs):
        if len(came) < strangers:
            came.append(lance.write_dataset(TABLE.slice(0, 1), store.absolute(LOCATION), mode="overwrite"))
        return commit(table, transaction, *args, **kwargs)

    monkeypatch.setattr(upserting.lance.LanceDataset, "commit", staticmethod(late))
    version = store.upsert(LOCATION, source(given), ["a"], write())
    assert version == 2 + strangers
    assert [tuple(row.values()) for row in read(LOCATION, version).to_pylist()] == rows


def test_rows_are_not_put_into_other_columns(store, source, write, read, table, monkeypatch):
    """A stranger changes the columns after the rows were written: that is a conflict, and the rows go."""
    real = upserting.write_fragments

    def late(*args, **kwargs):
        written = real(*args, **kwargs)
        lance.write_dataset(pa.table({"v": [1], "a": [2], "b": ["z"]}), store.absolute(LOCATION), mode="overwrite")
        return written

    monkeypatch.setattr(upserting, "write_fragments", late)
    with pytest.raises(Conflict, match="changed the columns"):
        store.upsert(LOCATION, source(TABLE), ["a", "b"], write())
    assert read(LOCATION, 2).to_pylist() == [{"v": 1, "a": 2, "b": "z"}]
    assert len(list((store._place.root / LOCATION / "data").iterdir())) == 2


def test_a_commit_that_went_through_keeps_its_files(store, source, write, read, table, monkeypatch):
    """Only its answer was lost: whoever finishes the operation finds a whole version."""
    commit = lance.LanceDataset.commit

    def late(*args, **kwargs):
        commit(*args, **kwargs)
        raise Unavailable("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(upserting.lance.LanceDataset, "commit", staticmethod(late))
        with pytest.raises(Unavailable):
            store.upsert(LOCATION, source(TABLE.slice(0, 1)), ["a", "b"], write("2" * 32))
    assert store.writers(LOCATION) == {1: "1" * 32, 2: "2" * 32}
    assert read(LOCATION, 2).num_rows == TABLE.num_rows


def test_conflicts_without_end_are_told(store, source, write, table, monkeypatch):
    """After ten attempts the caller hears of the conflict."""
    commit = lance.LanceDataset.commit

    def late(table, transaction, *args, **kwargs):
        lance.write_dataset(TABLE, store.absolute(LOCATION), mode="overwrite")
        return commit(table, transaction, *args, **kwargs)

    monkeypatch.setattr(upserting.lance.LanceDataset, "commit", staticmethod(late))
    with pytest.raises(Conflict, match="another writer"):
        store.upsert(LOCATION, source(pa.table({"a": [5], "v": [50]})), ["a"], write())
    assert store.latest(LOCATION) == 11
