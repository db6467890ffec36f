"""The gate ``python``: a function that is installed beside alluxio-lance, found by its entry point."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates.case import Case, Judgement
from alluxio_lance.lifecycle.gates.reporting import short
from alluxio_lance.lifecycle.rules.document import PythonGate

__all__ = ["GATE_GROUP", "call_within", "installed", "judge_python"]

GATE_GROUP: Final = "alluxio_lance.gates"


def judge_python(gate: PythonGate, case: Case) -> Judgement:
    """Call it with the case as JSON values and its options.

    It answers with a truth value, with one and a sentence, or with ``{"passed", "summary", "details"}``. A thread cannot
    be stopped: one that takes too long is left alone, and the gate blocks.
    """
    try:
        function = installed(GATE_GROUP, gate.function)
        answer = call_within(gate.timeout.total_seconds(), function, case.as_json(), dict(gate.options))
    except TimeoutError:
        return _error(f"{gate.function} did not answer within {gate.timeout.total_seconds():g} s")
    except LookupError as error:
        return _error(str(error.args[0] if error.args else error))
    except Exception as error:  # noqa: BLE001 - a gate is foreign code: whatever it raises blocks, and is reported
        return _error(f"{gate.function} raised {type(error).__name__}: {short(error)}")
    return _read(gate.function, answer)


def installed(group: str, name: str) -> Callable[..., Any]:
    """Find a function by its entry point.

    Raises
    ------
    LookupError
        Naming those that there are.
    """
    found = list(entry_points(group=group, name=name))
    if not found:
        names = ", ".join(sorted({each.name for each in entry_points(group=group)})) or "none"
        raise LookupError(f"no entry point {name!r} of the group {group} is installed here: there are {names}")
    function = found[0].load()
    if not callable(function):
        raise LookupError(f"the entry point {name!r} of the group {group} is no function")  # noqa: TRY004 - one kind of error for what is not there to be called
    return function  # type: ignore[no-any-return] # entry points have no types


def call_within(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a thread of its own.

    Raises
    ------
    TimeoutError
        When it takes longer; the thread goes on, and its answer is not heard.
    """
    answer: list[Any] = []
    fault: list[BaseException] = []

    def call() -> None:
        try:
            answer.append(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            fault.append(error)

    thread = threading.Thread(target=call, name="alluxio-lance-python-gate", daemon=True)
    thread.start()
    thread.join(seconds)
    if fault:
        # SystemExit in foreign code must not end the server.
        raise fault[0] if isinstance(fault[0], Exception) else RuntimeError(repr(fault[0]))
    if not answer:
        raise TimeoutError
    return answer[0]


def _read(name: str, answer: Any) -> Judgement:
    if isinstance(answer, Mapping):
        passed, summary, details = answer.get("passed"), answer.get("summary", ""), answer.get("details", {})
    elif isinstance(answer, tuple) and len(answer) == 2:  # noqa: PLR2004 - an answer and a sentence
        passed, summary, details = answer[0], answer[1], {}
    else:
        passed, summary, details = answer, "", {}
    if not isinstance(passed, bool) or not isinstance(details, Mapping):
        return _error(f"{name} answered {short(answer)}: True, False, (bool, text) or a mapping with 'passed' is meant")
    verdict = Verdict.PASSED if passed else Verdict.FAILED
    return Judgement(
        verdict=verdict, summary=short(summary) or f"{name} said {'yes' if passed else 'no'}", details=details
    )


def _error(summary: str) -> Judgement:
    return Judgement(verdict=Verdict.ERROR, summary=summary)
