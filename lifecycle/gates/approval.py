"""The gate ``approval``: people who must say yes. One no is enough to end it."""

from __future__ import annotations

from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates.case import Case, Judgement, metrics_mark
from alluxio_lance.lifecycle.rules.document import ApprovalGate

__all__ = ["judge_approval"]


def judge_approval(gate: ApprovalGate, case: Case) -> Judgement:
    """Count who approved. That they have the role was checked when they spoke, by the roles of that moment.

    An approval is one of the metrics that the report showed: when they have changed since, it is asked for anew.
    """
    given = tuple(by for by in case.approvals.get(gate.name, ()) if gate.allow_self or by != case.requested_by)
    details = {
        "role": gate.role,
        "needed": gate.approvals,
        "approved_by": list(given),
        "metrics": metrics_mark(case.version),
    }
    if case.rejected_by is not None:
        return Judgement(verdict=Verdict.FAILED, summary=f"{case.rejected_by} rejected it", details=details)
    if len(given) >= gate.approvals:
        return Judgement(verdict=Verdict.PASSED, summary=f"approved by {', '.join(given)}", details=details)
    have = f"{len(given)} of {gate.approvals} approvals"
    who = f"a {gate.role}" if gate.allow_self else f"a {gate.role} other than {case.requested_by}"
    if outdated := case.outdated.get(gate.name):
        have += f" (before the metrics changed: {', '.join(outdated)})"
    summary = f"{have}: it waits for {who}: `alluxio-lance approve {case.promotion[:8]}`"
    return Judgement(verdict=Verdict.WAITING, summary=summary, details=details)
