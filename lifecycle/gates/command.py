"""The gate ``command``: a program that gets the case as JSON on its standard input, and passes it with exit code 0."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping

from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates.case import Case, Judgement
from alluxio_lance.lifecycle.gates.reporting import last_json_line, short
from alluxio_lance.lifecycle.gates.sandbox import Limits, NotStarted, Ran, run_confined
from alluxio_lance.lifecycle.rules.document import CommandGate
from alluxio_lance.sizes import read_size

__all__ = ["judge_command"]


def judge_command(gate: CommandGate, case: Case) -> Judgement:
    """Run it. The last line of its output may be JSON, ``{"summary": "…", "details": {…}}``."""
    limits = Limits(
        seconds=gate.timeout.total_seconds(),
        memory=read_size(gate.memory),
        user=gate.user,
        environment=gate.environment,
    )
    try:
        ran = run_confined(gate.command, json.dumps(case.as_json(), default=str).encode(), limits)
    except (NotStarted, OSError) as error:
        return Judgement(verdict=Verdict.ERROR, summary=f"{gate.command[0]} could not be started: {short(error)}")
    return _read(gate, ran)


def _read(gate: CommandGate, ran: Ran) -> Judgement:
    said = last_json_line(ran.output)
    details = said.get("details")
    report = {
        **(details if isinstance(details, Mapping) else {}),
        "exit_code": ran.code,
        "output": ran.output[-2000:],
        "errors": ran.errors[-2000:],
    }
    verdict, ending = _ending(gate, ran)
    summary = f"{ending}: {short(said['summary'])}" if said.get("summary") else ending
    return Judgement(verdict=verdict, summary=summary, details=report)


def _ending(gate: CommandGate, ran: Ran) -> tuple[Verdict, str]:
    program = gate.command[0]
    if ran.timed_out:
        return Verdict.ERROR, f"{program} was ended after {gate.timeout.total_seconds():g} s"
    if ran.code < 0:
        return Verdict.ERROR, f"{program} was ended by {signal.Signals(-ran.code).name}"
    if ran.code == 0:
        return Verdict.PASSED, f"{program} passed"
    return Verdict.FAILED, f"{program} ended with exit code {ran.code}"
