"""A training process that reads views with workers, and writes what it saw as JSON.

Run as a script, since spawned workers import the main module, and since a forked one inherits all that it has loaded.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from alluxio.torch import Dataset, View, concat, mix

FOREIGN = {"lance", "grpc", "google.protobuf", "sqlalchemy"}


def with_modules(rows: Any) -> dict[str, Any]:
    """Collate as usual, and add what this worker has loaded."""
    return {**default_collate(rows), "modules": sorted(FOREIGN & set(sys.modules))}


def plus_one(sample: dict[str, Any]) -> dict[str, Any]:
    """Transform a sample."""
    return {"i": sample["i"] + 1}


def doubled(batch: dict[str, Any]) -> dict[str, Any]:
    """Transform a batch."""
    return {**batch, "i": batch["i"] * 2}


def read(view: Any, start_method: str, *, shuffle: bool = False) -> dict[str, Any]:
    """Read an epoch: the numbers, the modules that workers loaded, and whether all columns agree."""
    here = set(sys.modules) & FOREIGN if start_method == "fork" else set()
    loader: DataLoader[Any] = DataLoader(
        view,
        batch_size=500,
        shuffle=shuffle,
        num_workers=2,
        collate_fn=with_modules,
        multiprocessing_context=start_method,
    )
    numbers: list[torch.Tensor] = []
    modules: set[str] = set()
    right = True
    for batch in loader:
        numbers.append(batch["i"])
        modules |= set(batch["modules"])
        right &= batch["text"] == [f"s{int(i)}" for i in batch["i"]]
        right &= bool((batch["x"][:, 3] == batch["i"]).all())
    return {"numbers": torch.cat(numbers).tolist(), "modules": sorted(modules - here), "right": right}


def main() -> None:
    """Read views of all kinds, one behind the other, with two workers of the start method that the argument names."""
    address, start_method = sys.argv[1:]
    found: dict[str, Any] = {}
    with (
        Dataset("alluxio://datasets/views/workers/one", address=address) as one,
        Dataset("alluxio://datasets/views/workers/two", address=address) as two,
        Dataset("alluxio://datasets/views/workers/one", address=address, filter="i % 3 = 0") as filtered,
    ):
        every: View = concat(
            [
                filtered,
                one.filter("i % 4 = 0"),
                one.split({"train": 0.8, "val": 0.2}, key="i")["val"],
                mix([one, two], [1, 3], seed=4),
            ]
        )
        found["every"] = read(every, start_method)
        if start_method == "fork":
            found["shuffled"] = read(every, start_method, shuffle=True)
            options = {"batch_size": 500, "num_workers": 2, "multiprocessing_context": "fork"}
            every.batch_transform = doubled
            found["doubled"] = torch.cat([batch["i"] for batch in DataLoader(every, **options)]).tolist()
            every.batch_transform = None
            every.transform = plus_one
            found["plus one"] = torch.cat([batch["i"] for batch in DataLoader(every, **options)]).tolist()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
