"""Upserts: keys, nulls, conflicts."""

from __future__ import annotations

import lance
import pyarrow as pa
import pytest

from alluxio_lance.errors import Conflict, InvalidArgument
from alluxio_lance.storage import upserting

LOCATION = "datasets/a.lance"
TABLE = pa.table({"a": [1, 1, 2], "b": ["x", "y", "x"], "v": [10, 20, 30]})


@pytest.fixture
def table(store, source, write):
    """A table with a key of two columns."""
    store.create(LOCATION, source(TABLE), write())


def test_a_key_may_have_several_columns(store, source, write, read, table):
    """Only rows in which all key columns match are replaced."""
    given = pa.table({"b": ["y", "y"], "a": [1, 2], "v": [21, 40]})
    version = store.upsert(LOCATION, source(given), ["a", "b"], write())
    rows = {(row["a"], row["b"]): row["v"] for row in read(LOCATION, version).to_pylist()}
    assert rows == {(1, "x"): 10, (1, "y"): 21, (2, "x"): 30, (2, "y"): 40}


def test_missing_columns_keep_their_values(store, source, write, read, table):
    """Columns that the source does not have stay in matched rows, and are null in new ones."""
    version = store.upsert(LOCATION, source(pa.table({"v": [31, 50], "a": [2, 5]})), ["a"], write())
    rows = {row["a"]: (row["b"], row["v"]) for row in read(LOCATION, version).to_pylist()}
    assert (rows[2], rows[5]) == (("x", 31), (None, 50))


@pytest.mark.parametrize(
    ("given", "on", "sentence"),
    [
        (TABLE, ["a"], "2 keys|1 keys more than once, such as a=1"),
        (pa.table({"a": [7, 7], "v": [1, 2]}), ["a"], "1 keys more than once, such as a=7"),
        (
            pa.table({"a": [None], "v": [1]}, schema=pa.schema([("a", pa.int64()), ("v", pa.int64())])),
            ["a"],
            "has a null",
        ),
        (TABLE, ["nope"], "'nope' is not in the table, which has a, b, v"),
        (pa.table({"v": [1]}), ["a"], "'a' is not in the test's table"),
        (TABLE, [], "needs key columns"),
        (pa.table({"a": [9], "q": [1]}), ["a"], "column 'q' is not in the table"),
        (pa.table({"a": [9], "v": ["no"]}), ["a"], "column 'v' is string here"),
    ],
)
def test_unusable_keys_are_refused(store, source, write, table, given, on, sentence):
    """The table is as before, and the sentence says why."""
    with pytest.raises(InvalidArgument, match=sentence):
        store.upsert(LOCATION, source(given), on, write())
    assert store.latest(LOCATION) == 1
    assert len(list((store._place.root / LOCATION / "data").iterdir())) == 1


def test_a_key_has_a_simple_type(store, source, write):
    """Lists are no keys."""
    nested = pa.table({"k": [[1]], "v": [1]})
    store.create(LOCATION, source(nested), write())
    with pytest.raises(InvalidArgument, match=r"column 'k' is list.*keys are numbers"):
        store.upsert(LOCATION, source(nested), ["k"], write())


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


def test_a_failing_source_changes_nothing(store, source, write, table):
    """The source is read to its end before the table is touched."""

    def failing():
        yield TABLE.to_batches()[0].slice(1, 2)
        raise ZeroDivisionError

    with pytest.raises(InvalidArgument, match="ZeroDivisionError"):
        store.upsert(LOCATION, source(failing(), TABLE.schema), ["a", "b"], write())
    assert store.latest(LOCATION) == 1


def test_many_batches_are_merged(store, source, write, read, table):
    """A source of several batches, also empty ones, counts as a whole."""
    batches = [pa.record_batch({"a": [n], "b": ["x"], "v": [n * 100]}) for n in range(1, 200)]
    version = store.upsert(LOCATION, source(batches, TABLE.schema), ["a", "b"], write())
    assert sorted(read(LOCATION, version)["v"].to_pylist()) == sorted([20, *(n * 100 for n in range(1, 200))])
