"""Cheap statistics of a version's columns: computed once per version, in one pass over the columns that are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from alluxio_lance.lifecycle.ports import Store
from alluxio_lance.values import Version

__all__ = ["Profiles"]

_KEPT: Final = 64
"""Versions whose statistics are kept in memory: content never changes, so they hold for ever."""
_DISTINCT: Final = 1000
"""Beyond so many values they are no longer counted."""


class Profiles:
    """The statistics of versions, over a store. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[threading.Lock, dict[str, dict[str, Any]]]] = OrderedDict()

    def of(self, version: Version, columns: frozenset[str] | None) -> Mapping[str, Any]:
        """Return ``{"rows": …, "columns": {name: {…}}}`` of some columns, or of all; unknown names are left out."""
        schema = pa.ipc.read_schema(pa.py_buffer(version.schema))
        wanted = [name for name in schema.names if columns is None or name in columns]
        lock, known = self._entry(version.content_hash)
        with lock:
            if missing := [name for name in wanted if name not in known]:
                known |= self._measure(version, schema, missing)
            return {"rows": version.num_rows, "columns": {name: dict(known[name]) for name in wanted}}

    def _entry(self, content_hash: str) -> tuple[threading.Lock, dict[str, dict[str, Any]]]:
        with self._lock:
            entry = self._known.setdefault(content_hash, (threading.Lock(), {}))
            self._known.move_to_end(content_hash)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return entry

    def _measure(self, version: Version, schema: pa.Schema, names: list[str]) -> dict[str, dict[str, Any]]:
        counted = {name: _Column(schema.field(name).type) for name in names}
        reader = self._store.open(self._store.branch_location(version.location, version.branch), version.version)
        try:
            for batch in reader.batches(names):
                for name, column in counted.items():
                    column.add(batch.column(name))
        finally:
            reader.close()
        return {name: column.result() for name, column in counted.items()}


@dataclass(slots=True)
class _Column:
    type: pa.DataType
    rows: int = 0
    nulls: int = 0
    nans: int = 0
    numbers: int = 0
    total: float = 0.0
    low: float | None = None
    high: float | None = None
    values: set[Any] | None = field(default_factory=set)

    def add(self, column: pa.Array) -> None:
        self.rows += len(column)
        self.nulls += column.null_count
        valid = column.drop_null()
        if _is_number(self.type):
            self._count(valid)
        if self.values is not None and _is_simple(self.type):
            self.values.update(pc.unique(valid).slice(0, _DISTINCT + 1).to_pylist())
            if len(self.values) > _DISTINCT:
                self.values = None

    def _count(self, valid: pa.Array) -> None:
        numbers = pc.cast(valid, pa.float64(), safe=False)
        if pa.types.is_floating(self.type):
            nan = pc.is_nan(numbers)
            self.nans += pc.sum(nan).as_py() or 0
            numbers = numbers.filter(pc.invert(nan))
        if not len(numbers):
            return
        ends = pc.min_max(numbers).as_py()
        self.low = ends["min"] if self.low is None else min(self.low, ends["min"])
        self.high = ends["max"] if self.high is None else max(self.high, ends["max"])
        self.total += pc.sum(numbers).as_py()
        self.numbers += len(numbers)

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = {"nulls": self.nulls, "null_share": self.nulls / self.rows if self.rows else 0.0}
        if self.numbers:
            found |= {"min": self.low, "max": self.high, "mean": self.total / self.numbers}
        if pa.types.is_floating(self.type):
            found["nans"] = self.nans
        if self.values is not None and _is_simple(self.type):
            found["distinct"] = len(self.values)
        return found


def _is_number(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type))


def _is_simple(type: pa.DataType) -> bool:
    """Tell whether values can be counted apart: whole numbers, truth values and texts."""
    return bool(
        pa.types.is_integer(type)
        or pa.types.is_boolean(type)
        or pa.types.is_string(type)
        or pa.types.is_large_string(type)
    )
