"""The table of gates: which kind is judged by which function. A new kind is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from alluxio_lance.lifecycle.gates.approval import judge_approval
from alluxio_lance.lifecycle.gates.case import Case, Judgement
from alluxio_lance.lifecycle.gates.command import judge_command
from alluxio_lance.lifecycle.gates.compliance import judge_compliance
from alluxio_lance.lifecycle.gates.expectation import judge_expectation
from alluxio_lance.lifecycle.gates.profile import Profiles
from alluxio_lance.lifecycle.gates.python import judge_python
from alluxio_lance.lifecycle.gates.webhook import judge_webhook
from alluxio_lance.lifecycle.ports import Store

__all__ = ["JUDGES", "Court"]


@dataclass(frozen=True, slots=True)
class Court:
    """What judges may use."""

    store: Store
    profiles: Profiles


Judge = Callable[[Any, Case, Court], Judgement]

JUDGES: Final[dict[str, Judge]] = {
    "expectation": lambda gate, case, court: judge_expectation(gate, case, court.profiles),
    "python": lambda gate, case, _: judge_python(gate, case),
    "command": lambda gate, case, _: judge_command(gate, case),
    "webhook": lambda gate, case, _: judge_webhook(gate, case),
    "approval": lambda gate, case, _: judge_approval(gate, case),
    "compliance": lambda gate, case, court: judge_compliance(gate, case, court.store),
}
