"""Upserts: keys, nulls, sources that fail."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument

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


UNUSABLE = [
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
]
CASES = [
    *(("folder", *case) for case in UNUSABLE),
    # What is wrong is found before the place is reached, but for keys that the table has twice.
    *((kind, *case) for kind in ("alluxio", "alluxio-s3") for case in (UNUSABLE[0], UNUSABLE[-1])),
]


@pytest.mark.parametrize(("ground", "given", "on", "sentence"), CASES, indirect=["ground"])
def test_unusable_keys_are_refused(store, source, write, table, root, given, on, sentence):
    """The table is as before, and the sentence says why."""
    with pytest.raises(InvalidArgument, match=sentence):
        store.upsert(LOCATION, source(given), on, write())
    assert store.latest(LOCATION) == 1
    assert len(list((root / LOCATION / "data").iterdir())) == 1


def test_a_key_has_a_simple_type(store, source, write):
    """Lists are no keys."""
    nested = pa.table({"k": [[1]], "v": [1]})
    store.create(LOCATION, source(nested), write())
    with pytest.raises(InvalidArgument, match=r"column 'k' is list.*keys are numbers"):
        store.upsert(LOCATION, source(nested), ["k"], write())


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
