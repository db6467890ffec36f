"""What the example servers kept up and how soon they switched, as groups of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

from alluxio_lance.bench.parts.models_serving import KINDS, RATE, absent, percentile
from alluxio_lance.bench.parts.results import Group, Line
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.results import Spread
from alluxio_lance.errors import Corrupt

__all__ = ["NOTE", "groups", "measure"]

NOTE: Final = (
    f"The servers are those of examples/serving, asked {RATE} times a second over 8 connections of HTTP while their small "
    "network is activated and rolled back; the version that is activated is in no memory before. Client, server and "
    "sidecar share the machine, and a switch is seen by the first answer that is of the new version: at this rate up to 5 ms "
    "after it. Every answer was compared with what the version that it names says when it is loaded elsewhere."
)


def measure(setting: Setting, address: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Measure each framework that is there; returns the numbers by framework, and notes on the others.

    Raises
    ------
    Corrupt
        When an answer was not what its version says.
    """
    if why := absent():
        return {}, (f"Servers under requests are not measured: {why}.",)
    taken, notes = {}, []
    turns, pause_s = (2, 0.2) if setting.quick else (20, 0.5)
    for kind, (module, *_) in KINDS.items():
        if missing := [each for each in (module, "sklearn") if find_spec(each) is None]:
            notes.append(f"A server of {kind} is not measured: {missing[0]} is not installed.")
            continue
        setting.tell(f"a server of {kind} under requests")
        task = {"kind": kind, "turns": turns, "pause_s": pause_s, "limit_s": setting.limit_s}
        taken[kind] = setting.fresh("models_serving", task, address)
        if taken[kind]["mixed"]:
            raise Corrupt(
                f"{taken[kind]['mixed']} answers of the {kind} server are not what their version says",
                expected="0",
                found=str(taken[kind]["mixed"]),
            )
    return taken, tuple(notes)


def groups(taken: Mapping[str, Any]) -> tuple[Group, ...]:
    """Make two groups for each framework: times, and requests."""
    return tuple(group for kind, found in taken.items() for group in (_times(kind, found), _requests(kind, found)))


def _times(kind: str, found: Mapping[str, Any]) -> Group:
    activations, rollbacks = found["changes"]["activation"], found["changes"]["rollback"]
    middle, late, latest = found["answer_ms"]
    return Group(
        title=f"a {kind} server under {RATE} requests/s",
        unit="milliseconds",
        lines=(
            *_switches("activation", activations),
            _line("activation: from its call, without the load by the sidecar", _ms(activations, "from_call", "load")),
            *_switches("rollback", rollbacks),
            Line(name="an answer, from when it was due", value=Spread(median=middle, min=middle, max=latest)),
            _line("an answer, 99th percentile", [late]),
        ),
    )


def _switches(name: str, changes: Sequence[Mapping[str, float]]) -> tuple[Line, ...]:
    from_call, from_return = _ms(changes, "from_call"), _ms(changes, "from_return")
    return (
        _line(f"{name}: from its call to the first new answer", from_call),
        _line(f"{name}: from its call, 99th percentile", [percentile(from_call, 99)]),
        _line(f"{name}: from its return to the first new answer", from_return),
        _line(f"{name}: from its return, 99th percentile", [percentile(from_return, 99)]),
    )


def _ms(changes: Sequence[Mapping[str, float]], what: str, without: str | None = None) -> list[float]:
    return [1e3 * (each[what] - (each[without] if without else 0.0)) for each in changes]


def _line(name: str, values: Sequence[float]) -> Line:
    return Line(name=name, value=Spread.of(values))


def _requests(kind: str, found: Mapping[str, Any]) -> Group:
    return Group(
        title=f"requests to the {kind} server, {2 * len(found['changes']['rollback'])} switches",
        unit="requests",
        lines=(
            _line("each second", [found["rate"]]),
            _line("in all", [found["requests"]]),
            _line("that failed", [found["failed"]]),
            _line("whose answer was not of the version that it named", [found["mixed"]]),
        ),
    )
