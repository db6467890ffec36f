"""The plan of a model's load: two columns, of which each becomes a whole file."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import pyarrow as pa

from alluxio_lance.layout import ROWS_PER_PAGE_GROUP, ColumnKind
from alluxio_lance.sidecar.kinds import Shape
from alluxio_lance.sidecar.memfd import round_up
from alluxio_lance.sidecar.plan import ColumnPlan, Plan
from alluxio_lance.values import Version
from alluxio_lance.weights.rows import Kind, is_model

__all__ = ["COLUMNS", "FORMAT", "is_model_version", "plan_model"]

FORMAT: Final = "safetensors"
"""The element type, as it were, of a column that is a file."""
COLUMNS: Final = MappingProxyType({"tensors": Kind.TENSOR, "files": Kind.FILE})
"""The columns of every model: what each has of the rows."""


def is_model_version(version: Version) -> bool:
    """Tell whether a version is one of a model."""
    return is_model(pa.ipc.read_schema(pa.py_buffer(version.schema)))


def plan_model(num_rows: int, *, label: str, stored_bytes: int | None = None) -> Plan:
    """Plan the load of both columns of a model.

    What they need is known when the load has read what the rows are. Until then it is counted as one page each: the
    bytes of the table's files would be too many, for they have rows, too, that later versions have no longer.

    Parameters
    ----------
    num_rows
        The rows of the table.
    label
        Names the version in messages and memfds.
    stored_bytes
        Bytes of the table's files: a small one is read at once.
    """
    return Plan(
        label=label,
        num_rows=num_rows,
        stored_bytes=stored_bytes,
        shard_rows=round_up(max(num_rows, 1), ROWS_PER_PAGE_GROUP),
        columns=tuple(_column(name) for name in COLUMNS),
    )


def _column(name: str) -> ColumnPlan:
    field = pa.field(name, pa.large_binary(), nullable=False)
    return ColumnPlan(field=field, shape=Shape(ColumnKind.FILE, field, dtype=FORMAT), row_bytes=0)
