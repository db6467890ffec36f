"""The manifest: what it says, that it is made in one pass, and every way in which a model may differ from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt, Internal, InvalidArgument
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.manifest import MANIFEST, SIGNATURE, Manifest, check_manifest, with_manifest
from alluxio_lance.weights.rows import CHUNK_BYTES, File, Notes, Tensor, source_of

NOTES = Notes(tied={"head": "ä"}, extra={"n": {2: "two", 10: "ten"}})


def tensor(name="ä", data=b"\0\1\2\3", dtype="U8", shape=None):
    """Make a tensor of bytes."""
    spec = TensorSpec(name=name, dtype=dtype, shape=(len(data),) if shape is None else shape)
    return Tensor(spec, lambda: memoryview(data))


def file(path="config.json", data=b"{}"):
    """Make a file."""
    return File(path, lambda: memoryview(data))


def made(tensors, files, notes=NOTES, sign=None):
    """Return the files of a model as they are stored, by path."""
    hashed, kept = with_manifest(tensors, files, notes, sign)
    rows = source_of(hashed, kept, notes).reader.read_all().to_pylist()
    return {row["name"]: row["data"] for row in rows if row["kind"] == "file"}


TENSORS = [tensor(), tensor("empty", b"", "F32", (0, 3)), tensor("w", b"\0\0\x80?" * 3, "F32", (3, 1))]
FILES = [file(), file("vocab/a.txt", b"")]


def test_it_has_the_hash_of_every_part():
    """As anybody can compute it; the file is canonical JSON."""
    text = made(TENSORS, FILES)[MANIFEST]
    found = json.loads(text)
    assert found["tensors"]["w"] == {
        "dtype": "F32",
        "shape": [3, 1],
        "sha256": hashlib.sha256(b"\0\0\x80?" * 3).hexdigest(),
    }
    assert found["files"] == {
        "config.json": hashlib.sha256(b"{}").hexdigest(),
        "vocab/a.txt": hashlib.sha256(b"").hexdigest(),
    }
    assert text == json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert list(found["tensors"]) == ["empty", "w", "ä"]


def test_the_same_model_has_the_same_manifest_whatever_the_order():
    """So that a signature can be made anew from what is stored."""
    assert made(TENSORS, FILES)[MANIFEST] == made(TENSORS[::-1], FILES[::-1])[MANIFEST]


def test_every_part_is_read_once():
    """The hash is taken of the bytes that go into the store, not of a second reading."""
    calls = []

    def data():
        calls.append(1)
        return memoryview(b"abcd")

    hashed, kept = with_manifest([Tensor(TensorSpec(name="t", dtype="U8", shape=(4,)), data)], [File("f", data)])
    assert calls == []
    source_of(hashed, kept).reader.read_all()
    assert len(calls) == 2


def test_it_is_of_the_bytes_that_are_stored():
    """A tensor that somebody writes into meanwhile is stored as it was piece by piece, and verifies."""
    written = bytearray(3 * CHUNK_BYTES)
    spec = TensorSpec(name="w", dtype="U8", shape=(len(written),))
    hashed, kept = with_manifest([Tensor(spec, lambda: memoryview(written))])
    batches = []
    for batch in source_of(hashed, kept).reader:
        written[:] = bytes([len(batches) + 1]) * len(written)
        batches.append(batch)
    rows = pa.Table.from_batches(batches).to_pylist()
    stored = b"".join(row["data"] for row in rows if row["name"] == "w")
    assert len(set(stored)) > 1
    assert all(row["hash"] == hashlib.sha256(row["data"]).digest() for row in rows)
    manifest = next(row["data"] for row in rows if row["name"] == MANIFEST)
    check_manifest(manifest, [Tensor(spec, lambda: memoryview(stored))], [], Notes())


def test_an_older_manifest_and_signature_are_replaced():
    """They are of other bytes; the new signature is over the new manifest."""
    old = [file(MANIFEST, b"old"), file(SIGNATURE, b"old")]
    assert made(TENSORS, FILES + old) == made(TENSORS, FILES)
    signed = made(TENSORS, FILES + old, sign=lambda manifest: b"signed:" + manifest)
    assert signed[SIGNATURE] == b"signed:" + signed[MANIFEST]


def test_other_files_in_its_folder_are_refused():
    """No manifest would cover them."""
    with pytest.raises(InvalidArgument, match=r"for its manifest and signature alone"):
        with_manifest([], [file(".alluxio-lance/x.py")])


def test_it_cannot_be_made_before_the_parts_went_by():
    """Else it would say less than there is."""
    _, kept = with_manifest(TENSORS, FILES)
    with pytest.raises(Internal, match="before all its parts were read"):
        kept[-1].data()


def test_what_was_stored_fits():
    """With its own manifest and signature beside the other files, and with notes that were written and read."""
    stored = made(TENSORS, FILES, sign=bytes)
    files = [file(path, data) for path, data in stored.items()]
    seen = []
    notes = Notes.from_json(NOTES.to_json())
    said = check_manifest(stored[MANIFEST], TENSORS, files, notes, on_progress=seen.append)
    assert said.tensors.keys() == {"ä", "empty", "w"}
    assert (seen[-1].step, seen[-1].bytes, seen[-1].total_bytes) == ("verify", 16, 16)


@pytest.mark.parametrize(
    ("tensors", "files", "notes", "message"),
    [
        ([tensor(data=b"\0\1\2\4"), *TENSORS[1:]], FILES, NOTES, "tensor 'ä' of the model has other bytes"),
        ([tensor(shape=(2, 2)), *TENSORS[1:]], FILES, NOTES, r"is U8 \[2, 2\], and in the manifest U8 \[4\]"),
        ([tensor(dtype="I8"), *TENSORS[1:]], FILES, NOTES, r"is I8 \[4\], and in the manifest U8"),
        (TENSORS[1:], FILES, NOTES, "tensor 'ä' of the model is in the manifest and not in the version"),
        ([*TENSORS, tensor("more")], FILES, NOTES, "tensor 'more' of the model is not in the manifest"),
        (TENSORS, [file(data=b"{ }"), FILES[1]], NOTES, r"file 'config\.json' of the model has other bytes"),
        (TENSORS, FILES[:1], NOTES, r"file 'vocab/a\.txt' of the model is in the manifest and not in the version"),
        (TENSORS, [*FILES, file("x.py", b"evil")], NOTES, r"file 'x\.py' of the model is not in the manifest"),
        (TENSORS, [*FILES, file(".alluxio-lance/x", b"")], NOTES, "is one that no manifest covers"),
        (TENSORS, FILES, replace(NOTES, tied={"head": "w"}), "what is noted of the model is not what"),
    ],
)
def test_every_difference_is_named(tensors, files, notes, message):
    """More, less or other than the manifest says: a sentence each, and what to do."""
    manifest = made(TENSORS, FILES)[MANIFEST]
    with pytest.raises(Corrupt, match=message) as caught:
        check_manifest(manifest, tensors, files, notes)
    assert "do not use this version" in caught.value.message


def test_a_part_of_a_model_can_be_checked():
    """Names that were not loaded are no fault; what was not in the manifest still is."""
    manifest = made(TENSORS, FILES)[MANIFEST]
    check_manifest(manifest, TENSORS[:1], [], NOTES, partial=True)
    with pytest.raises(Corrupt, match="not in the manifest"):
        check_manifest(manifest, [tensor("more")], [], NOTES, partial=True)


def _edited(change):
    record = json.loads(made(TENSORS, FILES)[MANIFEST])
    change(record)
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        made(TENSORS, FILES)[MANIFEST] + b" ",
        made(TENSORS, FILES)[MANIFEST].replace(b'"format":1', b'"format":1,"format":1'),
        _edited(lambda record: record.update(format=2)),
        _edited(lambda record: record.update(more=1)),
        _edited(lambda record: record.update(tensors=[])),
        _edited(lambda record: record.update(files={"a": "short"})),
        _edited(lambda record: record.update(notes=7)),
        _edited(lambda record: record["tensors"]["w"].update(shape=["3"])),
        _edited(lambda record: record["tensors"]["w"].update(shape=3)),
        _edited(lambda record: record["tensors"]["w"].update(dtype=None)),
        _edited(lambda record: record["tensors"]["w"].pop("sha256")),
        _edited(lambda record: record["tensors"].update(x=None)),
        b'{"files":{"\\ud800":"' + b"0" * 64 + b'"},"format":1,"notes":"' + b"0" * 64 + b'","tensors":{}}',
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_manifest_is_refused(text):
    """In one form alone, so that nobody reads one text in two ways."""
    with pytest.raises(Corrupt, match="the manifest of the model is"):
        Manifest.from_json(text)
