"""Mapped models against their own manifests."""

from __future__ import annotations

import pytest

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.verifying import check_bytes
from alluxio_lance.errors import Corrupt
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.manifest import MANIFEST, with_manifest
from alluxio_lance.weights.rows import File, Notes, Tensor, source_of

ONE, TWO = TensorSpec(name="one", dtype="U8", shape=(3,)), TensorSpec(name="two", dtype="U8", shape=(2,))
TENSORS = {ONE: b"abc", TWO: b"de"}
FILES = {"config.json": b"{}"}
NOTES = Notes(tied={"again": "one"})


def part(kind, what, data: bytes):
    """Make a part of bytes."""
    return kind(what, lambda: memoryview(data))


@pytest.fixture(scope="module")
def manifest() -> bytes:
    """The manifest of these parts."""
    tensors, files = with_manifest(
        [part(Tensor, spec, data) for spec, data in TENSORS.items()],
        [part(File, path, data) for path, data in FILES.items()],
        NOTES,
    )
    rows = source_of(tensors, files, NOTES).reader.read_all().to_pylist()
    return next(row["data"] for row in rows if row["name"] == MANIFEST)


def test_what_was_saved_verifies(make_lease, manifest):
    """The whole, and a part of the tensors; progress tells the bytes."""
    steps = []
    with MappedModel(make_lease(TENSORS, {**FILES, MANIFEST: manifest}, NOTES)) as model:
        check_bytes(model, on_progress=steps.append)
        check_bytes(model, ["two"])
    assert [step.bytes for step in steps] == [3, 5]


@pytest.mark.parametrize(
    ("tensors", "files", "notes", "what"),
    [
        ({ONE: b"abx", TWO: b"de"}, FILES, NOTES, "tensor 'one'"),
        ({ONE: b"abc"}, FILES, NOTES, "tensor 'two'"),
        (TENSORS, {"config.json": b"[]"}, NOTES, "file 'config.json'"),
        (TENSORS, {**FILES, "more": b""}, NOTES, "file 'more'"),
        (TENSORS, FILES, Notes(), "noted"),
    ],
    ids=["bytes", "missing", "file", "added", "notes"],
)
def test_what_was_changed_does_not(make_lease, manifest, tensors, files, notes, what):
    """The message names the part."""
    with (
        MappedModel(make_lease(tensors, {**files, MANIFEST: manifest}, notes)) as model,
        pytest.raises(Corrupt, match=what),
    ):
        check_bytes(model)


def test_a_model_without_a_manifest_says_so(make_lease):
    """Rows that were not made by save_model have none."""
    with MappedModel(make_lease(TENSORS, FILES, NOTES)) as model, pytest.raises(Corrupt, match="save_model"):
        check_bytes(model)
