"""Rows that are no model: each fault is refused by name, and no version is made."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.storage.models import checking
from alluxio_lance.weights.rows import CHUNK_BYTES, MODEL_SCHEMA, Notes

LOCATION = "models/a.lance"
LARGE = np.zeros(CHUNK_BYTES + 3, np.uint8)


def row(kind, name, data, **said):
    """Make a row whose hash is right."""
    plain = {"chunk": 0, "dtype": "", "shape": [], "size": len(data), "hash": hashlib.sha256(data).digest()}
    return {"kind": kind, "name": name, "data": data, **plain, **said}


def tensor(name="a", data=b"abcd", dtype="U8", shape=(4,), **said):
    """Make a row of a tensor."""
    return row("tensor", name, data, dtype=dtype, shape=list(shape), **said)


NOTES = row("notes", "", Notes().to_json())
FIRST = {"data": LARGE[:CHUNK_BYTES].tobytes(), "shape": (LARGE.size,), "size": LARGE.size}
LAST = {"data": b"\0\0\0", "shape": (LARGE.size,), "size": LARGE.size, "chunk": 1}

WRONG = {
    "no row": ([], "no notes"),
    "no notes": ([tensor()], "no notes"),
    "notes twice": ([NOTES, NOTES], "piece 0 of the notes '' twice"),
    "notes of two sizes": ([NOTES, row("notes", "", b"{}")], "described in two ways"),
    "notes with a name": ([row("notes", "a", Notes().to_json())], "notes that have a name"),
    "notes with a type": ([{**NOTES, "dtype": "U8"}], "with an element type"),
    "notes of 1 GiB": ([{**NOTES, "size": 1 << 30}], "more than 64 MiB"),
    "notes that are no JSON": ([row("notes", "", b"{]")], "no JSON"),
    "notes that are other JSON": ([row("notes", "", b'{"tied":{}}')], "no object with"),
    "tied to nothing": ([row("notes", "", Notes(tied={"b": "c"}).to_json()), tensor()], "cannot be tied"),
    "kind unknown": ([NOTES, row("weight", "a", b"")], "of the kind 'weight'"),
    "type unknown": ([NOTES, tensor(dtype="complex")], "element type 'complex'"),
    "no type": ([NOTES, tensor(dtype="")], "element type ''"),
    "shape negative": ([NOTES, tensor(shape=(-4,))], "negative dimension"),
    "shape huge": ([NOTES, tensor(shape=(1 << 40, 1 << 40))], "no memory"),
    "shape of another size": ([NOTES, tensor(shape=(5,))], "4 bytes, and by its shape 5"),
    "half a byte": ([NOTES, tensor(dtype="F4", shape=(3,), size=1, data=b"a")], "no whole bytes"),
    "size too large": ([NOTES, row("file", "a", b"ab", size=3)], "2 bytes instead of 3"),
    "size too small": ([NOTES, row("file", "a", b"ab", size=1)], "2 bytes instead of 1"),
    "size negative": ([NOTES, row("file", "a", b"", size=-1)], "negative size"),
    "file with a type": ([NOTES, row("file", "a", b"ab", dtype="U8")], "with an element type"),
    "file with a shape": ([NOTES, row("file", "a", b"ab", shape=[2])], "a shape"),
    "tensor twice": ([NOTES, tensor(), tensor()], "twice"),
    "tensor in two types": ([NOTES, tensor(), tensor(dtype="I8")], "described in two ways"),
    "file twice": ([NOTES, row("file", "a", b""), row("file", "a", b"")], "twice"),
    "first piece missing": ([NOTES, tensor(**LAST)], "no piece 0 of the tensor 'a'"),
    "last piece missing": ([NOTES, tensor(**FIRST)], "no piece 1 of the tensor 'a'"),
    "piece twice": ([NOTES, tensor(**FIRST), tensor(**LAST), tensor(**LAST)], "piece 1 of the tensor 'a' twice"),
    "piece too many": ([NOTES, tensor(chunk=1)], "piece 1 of the tensor 'a', and by its size it has 1"),
    "piece below 0": ([NOTES, tensor(chunk=-1)], "piece -1"),
    "first piece short": ([NOTES, tensor(**{**FIRST, "data": b"ab"})], f"2 bytes instead of {CHUNK_BYTES}"),
    "last piece long": ([NOTES, tensor(**{**LAST, "data": b"abcd"})], "4 bytes instead of 3"),
    "hash of other bytes": ([NOTES, tensor(hash=hashlib.sha256(b"abce").digest())], "not the SHA-256"),
    "hash of nothing": ([NOTES, tensor(hash=bytes(32))], "not the SHA-256"),
    "name reserved": ([NOTES, tensor("__metadata__")], "reserved"),
    "path reserved": ([NOTES, row("file", "__metadata__", b"")], "keeps this name for itself"),
    "path outside": ([NOTES, row("file", "../a", b"")], "cannot have the file"),
    "path absolute": ([NOTES, row("file", "/a", b"")], "cannot have the file"),
    "file and folder": ([NOTES, row("file", "a", b""), row("file", "a/b", b"")], "below it"),
}


@pytest.mark.parametrize(("rows", "message"), WRONG.values(), ids=WRONG)
def test_rows_that_are_no_model_are_refused(store, source, write, rows, message):
    """The message names the model and what is wrong; no table is there."""
    given = source(pa.Table.from_pylist(rows, MODEL_SCHEMA))
    with pytest.raises(InvalidArgument, match=message) as refusal:
        store.create(LOCATION, given, write())
    assert "the test's table" in refusal.value.message
    assert len(refusal.value.message) < 1000
    assert store.latest(LOCATION) is None


def test_names_that_no_head_could_hold_are_refused_as_they_come(store, source, write, monkeypatch):
    """They are kept in memory until the end; files have a head of their own."""
    monkeypatch.setattr(checking, "_LONGEST_NAMES", 10)
    files = [row("file", "f" * 10, b"")]
    store.create(LOCATION, source(pa.Table.from_pylist([NOTES, *files, tensor("a" * 10)], MODEL_SCHEMA)), write())
    given = source(pa.Table.from_pylist([tensor("a" * 6), tensor("b" * 5)], MODEL_SCHEMA))
    with pytest.raises(InvalidArgument, match="names of tensors with more than 10 characters"):
        store.create("models/b.lance", given, write())


@pytest.mark.parametrize("name", MODEL_SCHEMA.names)
def test_a_null_is_refused(store, source, write, name):
    """In every column, though the schema says that there is none."""
    columns = [pa.array([None if field.name == name else NOTES[field.name]], field.type) for field in MODEL_SCHEMA]
    batch = pa.RecordBatch.from_arrays(columns, schema=MODEL_SCHEMA)
    with pytest.raises(InvalidArgument, match=f"'{name}'"):
        store.create(LOCATION, source([batch], MODEL_SCHEMA), write())
    assert store.latest(LOCATION) is None


def test_a_null_in_a_shape_is_refused(store, source, write):
    """Arrow's own check of a batch does not see it."""
    batch = pa.RecordBatch.from_pylist([NOTES, tensor()], MODEL_SCHEMA)
    shape = batch.column("shape")
    nulls = pa.ListArray.from_arrays(shape.offsets, pa.array([None], pa.int64()), type=shape.type)
    batch = batch.set_column(4, MODEL_SCHEMA.field("shape"), nulls)
    with pytest.raises(InvalidArgument, match="a null in the column 'shape'"):
        store.create(LOCATION, source([batch], MODEL_SCHEMA), write())


