"""The gate ``compliance``: a licence, no personal data in texts, a schema that today's readers can read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates.case import Case, Judgement
from alluxio_lance.lifecycle.gates.personal import count_personal
from alluxio_lance.lifecycle.ports import Store
from alluxio_lance.lifecycle.rules.document import ComplianceGate
from alluxio_lance.lifecycle.versioning import is_compatible
from alluxio_lance.values import Version

__all__ = ["judge_compliance"]

_AT_ONCE: Final = 2000
"""Rows that are taken in one call: texts may be long."""


def judge_compliance(gate: ComplianceGate, case: Case, store: Store) -> Judgement:
    """Scan it. The report names columns and counts, never what was found."""
    faults: list[str] = []
    details: dict[str, Any] = {}
    if gate.licence:
        faults += _licence(gate, case, details)
    if gate.compatible_schema:
        faults += _schema(case, details)
    try:
        if gate.pii:
            faults += _personal(gate, case.version, store, details)
    except AlluxioLanceError as error:
        return Judgement(
            verdict=Verdict.ERROR, summary=f"the table cannot be scanned: {error.message}", details=details
        )
    if faults:
        return Judgement(verdict=Verdict.FAILED, summary="; ".join(faults), details=details)
    return Judgement(verdict=Verdict.PASSED, summary=_passed(details), details=details)


def _passed(details: dict[str, Any]) -> str:
    parts = []
    if "licence" in details:
        parts.append(f"licence {details['licence']}")
    if "sampled_rows" in details:
        parts.append(f"no personal data in {details['sampled_rows']} sampled rows")
    if "compatible" in details:
        parts.append("the schema is compatible" if details["compatible"] else "nothing to be compatible with")
    return ", ".join(parts)


def _licence(gate: ComplianceGate, case: Case, details: dict[str, Any]) -> Iterator[str]:
    metadata = case.version.metadata
    found = metadata.get("license", metadata.get("licence"))
    if not isinstance(found, str) or not found.strip():
        yield "the metadata have no license"
        return
    details["licence"] = found
    allowed = {licence.casefold() for licence in gate.licences}
    if allowed and found.strip().casefold() not in allowed:
        yield f"licence {found} is not one of {', '.join(gate.licences)}"


def _schema(case: Case, details: dict[str, Any]) -> Iterator[str]:
    if case.current is None:
        details["compatible"] = None
        return
    old, new = _schema_of(case.current), _schema_of(case.version)
    details["compatible"] = is_compatible(old, new)
    if not details["compatible"]:
        broken = [field.name for field in old if not is_compatible(pa.schema([field]), new)]
        yield f"readers of {case.current.semver} cannot read {case.version.semver}: see column {', '.join(broken)}"


def _schema_of(version: Version) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(version.schema))


def _personal(gate: ComplianceGate, version: Version, store: Store, details: dict[str, Any]) -> Iterator[str]:
    columns = [f.name for f in _schema_of(version) if _has_text(f.type) and f.name not in gate.pii_allow]
    found: dict[str, dict[str, int]] = {}
    rows = _sample(version, gate.sample_rows)
    if columns and rows:
        dataset = store.dataset(store.branch_location(version.location, version.branch), version.version)
        for begin in range(0, len(rows), _AT_ONCE):
            table = dataset.take(rows[begin : begin + _AT_ONCE], columns=columns)
            for name in columns:
                _add(found.setdefault(name, {}), count_personal(_texts(table.column(name))))
    details |= {"sampled_rows": len(rows), "scanned_columns": columns, "allowed_columns": list(gate.pii_allow)}
    details["personal"] = {name: counts for name, counts in found.items() if counts}
    for name, counts in details["personal"].items():
        kinds = ", ".join(f"{count} x {kind}" for kind, count in counts.items())
        yield f"column {name} seems to hold personal data ({kinds} in {len(rows)} sampled rows)"


def _sample(version: Version, size: int) -> list[int]:
    """Choose rows across the table: one from each of ``size`` equal stretches, the same ones each time."""
    total = version.num_rows
    if total <= size:
        return list(range(total))
    chance = random.Random(version.content_hash)  # noqa: S311 - a sample, no secret
    return [chance.randrange(at * total // size, (at + 1) * total // size) for at in range(size)]


def _add(to: dict[str, int], counts: dict[str, int]) -> None:
    for kind, count in counts.items():
        to[kind] = to.get(kind, 0) + count


def _has_text(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type) or _is_list(type):
        return _has_text(type.value_type)
    if pa.types.is_struct(type):
        return any(_has_text(type.field(index).type) for index in range(type.num_fields))
    return _is_text(type)


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type))


def _is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type))


def _texts(column: pa.ChunkedArray | pa.Array) -> Iterator[str]:
    """Yield every text in a column, those inside lists and structs too."""
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if pa.types.is_dictionary(chunk.type):
            yield from _texts(chunk.dictionary_decode())
        elif _is_list(chunk.type):
            yield from _texts(chunk.flatten())
        elif pa.types.is_struct(chunk.type):
            for child in chunk.flatten():
                yield from _texts(child)
        elif _is_text(chunk.type):
            yield from (text for text in chunk.to_pylist() if text)
