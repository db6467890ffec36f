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
    verdicts = {result["verdict"] for result in report}
    promotion = str(details.get("promotion", ""))[:SHORT]
    steps = []
    # A metric that is missing is an error of the gate: it could not look.
    if any(result["kind"] == "expectation" and result["verdict"] in _NO for result in report):
        steps.append(f"next: {command} measure {subject} NAME=VALUE, when a new measurement is better")
    if verdicts & _NO:
        steps.append(f"then: {command} {again}")
    elif promotion:
        steps.append(f"next: {command} approve {promotion}, by somebody whose role the gate asks for")
    if promotion:
        steps.append(f"all reports: {command} promotions {subject.partition('@')[0]}")
    return steps
