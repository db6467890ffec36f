"""A model as rows: cut, hashed, in one order; and its notes."""

from __future__ import annotations

import contextlib
import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import CHUNK_BYTES, MODEL_SCHEMA, File, Kind, Notes, Tensor, is_model, source_of


def tensor(name, data, dtype="U8", shape=None):
    """Make a tensor of bytes."""
    view = memoryview(data)
    return Tensor(TensorSpec(name=name, dtype=dtype, shape=(view.nbytes,) if shape is None else shape), lambda: view)


def file(path, data):
    """Make a file of bytes."""
    return File(path, lambda: memoryview(data))


def rows(*arguments):
    """Read all rows of a model."""
    return pa.Table.from_batches(source_of(*arguments).reader, MODEL_SCHEMA).to_pylist()


def test_parts_are_cut_hashed_and_ordered():
    """Notes, tensors as they lie in their file, files by their path, those of our own last; a piece has 4 MiB."""
    large = np.arange(2 * CHUNK_BYTES + 5, dtype=np.uint32).view(np.uint8)[: 2 * CHUNK_BYTES + 5]
    found = rows(
        [tensor("b", large), tensor("a", b"ab", "F16", ()), tensor("none", b"", "F32", (0, 3))],
        [file(".alluxio-lance/manifest.json", b"{}"), file("z", b""), file("config.json", b"{}")],
        Notes(tied={"c": "a"}),
    )
    assert [(row["kind"], row["name"], row["chunk"], row["size"]) for row in found] == [
        ("notes", "", 0, len(Notes(tied={"c": "a"}).to_json())),
        ("tensor", "none", 0, 0),
        ("tensor", "a", 0, 2),
        *(("tensor", "b", chunk, large.nbytes) for chunk in range(3)),
        ("file", "config.json", 0, 2),
        ("file", "z", 0, 0),
        ("file", ".alluxio-lance/manifest.json", 0, 2),
    ]
    assert all(row["hash"] == hashlib.sha256(row["data"]).digest() for row in found)
    assert b"".join(row["data"] for row in found if row["name"] == "b") == large.tobytes()
    assert [(row["dtype"], row["shape"]) for row in found[:3]] == [("", []), ("F32", [0, 3]), ("F16", [])]


def test_batches_are_about_eight_mebibytes_and_one_part_is_in_memory():
    """The bytes of a part are asked for when it is its turn: not before the batches with the former ones were taken."""
    asked = []

    def lazily(number):
        def data():
            asked.append(number)
            return memoryview(bytes(CHUNK_BYTES))

        return Tensor(TensorSpec(name=f"{number:02}", dtype="U8", shape=(CHUNK_BYTES,)), data)

    reader = source_of([lazily(number) for number in range(10)]).reader
    for batch in reader:
        assert batch.nbytes < 3 * CHUNK_BYTES
        done = sum(1 for kind in batch.column("kind").to_pylist() if kind == Kind.TENSOR)
        assert done <= 2
    assert asked == list(range(10))
    first = source_of([lazily(number) for number in range(10)]).reader
    asked.clear()
    first.read_next_batch()
    assert len(asked) <= 3


def test_a_thousand_small_tensors_are_few_batches():
    """Batches are filled by bytes, not by parts."""
    batches = list(source_of([tensor(f"{number}", b"abcd") for number in range(1000)]).reader)
    assert [batch.num_rows for batch in batches] == [1001]


def test_arrays_of_any_shape_are_taken_as_bytes():
    """A memoryview with dimensions, also with one of 0, which Python does not cast."""
    data = np.zeros((2, 3), np.float32)
    empty = np.zeros((0, 3), np.float32)
    found = rows(
        [
            Tensor(TensorSpec(name="a", dtype="F32", shape=(2, 3)), lambda: memoryview(data)),
            Tensor(TensorSpec(name="b", dtype="F32", shape=(0, 3)), lambda: memoryview(empty)),
        ]
    )
    assert [len(row["data"]) for row in found[1:]] == [0, 24]


def test_a_tensor_with_other_bytes_than_it_says_is_refused():
    """While it is read, with its name."""
    reader = source_of([tensor("a", b"abc", "F32", (1,))]).reader
    with pytest.raises(InvalidArgument, match="'a' has 3 bytes, and by its shape 4"):
        reader.read_all()


