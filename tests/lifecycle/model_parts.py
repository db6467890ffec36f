"""Models for the tests of the lifecycle: small ones of random tensors, and what a version holds of them."""

from __future__ import annotations

import lance
import numpy as np

from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import File, Notes, Tensor, source_of


def weights(seed=0, count=6, size=1000):
    """Make tensors of random bytes by name."""
    random = np.random.default_rng(seed)
    return {f"layer.{number}": random.integers(0, 256, size, np.uint8) for number in range(count)}


def rows_of(arrays, notes=None, view=memoryview):
    """Make what the verbs take: a reader of the rows of a model with these tensors, viewed in their turn, and one file."""
    tensors = [
        Tensor(TensorSpec(name=name, dtype="U8", shape=array.shape), lambda array=array: view(array))
        for name, array in arrays.items()
    ]
    return source_of(tensors, [File("config.json", lambda: memoryview(b"{}"))], notes or Notes()).reader


def tensors_of(location, version):
    """Read the tensors of a version, by name as bytes."""
    table = lance.dataset(location, version=version).to_table(filter="kind = 'tensor'")
    rows = sorted(table.to_pylist(), key=lambda row: (row["name"], row["chunk"]))
    found = {}
    for row in rows:
        found[row["name"]] = found.get(row["name"], b"") + row["data"]
    return found
