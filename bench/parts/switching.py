"""How long after an activation or a rollback the first batch of that version comes."""

from __future__ import annotations

from typing import Final

from alluxio_lance.bench import switching
from alluxio_lance.bench.parts.results import Found, Group, Line
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.results import Spread

__all__ = ["measure"]

_STEPS: Final = {
    "total": "from the call to the first batch",
    "beyond_load": "of it, without the load by the sidecar",
    "told": "from the call until the reader is told",
    "refresh": "refresh()",
    "batch": "the first batch",
}


def measure(setting: Setting) -> Found:
    """Measure activations and rollbacks in turn."""
    rows, turns = (2048, 4) if setting.quick else (20_000, 20)
    found = switching.measure(setting.work, rows=rows, turns=turns, on_step=setting.tell)
    return Found(
        part="switching",
        title=f"From a change of version to its first batch, {found['data_bytes'] >> 20} MiB in each version",
        settings={**setting.facts(), "repetitions": turns, "rows": rows},
        groups=tuple(
            Group(
                title=kind,
                unit="milliseconds",
                lines=tuple(
                    Line(name=title, value=Spread(**{name: 1e3 * value for name, value in found[kind][step].items()}))
                    for step, title in _STEPS.items()
                ),
            )
            for kind in ("activation", "rollback")
        ),
        notes=(
            "One reader on the node of the sidecar, in a process of its own; the version is on the local disk.",
            "A rollback leads to a version that is still in memory.",
        ),
        measurements=found,
    )
