"""Writers that take the batches of one shard of one column and leave one sealed segment, by kind of column."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from alluxio_lance.layout import ColumnKind
from alluxio_lance.sidecar.fill.arrow import ArrowWriter
from alluxio_lance.sidecar.fill.fixed import FixedWriter
from alluxio_lance.sidecar.fill.values import NullItems
from alluxio_lance.sidecar.fill.variable import VariableWriter
from alluxio_lance.sidecar.fill.writer import Filled, SegmentWriter

__all__ = ["WRITERS", "Filled", "NullItems", "SegmentWriter"]

WRITERS: Final[Mapping[ColumnKind, type[SegmentWriter]]] = MappingProxyType(
    {ColumnKind.FIXED: FixedWriter, ColumnKind.VARIABLE: VariableWriter, ColumnKind.ARROW: ArrowWriter}
)
