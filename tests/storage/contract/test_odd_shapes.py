"""Data of odd shapes: what cannot be read again is refused before a byte is written, and the rest comes back equal."""

from __future__ import annotations

from itertools import product

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument

LOCATION = "t/x.lance"


def column(array, nullable=True):
    """Make a table of an id and one more column."""
    fields = [pa.field("id", pa.int64()), pa.field("c", array.type, nullable)]
    return pa.Table.from_arrays([pa.array(range(len(array)), pa.int64()), array], schema=pa.schema(fields))


def deep(times):
    """Make lists of lists."""
    return pa.list_(deep(times - 1)) if times else pa.int8()


PAIRS = pa.struct([("a", pa.int32())])
REFUSED = {
    "binary of width 0": (column(pa.array([b"", b""], pa.binary(0))), "width 0"),
    "lists of size 0": (column(pa.array([[], []], pa.list_(pa.int32(), 0))), "size 0"),
    "fixed lists of texts": (column(pa.array([["a", "b"]], pa.list_(pa.string(), 2))), "lists of any size"),
    "fixed lists of structs": (column(pa.array([[{"a": 1}, {"a": 2}]], pa.list_(PAIRS, 2))), "lists of any size"),
    "fixed lists of dictionaries": (
        column(pa.FixedSizeListArray.from_arrays(pa.array(["a", "b"]).dictionary_encode(), 2)),
        "lists of any size",
    ),
    "a fault deep inside": (column(pa.array([[[b""]]], pa.list_(pa.list_(pa.binary(0))))), "width 0"),
    "a struct of nothing": (column(pa.array([{}, None], pa.struct([]))), "needs fields"),
    "a struct with one name twice": (
        column(pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])),
        "a name of its own",
    ),
    "a type without end": (column(pa.nulls(1, deep(200))), "nested more than 64 times"),
    "a NUL in a name": (pa.table({"a\0b": [1]}), "NUL"),
    "a NUL in an inner name": (column(pa.array([{"a\0b": 1}])), "NUL"),
    "a backtick in a name": (pa.table({"a`b": [1]}), "'`'"),
    "metadata that are no text": (pa.table({"a": [1]}).replace_schema_metadata({"k": b"\xff"}), "UTF-8"),
    "metadata of a column that are no text": (
        pa.table([pa.array([1])], schema=pa.schema([pa.field("a", pa.int64(), metadata={"k": b"\xff"})])),
        "UTF-8",
    ),
    "a null behind a dictionary": (
        column(pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["x", None])), nullable=False),
        "has a null",
    ),
    "an ordinary null": (column(pa.array([1, None]), nullable=False), "has a null"),
}


ALLUXIO = ("alluxio", "alluxio-s3")
# Nothing of what is refused comes as far as the place.
REFUSALS = [*product(["folder"], REFUSED), *product(ALLUXIO, ["a fault deep inside", "an ordinary null"])]


@pytest.mark.parametrize(("ground", "case"), REFUSALS, indirect=["ground"])
def test_what_could_not_be_read_again_is_refused(store, write, source, case):
    """The message says what is wrong, and no table is there afterwards."""
    table, reason = REFUSED[case]
    with pytest.raises(InvalidArgument, match=reason):
        store.create(LOCATION, source(table), write())
    assert store.latest(LOCATION) is None


KEPT = {
    "empty": pa.table({"a": pa.array([], pa.int64()), "s": pa.array([], pa.string())}),
    "a long name": pa.table({"n" * 5000: [1, 2]}),
    "names of all kinds": pa.table({"ü\u200b 🎈": [1], "a/b": [2], '"q"': [3], "ta\tb\n": [4], " ": [5], "A": [6]}),
    "only nulls": column(pa.nulls(3)),
    "nested nulls": column(pa.array([[[1, None], None], None, []], pa.list_(pa.list_(pa.int32())))),
    "structs in lists": column(pa.array([[{"a": 1}, None], None, []], pa.list_(PAIRS))),
    "a dictionary with an unused null": column(
        pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int8()), pa.array(["x", None])), nullable=False
    ),
    "an extension": column(pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16)))),
    "durations": column(pa.array([1, None], pa.duration("ns"))),
    "times with a zone": column(pa.array([1, None], pa.timestamp("ns", "Europe/Berlin"))),
    "a dot in an inner name": column(pa.array([{"a.b": 1}])),
}


STORED = [*product(["folder"], KEPT), *product(ALLUXIO, ["empty", "a long name", "structs in lists", "an extension"])]


@pytest.mark.parametrize(("ground", "case"), STORED, indirect=["ground"])
def test_odd_data_come_back_equal_also_after_an_append(store, write, source, read, case):
    """Rows and schema of the first version and of the second are what went in."""
    table = KEPT[case]
    store.create(LOCATION, source(table), write())
    assert read(LOCATION, 1).equals(table)
    store.append(LOCATION, source(table), write())
    assert read(LOCATION, 2).to_pylist() == table.to_pylist() * 2


def test_an_ordered_dictionary_can_be_appended_again(store, write, source, read):
    """Lance forgets the order of categories; data that have it still fit the table that they made."""
    ordered = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["low", "high"]), ordered=True)
    store.create(LOCATION, source(column(ordered)), write())
    store.append(LOCATION, source(column(ordered)), write())
    back = read(LOCATION, 2)["c"]
    assert back.to_pylist() == ["low", "high"] * 2
    assert not back.type.ordered


def test_a_dictionary_of_views_is_stored_as_one_of_large_texts(store, write, source, read):
    """Lance has no views, also not behind a dictionary."""
    array = pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), pa.array(["x"], pa.string_view()))
    store.create(LOCATION, source(column(array)), write())
    assert read(LOCATION, 1)["c"].to_pylist() == ["x", None]
