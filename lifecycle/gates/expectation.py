"""The gate ``expectation``: expressions over a version, and over the one that it would displace, that must all hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates.case import Case, Judgement, described
from alluxio_lance.lifecycle.gates.profile import Profiles
from alluxio_lance.lifecycle.rules.checking import GATE_NAMES
from alluxio_lance.lifecycle.rules.document import ExpectationGate
from alluxio_lance.lifecycle.rules.expressions import Expression, Faulty
from alluxio_lance.values import Version

__all__ = ["judge_expectation", "values_of"]


def judge_expectation(gate: ExpectationGate, case: Case, profiles: Profiles) -> Judgement:
    """Evaluate each expression, also behind one that fails: the report shows all, with the values that each saw."""
    rows = [_ask(text, case, profiles) for text in gate.require]
    verdict = max((row[0] for row in rows), key=_SEVERITY.__getitem__)
    bad = [text for found, text, _ in rows if found is not Verdict.PASSED]
    summary = "; ".join(bad) if bad else "; ".join(text for _, text, _ in rows)
    details: dict[str, Any] = {"expressions": [found for _, _, found in rows]}
    if case.current is not None:
        details["current"] = case.current.semver
    return Judgement(verdict=verdict, summary=summary, details=details)


_SEVERITY = {Verdict.PASSED: 0, Verdict.FAILED: 1, Verdict.ERROR: 2}


def _ask(text: str, case: Case, profiles: Profiles) -> tuple[Verdict, str, dict[str, Any]]:
    try:
        expression = Expression(text, GATE_NAMES)
        seen = expression.ask(_values(expression, case, profiles))
    except Faulty as fault:
        return Verdict.ERROR, f"{text}: {fault}", {"expression": text, "holds": None, "error": str(fault)}
    except AlluxioLanceError as error:
        # The table cannot be read, for one.
        return Verdict.ERROR, f"{text}: {error.message}", {"expression": text, "holds": None, "error": error.message}
    saw = ", ".join(f"{name} = {value}" for name, value in seen.values.items())
    verdict = Verdict.PASSED if seen.holds else Verdict.FAILED
    word = "holds" if seen.holds else "does not hold"
    sentence = f"{text} {word}: {seen.note or saw}"
    details = {"expression": text, "holds": seen.holds, "values": dict(seen.values)}
    return verdict, sentence, {**details, "note": seen.note} if seen.note else details


def _values(expression: Expression, case: Case, profiles: Profiles) -> dict[str, Any]:
    values = values_of(case.version, case.current)
    if expression.uses("profile"):
        values["profile"] = profiles.of(case.version, _columns(expression, ("profile", "columns")))
    inner = ("current", "profile", "columns")
    if case.current is not None and any(path[:2] == inner[:2] for path in expression.paths):
        values["current"]["profile"] = profiles.of(case.current, _columns(expression, inner))
    return values


def values_of(version: Version, current: Version | None) -> dict[str, Any]:
    """Return what an expression may read of a version and of the one that it would displace, profiles apart."""
    return {**_of(version), "current": _of(current) if current else None}


def _of(version: Version) -> dict[str, Any]:
    metadata: Mapping[str, Any] = version.metadata
    return {"version": described(version), "metadata": dict(metadata), "metrics": dict(version.metrics)}


def _columns(expression: Expression, start: tuple[str, ...]) -> frozenset[str] | None:
    """Return the columns that an expression names; None when it goes over all of them."""
    about = [path for path in expression.paths if path[: len(start) - 1] == start[:-1]]
    named = {str(path[len(start)]) for path in about if path[: len(start)] == start and len(path) > len(start)}
    whole = any(
        len(path) == len(start) - 1 or (path[: len(start)] == start and len(path) == len(start)) for path in about
    )
    return None if whole else frozenset(named)
