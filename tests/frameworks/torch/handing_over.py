"""A training process that compares what workers hand over with what the same dataset gives in one process.

Run as a script (address, start method), since spawned workers import the main module. It ends with live batches, and
writes what it saw as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, default_collate

from alluxio.torch import Dataset
from alluxio_lance.client.arena import arena_statistics

URI = "alluxio://datasets/kinds"
ROWS = 9000


class Pair(NamedTuple):
    """A result with names."""

    left: torch.Tensor
    right: torch.Tensor


def changed_in_place(batch: dict[str, Any]) -> Any:
    """Write into the batch and give it back."""
    batch["f64"].mul_(2)
    batch["more"] = batch["image"].double()
    del batch["i8"]
    return batch


def nested(batch: dict[str, Any]) -> Any:
    """Make new tensors, views, an empty and a repeated one, and leave what is none."""
    more = batch["image"].repeat(1, 3, 5)
    return {
        "views": [batch["image"].transpose(1, 2), batch["f64"][::2], batch["bf16"].view(torch.uint16)],
        "pair": Pair(more, more),
        "strides": torch.rand(2, 3, 40, 50).mul(0).contiguous(memory_format=torch.channels_last),
        "rest": (batch["i64"][:0], batch["text"], 5, None, "word", batch["f64"] > 3),
        "wide": batch["f64"].expand(7, -1),
    }


def as_tuple(batch: dict[str, Any]) -> Any:
    """Make a tuple."""
    return batch["image"], batch["f64"] + 1


def as_list(batch: dict[str, Any]) -> Any:
    """Make a list."""
    return [batch["image"], batch["text"]]


def one_tensor(batch: dict[str, Any]) -> Any:
    """Make a single tensor."""
    return batch["image"].sum((1, 2))


def no_tensor(batch: dict[str, Any]) -> Any:
    """Make something else."""
    return sum(batch["f64"].tolist())


TRANSFORMS: list[Callable[[dict[str, Any]], Any]] = [
    dict,
    changed_in_place,
    nested,
    as_tuple,
    as_list,
    one_tensor,
    no_tensor,
]


def by_turns(batch: dict[str, Any]) -> Any:
    """Transform each batch in the way that its length stands for."""
    return TRANSFORMS[len(batch["f64"]) % len(TRANSFORMS)](batch)


def wrapped(rows: Any) -> Any:
    """Collate as usual and put the batch into something of the user's own."""
    batch = default_collate(rows)
    return {"inner": batch, **batch, "count": len(batch["f64"])}


def same(one: Any, two: Any) -> bool:
    """Compare everything that a batch can be, types and strides included."""
    if type(one) is not type(two):
        return False
    if isinstance(one, torch.Tensor):
        alike = (one.dtype, one.shape, one.stride()) == (two.dtype, two.shape, two.stride())
        return alike and torch.equal(torch.nan_to_num(one), torch.nan_to_num(two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[name], two[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def compared(dataset: Dataset, order: list[list[int]], method: str, **options: Any) -> list[int]:
    """Read an epoch with workers and return the places of the batches that differ from those of this process."""
    workers = {"num_workers": 2, "prefetch_factor": 3, "timeout": 120, "multiprocessing_context": method}
    loader: DataLoader[Any] = DataLoader(dataset, batch_sampler=order, **workers, **options)
    plain: DataLoader[Any] = DataLoader(dataset, batch_sampler=order, collate_fn=options.get("collate_fn"))
    wrong: list[int] = []
    for place, (batch, wanted) in enumerate(zip(loader, plain, strict=True)):
        if not same(batch, wanted):
            wrong.append(place)
        kept[:] = [batch]
    return wrong


def main() -> None:
    """Compare, count, and end while a batch lives."""
    address, method = sys.argv[1:]
    generator = torch.Generator().manual_seed(5)
    # Of each length modulo seven, twice, in another order than the transforms are called in.
    order = [torch.randint(0, ROWS, (2500 + 3 * turn,), generator=generator).tolist() for turn in range(14)]
    with Dataset(URI, address=address) as dataset:
        dataset.batch_transform = by_turns
        seen: dict[str, Any] = {"transformed": compared(dataset, order, method)}
        kept.clear()
        gc.collect()
        seen["statistics"] = asdict(arena_statistics())
        dataset.batch_transform = None
        seen["wrapped"] = compared(dataset, order[:4], method, collate_fn=wrapped)
    sys.stdout.write(json.dumps(seen))


kept: list[Any] = []
"""What is still alive when the interpreter ends."""

if __name__ == "__main__":
    main()