MARK = MODEL_SCHEMA.metadata
SCHEMAS = {
    "a column less": pa.schema(list(MODEL_SCHEMA)[:-1], MARK),
    "a column more": pa.schema([*MODEL_SCHEMA, pa.field("more", pa.int8())], MARK),
    "another type": MODEL_SCHEMA.set(2, pa.field("chunk", pa.int64(), nullable=False)),
    "nullable": MODEL_SCHEMA.set(7, pa.field("data", pa.large_binary())),
    "another order": pa.schema(list(MODEL_SCHEMA)[::-1], MARK),
    "another format": MODEL_SCHEMA.with_metadata({b"alluxio-lance.model": b"2"}),
    "more metadata": MODEL_SCHEMA.with_metadata({**MARK, b"more": b""}),
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_other_columns_with_the_mark_of_a_model_are_refused(store, source, write, schema):
    """Whoever marks a table as a model has to have exactly its schema."""
    with pytest.raises(InvalidArgument, match="marked as a model and has other columns"):
        store.create(LOCATION, source(pa.table([[]] * len(schema), schema=schema)), write())
    assert store.latest(LOCATION) is None


def test_names_that_are_no_text_are_refused(store, source, write):
    """Arrow itself does not look whether a string is UTF-8."""
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff"))
    columns = [pa.array([NOTES[field.name]], field.type) for field in MODEL_SCHEMA]
    batch = pa.RecordBatch.from_arrays([columns[0], bad, *columns[2:]], schema=MODEL_SCHEMA)
    with pytest.raises(InvalidArgument, match="rows that are none"):
        store.create(LOCATION, source([batch], MODEL_SCHEMA), write())


@pytest.mark.parametrize("wrong", [[NOTES, NOTES], [tensor(hash=bytes(32)), NOTES]], ids=["notes", "hash"])
def test_a_refused_update_leaves_what_was_there(store, source, write, model_of, content, wrong):
    """Neither a version nor another content."""
    store.create(LOCATION, model_of({"a": LARGE}), write())
    before = content(1)
    with pytest.raises(InvalidArgument):
        store.overwrite(LOCATION, source(pa.Table.from_pylist(wrong, MODEL_SCHEMA)), write())
    assert (store.latest(LOCATION), content(1)) == (1, before)
    assert len(list((store._place.root / LOCATION / "data").iterdir())) == 1


def test_rows_may_come_in_any_order_and_any_batches(store, source, write, model_of, content, parts_of):
    """Those of a table that was updated lie in another order than they were written in."""
    arrays = {"a": np.arange(CHUNK_BYTES + 3, dtype=np.uint32).view(np.uint8)[:-3], "b": LARGE}
    table = model_of(arrays, {"config.json": b"{}"}).reader.read_all()
    mixed = table.take(np.random.default_rng(3).permutation(table.num_rows))
    batches = [mixed.slice(start, 1).combine_chunks().to_batches()[0] for start in range(mixed.num_rows)]
    store.create(LOCATION, source(batches, MODEL_SCHEMA), write())
    assert content(1) == parts_of(arrays, {"config.json": b"{}"})


def test_slices_of_larger_batches_are_checked_where_they_lie(store, source, write, model_of, content, parts_of):
    """The bytes of a row are found in a batch that does not begin at its buffers' start."""
    arrays = {"a": np.full(9, 7, np.uint8), "b": np.full(5, 8, np.uint8)}
    whole = model_of(arrays).reader.read_all().combine_chunks().to_batches()[0]
    store.create(LOCATION, source([whole.slice(0, 1), whole.slice(1)], MODEL_SCHEMA), write())
    assert content(1) == parts_of(arrays)


def test_notes_of_many_pieces_are_put_together(store, write, model_of, content, parts_of):
    """They are cut like every part."""
    notes = Notes(extra={"vocabulary": "x" * (2 * CHUNK_BYTES)})
    store.create(LOCATION, model_of({}, notes=notes), write())
    assert content(1) == parts_of({}, notes=notes)
