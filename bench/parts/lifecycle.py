"""How many calls of the lifecycle one client makes per second, one after the other, through a sidecar on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import pyarrow as pa

from alluxio_lance import ResourceManager
from alluxio_lance.bench.parts.results import Found, Group
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.service import serving

__all__ = ["measure"]

_ROWS: Final = pa.table({"a": list(range(100))})
_BYTES: Final = 800


def measure(setting: Setting) -> Found:
    """Measure all verbs in turn."""
    calls = 5 if setting.quick else 50
    rounds = Rounds()
    with serving(setting.work / "sidecar") as address, ResourceManager.connect(address) as manager:
        verbs = _verbs(manager)
        rounds.run(
            {verb: lambda call=call: _timed(call, calls) for verb, call in verbs.items()},  # type: ignore[misc]  # mypy cannot infer a lambda's default
            setting.repetitions,
            setting.seed,
            setting.tell,
        )
    return Found(
        part="lifecycle",
        title=f"Calls of the lifecycle, one client, tables of {_BYTES} bytes",
        settings={**setting.facts(), "calls": calls},
        groups=(
            Group(
                title="calls, one after the other",
                unit="calls per second",
                lines=tuple(rounds.line(verb, "rate") for verb in verbs),
            ),
            Group(
                title="the slowest call of a repetition",
                unit="milliseconds",
                lines=tuple(rounds.line(verb, "slowest_ms") for verb in verbs),
            ),
        ),
        notes=(
            "One client on the node of the sidecar, a catalog in SQLite, tables on the local disk: no network is in it.",
            "Rows of any size cost more to write; a catalog of a million versions is python -m alluxio_lance.bench.catalog.",
        ),
        measurements=rounds.numbers,
    )


def _timed(call: Callable[[], Any], count: int) -> dict[str, float]:
    taken = []
    for _ in range(count):
        begun = perf_counter()
        call()
        taken.append(perf_counter() - begun)
    return {"rate": count / sum(taken), "slowest_ms": max(taken) * 1e3}


def _verbs(manager: ResourceManager) -> dict[str, Callable[[], Any]]:
    """Prepare a resource with two versions, and name what is called."""
    made = iter(range(10**9))
    type = "datasets"
    versions = [
        manager.register_resource(type, "two", _ROWS).semver,
        manager.update_resource(type, "two", _ROWS).semver,
    ]
    manager.register_resource(type, "grows", _ROWS)
    return {
        "register": lambda: manager.register_resource(type, f"new-{next(made)}", _ROWS),
        "update (append)": lambda: manager.update_resource(type, "grows", _ROWS),
        "activate": lambda: manager.activate_resource(type, "two", versions[next(made) % 2]),
        "rollback": lambda: manager.rollback_resource(type, "two"),
        "tag": lambda: manager.tag_resource(type, "two", versions[0], f"t{next(made)}"),
        "find": lambda: manager.find_version(type, "two"),
        "list versions of two": lambda: manager.list_versions(type, "two"),
    }
