"""Memory of all processes together while workers are added, beside np.memmap and a list of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import psutil

from alluxio_lance.bench import memory
from alluxio_lance.bench.data import ROW_BYTES
from alluxio_lance.bench.parts.results import Found, Group, Line
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.results import Spread

__all__ = ["measure"]

_TITLES: Final = {"ours": "alluxio-lance", "memmap": "np.memmap, batches", "list": "list of tensors"}
_KINDS: Final = {"anonymous": "of its own", "shared": "shared memory", "file": "files"}
_DATA_BYTES: Final = 2 << 30
"""Beside less an interpreter is no small part of the data."""
_PARTS: Final = 10
"""Of the free memory, one for the data: the list of tensors takes it several times over."""


def measure(setting: Setting) -> Found:
    """Measure each number of workers once: memory does not hang on what else the machine does."""
    data = min(_DATA_BYTES, psutil.virtual_memory().available // _PARTS)
    rows = 4096 if setting.quick else data // ROW_BYTES
    workers = (0, 1, 2) if setting.quick else (0, 1, 2, 4, 8, 16)
    found = memory.measure(setting.work, rows=rows, workers=workers, on_step=setting.tell)
    ways = list(found["growth"])
    return Found(
        part="memory",
        title=f"Memory (PSS) of consumer, workers and sidecar, {found['data_bytes'] >> 20} MiB of data",
        settings={**setting.facts(), "repetitions": 1, "rows": rows, "workers": list(workers)},
        groups=(
            Group(
                title="all processes together",
                unit="times the data",
                x="workers",
                lines=tuple(
                    Line(
                        name=_TITLES[point["way"]],
                        x=point["workers"],
                        value=Spread.of([point["pss"] / found["data_bytes"]]),
                    )
                    for way in ways
                    for point in found["points"]
                    if point["way"] == way
                ),
            ),
            Group(
                title="an added worker, by the least squares line",
                unit="percent of the data",
                lines=tuple(Line(name=_TITLES[way], value=Spread.of([found["growth"][way]["pss"]])) for way in ways),
            ),
            Group(title="an added worker, what it takes", unit="MiB", lines=_by_kind(found)),
        ),
        notes=(
            "An added worker costs its interpreter and its batches, with any data or none: beside less data that is more percent.",
            "What an added worker takes is without the sidecar's pages of files, of which the kernel takes back what is not used.",
            "PSS divides a page by the number of processes that map it, so that the sum counts each page once.",
            "Pages of files that nobody maps any more, in the page cache, are in no number.",
        ),
        measurements=found,
    )


def _by_kind(found: Mapping[str, Any]) -> tuple[Line, ...]:
    """List what an added worker takes, in MiB, with each kind of memory."""
    mib = found["data_bytes"] / 100 / (1 << 20)
    return tuple(
        Line(name=f"{_TITLES[way]}, {title}", value=Spread.of([growth[kind] * mib]))
        for way, growth in found["growth"].items()
        for kind, title in _KINDS.items()
    )