REFUSED = {
    "tensor twice": ([tensor("a", b"")] * 2, [], Notes(), "comes twice"),
    "path": ([], [file("../a", b"")], Notes(), "cannot have the file"),
    "tied to nothing": ([tensor("a", b"")], [], Notes(tied={"b": "c"}), "cannot be tied"),
    "tied and there": ([tensor("a", b""), tensor("b", b"")], [], Notes(tied={"b": "a"}), "cannot be tied"),
    "tied to an alias": ([tensor("a", b"")], [], Notes(tied={"b": "c", "c": "a"}), "cannot be tied"),
}


@pytest.mark.parametrize(("tensors", "files", "notes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_model_is_refused_at_once(tensors, files, notes, message):
    """Before a byte is asked for."""
    with pytest.raises(InvalidArgument, match=message):
        source_of(tensors, files, notes)


def test_models_are_marked():
    """By the metadata of the schema, whatever the columns are."""
    assert is_model(MODEL_SCHEMA)
    assert not is_model(MODEL_SCHEMA.remove_metadata())


FULL = Notes(
    tied={"lm_head": "embedding"},
    views={"a": "complex128"},
    quantized={"b": {"scale": 0.5, "axis": [0, None]}},
    extra={"class": "ü", "nested": {"x": [True, -1, 1e300]}},
)


def test_notes_come_back():
    """The same notes, the same bytes, whatever the order of their keys."""
    assert Notes.from_json(FULL.to_json()) == FULL
    assert Notes(extra={"b": 1, "a": 2}).to_json() == Notes(extra={"a": 2, "b": 1}).to_json()


GOOD = json.loads(Notes().to_json())
BAD_NOTES = {
    "empty": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "a key is missing": json.dumps({"tied": {}, "views": {}, "quantized": {}}).encode(),
    "a key too many": json.dumps({**GOOD, "more": {}}).encode(),
    "tied list": json.dumps({**GOOD, "tied": []}).encode(),
    "tied to a number": json.dumps({**GOOD, "tied": {"": 1}}).encode(),
    "view of a list": json.dumps({**GOOD, "views": {"a": []}}).encode(),
    "quantized by a text": json.dumps({**GOOD, "quantized": {"a": "int8"}}).encode(),
    "NaN": json.dumps({**GOOD, "extra": {"a": float("nan")}}).encode(),
    "larger than any float": b'{"tied":{},"views":{},"quantized":{},"extra":{"a":1e999}}',
    "5,000 digits": b'{"tied":{},"views":{},"quantized":{},"extra":{"a":' + b"9" * 5000 + b"}}",
    "a name twice": b'{"tied":{},"views":{},"quantized":{},"extra":{"a":1,"a":2}}',
    "half a character": b'{"tied":{},"views":{},"quantized":{},"extra":{"a":"\\ud800"}}',
    "Latin-1": '{"tied":{},"views":{},"quantized":{},"extra":{"é":1}}'.encode("latin-1"),
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "150 levels": b'{"tied":{},"views":{},"quantized":{},"extra":{"a":' + b"[" * 150 + b"]" * 150 + b"}}",
    "100,000 levels": b'{"tied":{},"views":{},"quantized":{},"extra":{"a":' + b"[" * 100_000,
}


@pytest.mark.parametrize("text", BAD_NOTES.values(), ids=BAD_NOTES)
def test_notes_that_are_none_are_refused(text):
    """With a sentence that says so."""
    with pytest.raises(InvalidArgument, match="the notes of the model") as refusal:
        Notes.from_json(text)
    assert len(refusal.value.message) < 1000


@pytest.mark.parametrize("extra", [{"a": float("nan")}, {"a": {1, 2}.__iter__()}, {"a": 1j}, {1j: 1}])
def test_notes_that_are_no_json_are_not_written(extra):
    """NaN, and objects that JSON has not."""
    with pytest.raises(InvalidArgument, match="no JSON"):
        Notes(extra=extra).to_json()


@given(st.binary(max_size=200))
def test_no_notes_make_it_fail_otherwise(text):
    """Fuzz: bytes of any kind."""
    with contextlib.suppress(InvalidArgument):
        assert Notes.from_json(text).to_json()
