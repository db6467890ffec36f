"""What to do after a refusal: the command that comes next, in words that can be copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from alluxio_lance.cli.session import Session
from alluxio_lance.errors import PolicyDenied
from alluxio_lance.governance import Verdict

__all__ = ["SHORT", "advised", "next_steps"]

SHORT: Final = 8
"""Digits of a promotion's id that people see; commands take them."""
_NO: Final = frozenset({Verdict.FAILED, Verdict.ERROR})
_LACKS: Final = "there is no current.metrics"


@contextmanager
def advised(session: Session, subject: str, again: str) -> Iterator[None]:
    """Add to a refusal by gates which command is next.

    Parameters
    ----------
    subject
        ``TYPE/NAME@VERSION`` that shall move.
    again
        The words of the command that asks the gates once more: ``promote datasets/x@1.1.0 production``.
    """
    try:
        yield
    except PolicyDenied as error:
        for step in next_steps(error.details, session.command, subject, again):
            error.add_note(step)
        raise


def next_steps(details: Mapping[str, Any], command: str, subject: str, again: str) -> list[str]:
    """Return what may be done about the report of a denied promotion, most useful first.

    A denial without a report comes from something else than gates, and its sentence says what to do.
    """
    report: Sequence[Mapping[str, Any]] = details.get("report") or ()
    if not report:
        return []
    version = details.get("version")
    if version and "@" not in subject:
        # A new version that came in without being active: no word of the command names it.
        subject, again = f"{subject}@{version}", again.replace("@VERSION", f"@{version}")
    verdicts = {result["verdict"] for result in report}
    promotion = str(details.get("promotion", ""))[:SHORT]
    steps = []
    # A metric that is missing is an error of the gate: it could not look.
    unmeasured = sorted({found for result in report for found in _unmeasured(result)})
    steps += [
        f"next: {command} measure {subject.partition('@')[0]}@{current} NAME=VALUE, which the gate compares with"
        for current in unmeasured
    ]
    if any(_may_be_measured_better(result) for result in report):
        steps.append(f"next: {command} measure {subject} NAME=VALUE, when a new measurement is better")
    if verdicts & _NO:
        steps.append(f"then: {command} {again}")
    elif promotion:
        steps.append(f"next: {command} approve {promotion}, by somebody whose role the gate asks for")
    if promotion:
        steps.append(f"all reports: {command} promotions {subject.partition('@')[0]}")
    return steps


def _unmeasured(result: Mapping[str, Any]) -> Sequence[str]:
    """Return the version that a gate compares with, when it lacks a metric."""
    details = result.get("details") or {}
    lacking = any(_LACKS in str(each.get("error", "")) for each in details.get("expressions", ()))
    return [details["current"]] if lacking and details.get("current") else []


def _may_be_measured_better(result: Mapping[str, Any]) -> bool:
    if result["kind"] != "expectation" or result["verdict"] not in _NO:
        return False
    said_no = [each for each in (result.get("details") or {}).get("expressions", ()) if each.get("holds") is not True]
    return not said_no or any(_LACKS not in str(each.get("error", "")) for each in said_no)
