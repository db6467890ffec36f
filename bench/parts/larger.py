"""A version four times as large as the memory budget, streamed from the disk tier, beside the same rows all in memory."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import numpy as np

from alluxio_lance.bench.parts.results import Found, Group
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.rows import register, uri_of
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.service import serving
from alluxio_lance.errors import Corrupt

__all__ = ["measure", "probe"]

_ROW: Final = 12_288
_BATCH: Final = 256
_SHARE: Final = 0.25
_ROOM: Final = 2
"""Times the data that the disk tier may take: all of it, and some for heads and pages."""
_WORKERS: Final = (0, 2)
_MEMORY, _STREAMED = "all in memory", "streamed, budget 25 %"


def measure(setting: Setting) -> Found:
    """Measure both with and without workers, from two sidecars with the same rows."""
    count = 16_384 if setting.quick else 40_000
    budget = int(count * _ROW * _SHARE)
    rounds = Rounds()
    with (
        serving(setting.work / "large") as large,
        serving(
            setting.work / "small", ["--memory-budget", str(budget), "--disk-budget", str(_ROOM * count * _ROW)]
        ) as small,
    ):
        for address in (large, small):
            setting.tell(f"register {count:,} rows")
            register(address, "larger", count, _ROW, setting.seed)
        tasks = {
            f"{way}, {workers} workers": (address, {"rows": count, "workers": workers, "stream": address == small})
            for way, address in ((_MEMORY, large), (_STREAMED, small))
            for workers in _WORKERS
        }
        rounds.run(
            {
                way: lambda address=address, task=task: setting.fresh("larger", task, address)  # type: ignore[misc]  # mypy cannot infer a lambda's default
                for way, (address, task) in tasks.items()
            },
            setting.repetitions,
            setting.seed,
            setting.tell,
        )
    return Found(
        part="larger",
        title=f"IterableDataset, {count:,} rows of {_ROW:,} bytes, shuffled, budget {_SHARE:.0%} of the data",
        settings={
            **setting.facts(),
            "rows": count,
            "row_bytes": _ROW,
            "budget": budget,
            "disk_budget": _ROOM * count * _ROW,
            "batch_size": _BATCH,
        },
        groups=tuple(
            Group(
                title=title,
                unit="rows per second",
                against="in memory",
                lines=tuple(
                    rounds.line(
                        f"{way}, {workers} workers",
                        number,
                        against=None if way == _MEMORY else (f"{_MEMORY}, {workers} workers", number),
                    )
                    for workers in _WORKERS
                    for way in (_MEMORY, _STREAMED)
                ),
            )
            for number, title in (("first", "epoch 1"), ("later", "later epochs"))
        ),
        notes=(
            "Both sidecars read the local disk, whose files the page cache may hold: a network in between costs more.",
            "Streamed comes from the store at first, and from the disk tier as far as that has been filled by then.",
            "All in memory is a permutation of all rows; streamed is one of windows, and of the rows within each.",
        ),
        measurements=rounds.numbers,
    )


def probe(task: Mapping[str, Any]) -> dict[str, float]:
    """Read three epochs, and check that each has every row once."""
    from torch.utils.data import DataLoader  # noqa: PLC0415 - not in the process that starts this one

    from alluxio.torch import IterableDataset  # noqa: PLC0415 - as said above

    rates = []
    with IterableDataset(uri_of("larger"), batch_size=_BATCH, shuffle=True, stream=task["stream"]) as dataset:
        workers = task["workers"]
        loader: Any = DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
        for epoch in range(3):
            dataset.set_epoch(epoch)
            begun = perf_counter()
            labels = [batch["label"].clone() for batch in loader]
            rates.append(task["rows"] / (perf_counter() - begun))
            found = np.sort(np.concatenate([part.numpy() for part in labels]))
            if not np.array_equal(found, np.arange(task["rows"])):
                raise Corrupt(f"epoch {epoch} has not every row once", expected=task["rows"], found=len(found))
    return {"first": rates[0], "later": float(np.median(rates[1:]))}
