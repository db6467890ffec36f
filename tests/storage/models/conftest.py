"""Models for the store: their rows, and what is read back of a version."""

from __future__ import annotations

import numpy as np
import pytest

from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import File, Notes, Tensor, source_of

LOCATION = "models/a.lance"


def weights(count, size, seed=0):
    """Make tensors of random bytes: an array of uint8 by name."""
    random = np.random.default_rng(seed)
    return {f"layer.{number:03}": random.integers(0, 256, size, np.uint8) for number in range(count)}


@pytest.fixture
def model_of():
    """Make the source of a model: arrays by name, bytes by path, and notes."""

    def make(arrays, files=None, notes=None):
        tensors = [
            Tensor(TensorSpec(name=name, dtype="U8", shape=array.shape), lambda array=array: memoryview(array))
            for name, array in arrays.items()
        ]
        given = [File(path, lambda data=data: memoryview(data)) for path, data in (files or {}).items()]
        return source_of(tensors, given, notes or Notes(), "the test's model")

    return make


@pytest.fixture
def content(store):
    """Read a version as a set of its rows' descriptions and, by part, the bytes put together."""

    def make(version, location=LOCATION):
        with store.open(location, version) as reader:
            rows = [row for batch in reader.batches(reader.schema.names) for row in batch.to_pylist()]
        keys = [(row["kind"], row["name"], row["chunk"]) for row in rows]
        assert len(set(keys)) == len(keys)
        rows.sort(key=lambda row: (row["kind"], row["name"], row["chunk"]))
        parts = {}
        for row in rows:
            parts[row["kind"], row["name"]] = parts.get((row["kind"], row["name"]), b"") + row["data"]
        assert all(len(parts[row["kind"], row["name"]]) == row["size"] for row in rows)
        return parts

    return make


@pytest.fixture
def parts_of():
    """Say what `content` has to be for a model."""

    def make(arrays, files=None, notes=None):
        return {
            ("notes", ""): (notes or Notes()).to_json(),
            **{("tensor", name): array.tobytes() for name, array in arrays.items()},
            **{("file", path): bytes(data) for path, data in (files or {}).items()},
        }

    return make
