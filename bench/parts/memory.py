"""Memory of all processes together while workers are added, beside np.memmap and a list of tensors."""

from __future__ import annotations

from typing import Final

from alluxio_lance.bench import memory
from alluxio_lance.bench.parts.results import Found, Group, Line
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.results import Spread

__all__ = ["measure"]

_TITLES: Final = {"ours": "alluxio-lance", "memmap": "np.memmap, batches", "list": "list of tensors"}


def measure(setting: Setting) -> Found:
    """Measure each number of workers once: memory does not hang on what else the machine does."""
    rows = 4096 if setting.quick else 40_000
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
        ),
        notes=(
            "An added worker costs its interpreter and its batches too, with any data or none.",
            "PSS divides a page by the number of processes that map it, so that the sum counts each page once.",
            "Pages of files that nobody maps any more, in the page cache, are in no number.",
        ),
        measurements=found,
    )
