"""A training process as a stranger would write it: reads epochs with workers and writes what it saw as JSON.

Run as a script, since spawned workers import the main module, and since a forked one inherits all that it has loaded.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from alluxio.torch import Dataset

FOREIGN = {"lance", "grpc", "google.protobuf", "sqlalchemy"}


def with_modules(rows: Any) -> dict[str, Any]:
    """Collate as usual, and add what this worker has loaded."""
    return {**default_collate(rows), "modules": sorted(FOREIGN & set(sys.modules)), "pid": os.getpid()}


def plus_one(sample: dict[str, Any]) -> dict[str, Any]:
    """Transform a sample."""
    return {"i64": sample["i64"], "f64": sample["f64"] + 1}


def main() -> None:
    """Read two epochs; between two batches of the first one kill the process that the third argument names."""
    address, start_method, victim, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    seen: list[dict[str, Any]] = []
    with Dataset("alluxio://datasets/kinds", columns=["i64", "f64", "text", "image"], address=address) as dataset:
        here = sorted(FOREIGN & set(sys.modules))
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=500,
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
            collate_fn=with_modules,
            multiprocessing_context=start_method,
        )
        for _ in range(2):
            numbers: list[torch.Tensor] = []
            modules, pids, right = set(), set(), True
            for place, batch in enumerate(loader):
                if victim and place == 2 and not seen:
                    os.kill(victim, signal.SIGKILL)
                numbers.append(batch["f64"])
                modules |= set(batch["modules"])
                pids.add(batch["pid"])
                right &= batch["text"] == [f"ä{int(number)}" for number in batch["f64"]]
                right &= bool((batch["image"][:, 0, 0] == batch["f64"]).all())
            order = torch.cat(numbers)
            seen.append(
                {
                    "complete": sorted(order.tolist()) == list(range(rows)),
                    "shuffled": order.tolist() != list(range(rows)),
                    "right": right,
                    "modules": sorted(modules - set(here)) if start_method == "fork" else sorted(modules),
                    "workers": len(pids),
                }
            )
        del loader
        dataset.transform = plus_one
        changed = DataLoader(dataset, batch_size=500, num_workers=2, multiprocessing_context=start_method)
        transformed = torch.cat([batch["f64"] for batch in changed])
    sys.stdout.write(json.dumps({"epochs": seen, "transformed": transformed.tolist() == list(range(1, rows + 1))}))


if __name__ == "__main__":
    main()
