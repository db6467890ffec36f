"""Tables that are no whole model: each fault is `Corrupt` with a sentence, and nothing stays."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt
from alluxio_lance.ways import FileWay, Way
from alluxio_lance.weights.rows import CHUNK_BYTES, MODEL_SCHEMA, Notes

Rows = list[dict]


def _find(rows: Rows, kind: str, name: str = "", chunk: int = 0) -> dict:
    return next(row for row in rows if (row["kind"], row["name"], row["chunk"]) == (kind, name, chunk))


def _data(row: dict, data: bytes) -> None:
    row.update(data=data, hash=hashlib.sha256(data).digest())


def _notes(text: bytes) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        row = _find(rows, "notes")
        _data(row, text)
        row["size"] = len(text)

    return change


def _without(kind: str, name: str = "", chunk: int = 0) -> Callable[[Rows], None]:
    return lambda rows: rows.remove(_find(rows, kind, name, chunk))


def _twice(kind: str, name: str = "", chunk: int = 0) -> Callable[[Rows], None]:
    return lambda rows: rows.append(dict(_find(rows, kind, name, chunk)))


def _with(kind: str, name: str, chunk: int = 0, /, **values) -> Callable[[Rows], None]:
    return lambda rows: _find(rows, kind, name, chunk).update(values)


def _all_of(kind: str, name: str, /, **values) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for row in rows:
            if (row["kind"], row["name"]) == (kind, name):
                row.update(values)

    return change


def _flipped(kind: str, name: str, chunk: int = 0) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        row = _find(rows, kind, name, chunk)
        row["data"] = bytes([row["data"][0] ^ 1]) + row["data"][1:]

    return change


def _longer(kind: str, name: str, more: bytes) -> Callable[[Rows], None]:
    return lambda rows: _data(row := _find(rows, kind, name), row["data"] + more)


def _second_notes(rows: Rows) -> None:
    rows.append({**_find(rows, "notes"), "name": "other"})


FAULTS = {
    "a piece is missing": (_without("tensor", "wide", 1), "tensor 'wide' of .* has the pieces 0, 2 instead of 0 to 2"),
    "the last piece is missing": (_without("tensor", "wide", 2), "has the pieces 0, 1 instead of 0 to 2"),
    "a piece comes twice": (_twice("tensor", "wide", 1), "piece 1 of tensor 'wide' is there twice"),
    "a small file comes twice": (_twice("file", "config.json"), "piece 0 of file 'config.json' is there twice"),
    "a piece beyond the end": (_all_of("tensor", "bias", chunk=7), "has the pieces 7 instead of 0 to 0"),
    "a negative piece": (_all_of("tensor", "bias", chunk=-1), "has the pieces -1 instead of 0 to 0"),
    "other bytes": (_flipped("tensor", "wide", 1), "piece 1 of tensor 'wide' has other bytes than were registered"),
    "other bytes of a file": (_flipped("file", "config.json"), "file 'config.json' has other bytes"),
    "other bytes of the notes": (_flipped("notes", ""), "piece 0 of the notes has other bytes"),
    "a longer piece": (_longer("tensor", "bias", b"xy"), "tensor 'bias' has 12 bytes instead of 10"),
    "a shorter piece": (lambda rows: _data(_find(rows, "tensor", "odd"), b"x"), "'odd' has 1 bytes instead of 3"),
    "another hash": (_with("file", "config.json", hash=bytes(32)), "other bytes than were registered"),
    "an unknown kind": (_all_of("file", "config.json", kind="graph"), "is a piece of 'graph', which this release"),
    "an unknown element type": (_all_of("tensor", "odd", dtype="Q8"), "tensor 'odd' has the element type 'Q8'"),
    "a negative dimension": (_all_of("tensor", "odd", shape=[-3]), "negative dimension"),
    "a shape without end": (_all_of("tensor", "odd", shape=[1 << 62, 1 << 62]), "no memory can hold"),
    "bytes that the shape has not": (_all_of("tensor", "odd", size=5), "'odd' has 5 bytes, and by its shape 3"),
    "pieces that do not agree": (_with("tensor", "wide", 1, size=3), "tensor 'wide' do not agree on what it is"),
    "a size without end": (_all_of("file", "config.json", size=1 << 62), "the pieces 0 instead of 0 to"),
    "a negative size": (_all_of("file", "config.json", size=-1), "would have -1 bytes"),
    "a file with a type": (_all_of("file", "config.json", dtype="U8"), "which only tensors have"),
    "a file out of the folder": (_all_of("file", "config.json", name="../x"), "cannot have the file '../x'"),
    "a file that is a folder": (_all_of("file", "config.json", name="tokenizer"), "a file 'tokenizer' and a file"),
    "a reserved name": (_all_of("tensor", "odd", name="__metadata__"), "'__metadata__' comes twice, or .* reserved"),
    "no notes": (_without("notes"), "has 0 notes instead of one"),
    "two notes": (_second_notes, "has 2 notes instead of one"),
    "notes that are no JSON": (_notes(b"{"), "the notes of the model are no JSON"),
    "notes that are none": (_notes(b"[]"), "the notes of the model are no object"),
    "notes that tie to nothing": (_notes(Notes(tied={"a": "b"}).to_json()), "'a' cannot be tied to 'b'"),
}


@pytest.fixture(scope="module")
def rows(table) -> Rows:
    """The rows of a good model."""
    return table.to_pylist()


def _table(rows: Rows) -> pa.Table:
    return pa.Table.from_pylist(rows, MODEL_SCHEMA)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_model_is_refused(fault, rows, load, budget, memfds):
    """Whatever is wrong is told, with what to do; no memory stays claimed."""
    change, message = FAULTS[fault]
    damaged = [dict(row) for row in rows]
    change(damaged)
    with pytest.raises(Corrupt, match=message) as refusal:
        load(_table(damaged))
    assert refusal.value.message.startswith("models/m@v3 is damaged: ")
    assert refusal.value.message.endswith("roll back")
    assert (budget.used, memfds()) == (0, [])


@pytest.mark.parametrize("far_from", [None, 0, 1])
def test_pieces_are_verified_unless_their_files_were(far_from, table, load, table_double, budget, memfds):
    """What comes from blocks of this node was verified as a file; from the batch on that does not, pieces are again.

    The blocks are made up: a table in place of the store says how it is read. What blocks do is tested with real ones.
    """
    rows = table.to_pylist()
    damaged = [number for number, row in enumerate(rows) if row["name"] in {"weight", "wide"}]
    for number in damaged:
        rows[number]["data"] = bytes([rows[number]["data"][0] ^ 1]) + rows[number]["data"][1:]
    reader = _Falling(table_double(_table(rows), 1), damaged[0] + far_from if far_from is not None else len(rows))
    if far_from is None:
        load(table, reader=reader)
        return
    with pytest.raises(Corrupt, match="has other bytes than were registered"):
        load(table, reader=reader)
    assert (budget.used, memfds()) == (0, [])


class _Falling:
    """A reader whose rows lie in blocks of this node, and from one row on come through the endpoint."""

    def __init__(self, inner, far):
        self.inner = inner
        self.far = far
        self.way = Way.SHORT_CIRCUIT

    @property
    def ways(self):
        return (FileWay(path="a", bytes=1, way=Way.JOINED, why=""), FileWay(path="b", bytes=1, way=self.way, why=""))

    def batches(self, columns, *, rows=None, **_):
        row = (rows or (0, 0))[0]
        for batch in self.inner.batches(columns, rows=rows, batch_rows=1):
            if "data" in columns and row >= self.far:
                self.way = Way.ENDPOINT
            yield batch
            row += batch.num_rows


@pytest.mark.parametrize("more", [-1, 1])
def test_other_rows_than_the_catalog_has(more, table, load):
    """A table with other rows than the version is refused."""
    with pytest.raises(Corrupt, match=f"has {table.num_rows + more} rows by its catalog, and {table.num_rows} in the"):
        load(table, num_rows=table.num_rows + more)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("chunk", lambda table: table["chunk"].cast(pa.int64())),
        ("shape", lambda table: pa.nulls(table.num_rows, MODEL_SCHEMA.field("shape").type)),
        ("shape", lambda table: pa.array([[None]] * table.num_rows, MODEL_SCHEMA.field("shape").type)),
        ("data", lambda table: table["data"].cast(pa.binary())),
        ("data", lambda table: pa.nulls(table.num_rows, pa.large_binary())),
    ],
)
def test_other_types_than_a_model_has(column, values, table, load):
    """Columns of other types, and nulls, are refused."""
    place = table.schema.get_field_index(column)
    with pytest.raises(Corrupt, match=f"its column '{column}' is"):
        load(table.set_column(place, column, values(table)))


def test_a_name_that_is_no_text(table, load):
    """Bytes in the place of a name are refused."""
    names = table["name"].combine_chunks()
    _, offsets, data = names.buffers()
    spoiled = pa.Array.from_buffers(pa.string(), len(names), [None, offsets, pa.py_buffer(b"\xff" * data.size)])
    with pytest.raises(Corrupt, match="a name in it is no UTF-8"):
        load(table.set_column(1, MODEL_SCHEMA.field("name"), spoiled))


@pytest.mark.parametrize("load", ["in passes"], indirect=True)
def test_a_stream_that_ends_early(table, load, table_double):
    """Rows that were there when they were counted, and are not when they are read, are told."""

    class Ending(table_double):
        def batches(self, columns, *, rows=None, **options):
            stop = rows and (rows[0], rows[1] - (rows[1] - rows[0] > 1))
            return super().batches(columns, rows=stop, **options)

    with pytest.raises(Corrupt, match="were asked for, and came to"):
        load(table, reader=Ending(table))


def test_what_chance_changes_is_refused_or_loaded_as_it_says(rows, load, read):
    """Random changes of random rows: each model is refused, or its files have what the rows have, byte by byte."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    small = [row for row in rows if row["size"] < CHUNK_BYTES]
    values = {
        "kind": ["tensor", "file", "notes", "", "Tensor"],
        "name": ["", "odd", "config.json", "a/../b", "x\0", "/", "é"],
        "chunk": [-1, 0, 1, 2**31 - 1],
        "dtype": ["", "U8", "F64", "F4", "u8"],
        "shape": [[], [0], [3], [-1], [2**62, 4]],
        "size": [-1, 0, 1, 3, 2**63 - 1],
        "data": [b"", b"x", b"xyz", b'{"a": 1}'],
    }
    for _ in range(150):
        changed = [dict(row) for row in small]
        for _ in range(chance.randrange(3)):
            row, column = chance.choice(changed), chance.choice(list(values))
            row[column] = chance.choice(values[column])
            if column == "data" and chance.random() < 0.8:
                _data(row, row["data"])
        try:
            tensors, files = map(read, load(_table(changed)))
        except Corrupt:
            continue
        for kind, whole in (("tensor", tensors), ("file", files)):
            said = {row["name"]: row["data"] for row in changed if row["kind"] == kind}
            assert {name: whole[name] for name in whole.head.tensors} == said
        assert all(hashlib.sha256(row["data"]).digest() == row["hash"] for row in changed)
