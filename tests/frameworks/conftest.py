"""A table with a column of every kind, registered at a real sidecar."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

ROWS = 9000
"""Three shards where the sidecar is told to make small ones, and more than one page group everywhere."""


def bfloat16_array(values: np.ndarray) -> pa.Array:
    """Cut floats to bfloat16, as the storage of its Arrow type."""
    bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(2), len(bits), [None, pa.py_buffer(bits)])


def make_every_kind(rows: int = ROWS) -> pa.Table:
    """Make the table; row i can be computed from i in every column."""
    number = np.arange(rows)
    images = pa.FixedShapeTensorArray.from_numpy_ndarray(
        (number[:, None, None] + np.arange(12).reshape(3, 4)).astype(np.float32)
    )
    columns = {
        "image": images,
        **{f"i{bits}": pa.array((number % 100).astype(f"int{bits}")) for bits in (8, 16, 32, 64)},
        **{f"u{bits}": pa.array((number % 100).astype(f"uint{bits}")) for bits in (8, 16, 32, 64)},
        **{f"f{bits}": pa.array(number.astype(f"float{bits}")) for bits in (16, 32, 64)},
        "flag": pa.array(number % 2 == 0),
        "when": pa.array(number.astype("datetime64[s]")),
        "opaque": pa.array([b"%04d" % i for i in number], pa.binary(4)),
        "text": pa.array([f"ä{i}" for i in number]),
        "blob": pa.array([b"%d" % i for i in number], pa.binary()),
        "list": pa.array([list(range(i % 4)) for i in number], pa.list_(pa.int32())),
    }
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    fields.append(pa.field("bf16", pa.binary(2), metadata={b"ARROW:extension:name": b"lance.bfloat16"}))
    return pa.table([*columns.values(), bfloat16_array(number.astype(np.float32))], schema=pa.schema(fields))


def with_nulls() -> pa.Table:
    """Make a table of three rows; the one in the middle is null in every column."""
    return pa.table(
        {
            "i": pa.array([1, None, 3], pa.int16()),
            "t": pa.array([True, None, False]),
            "f": pa.array([1.0, None, 3.0], pa.float32()),
            "when": pa.array([1, None, 3], pa.timestamp("s")),
            "text": pa.array(["a", None, "c"]),
            "list": pa.array([[1], None, [2, 3]], pa.list_(pa.int64())),
        }
    )


@pytest.fixture(scope="session")
def every_kind() -> pa.Table:
    """A table with a column of every kind; row i can be computed from i."""
    return make_every_kind()


@pytest.fixture(scope="session")
def kinds(node, every_kind) -> str:
    """Register a column of every kind and return the URI."""
    return node.register("kinds", every_kind).uri


@pytest.fixture(scope="session")
def nulls(node) -> str:
    """Register columns with nulls and return the URI."""
    return node.register("nulls", with_nulls()).uri
