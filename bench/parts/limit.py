"""How far batches are from the memcpy limit, by size of row: in one process, without a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch

from alluxio.torch import Dataset
from alluxio_lance.bench.parts.results import Found, Group
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.rows import register, uri_of
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.service import serving

__all__ = ["measure", "probe"]

_SIZES: Final = (64, 1024, 12_288, 150_528)
"""Bytes of a row: a short vector, an embedding, an image of 64 x 64, an image of 224 x 224."""
_BATCH: Final = 256
_LIMIT: Final = "memcpy"
_OUT: Final = "alluxio-lance, shuffled, out="
_WAYS: Final = ("alluxio-lance, in order", "alluxio-lance, shuffled", _OUT, "torch.index_select", "np.take", _LIMIT)


def measure(setting: Setting) -> Found:
    """Measure all sizes."""
    total = (64 if setting.quick else 512) << 20
    rounds = {size: Rounds() for size in _SIZES}
    with serving(setting.work / "sidecar") as address:
        for size in _SIZES:
            setting.tell(f"register rows of {size:,} bytes")
            register(address, f"rows-{size}", total // size, size)
        for size in _SIZES:
            task = {"size": size, "repetitions": setting.repetitions, "seed": setting.seed}
            setting.tell(f"rows of {size:,} bytes")
            rounds[size].numbers = setting.fresh("limit", task, address)
    return Found(
        part="limit",
        title=f"Batches of {_BATCH} rows in one process beside one memcpy of the same bytes",
        settings={**setting.facts(), "bytes": total, "batch_size": _BATCH},
        groups=tuple(
            Group(
                title=f"rows of {size:,} bytes",
                unit="rows per second",
                against="memcpy",
                lines=tuple(
                    each.line(way, "rate", against=None if way == _LIMIT else (_LIMIT, "rate")) for way in _WAYS
                ),
            )
            for size, each in rounds.items()
        ),
        notes=(
            (
                "memcpy is one thread that reads in order and writes into one buffer, which stays in the cache. In order "
                "alluxio-lance moves no byte: its rate is that of making views."
            ),
            "index_select and take have the same bytes in ordinary memory of their own process, and make new batches.",
            "With out= alluxio-lance writes each batch over the one before, as memcpy does.",
            "One process per size, all ways in it in turn: a way can profit from what another one left in the caches.",
        ),
        measurements={str(size): each.numbers for size, each in rounds.items()},
    )


def probe(task: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Measure one size, in a process of its own; one epoch of each way goes before, untimed."""
    random = np.random.default_rng(task["seed"])
    with Dataset(uri_of(f"rows-{task['size']}"), columns=["data"]) as dataset:
        here = dataset.numpy("data").copy()
        tensor, into = torch.from_numpy(here), np.empty((_BATCH, task["size"]), np.uint8)
        batch = dataset.batch(list(range(_BATCH)), out={"data": torch.empty((_BATCH, task["size"]), dtype=torch.uint8)})
        steps: dict[str, Callable[[Any], object]] = {
            "alluxio-lance, in order": dataset.batch,
            "alluxio-lance, shuffled": dataset.batch,
            _OUT: lambda rows: dataset.batch(rows, out=batch),
            "torch.index_select": lambda rows: torch.index_select(tensor, 0, torch.from_numpy(rows)),
            "np.take": lambda rows: np.take(here, rows, 0),
            _LIMIT: lambda rows: np.copyto(into, here[rows.start : rows.stop]),
        }
        count = len(here) // _BATCH
        starts = range(0, count * _BATCH, _BATCH)
        in_order = [range(start, start + _BATCH) for start in starts]

        def rate(way: str) -> dict[str, float]:
            shuffled = random.permutation(count * _BATCH)
            ordered = way in {_LIMIT, _WAYS[0]}
            batches = in_order if ordered else [shuffled[start : start + _BATCH] for start in starts]
            step = steps[way]
            begun = perf_counter()
            for rows in batches:
                step(rows)
            return {"rate": count * _BATCH / (perf_counter() - begun)}

        for way in _WAYS:
            rate(way)
        rounds = Rounds()
        rounds.run({way: lambda way=way: rate(way) for way in _WAYS}, task["repetitions"], task["seed"], lambda _: None)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    return rounds.numbers
