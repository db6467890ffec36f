"""A training process whose sidecar dies in the middle of its first epoch and is back before the second one.

Run as a script: address, start method or ``none``, number of rows. It writes a line when the sidecar is to be killed,
another when it is to be started again, each time waits for a line, and writes what it saw as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch.utils.data import DataLoader

from alluxio.torch import Dataset


def ask(what: str) -> None:
    """Ask for something and wait until it is done."""
    sys.stdout.write(what + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


def epoch(dataset: Dataset, start_method: str, *, break_off: bool) -> bool:
    """Read one epoch; say whether each row came once with the right values."""
    workers: dict[str, Any] = {} if start_method == "none" else {"num_workers": 2}
    context = None if start_method == "none" else start_method
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=500, shuffle=True, multiprocessing_context=context, **workers
    )
    numbers, right = [], True
    for place, batch in enumerate(loader):
        if break_off and place == 2:
            ask("kill")
        numbers.append(batch["i64"])
        right &= batch["text"] == [f"ä{int(number)}" for number in batch["f64"]]
        right &= bool((batch["f64"].long() % 100 == batch["i64"]).all())
    return right and int(torch.cat(numbers).sum()) == sum(i % 100 for i in range(len(dataset)))


def main() -> None:
    """Read two epochs."""
    with Dataset("alluxio://datasets/kinds", columns=["i64", "f64", "text"], address=sys.argv[1]) as dataset:
        first = epoch(dataset, sys.argv[2], break_off=True)
        ask("start")
        changed = dataset.refresh()
        second = epoch(dataset, sys.argv[2], break_off=False)
    sys.stdout.write(json.dumps({"first": first, "changed": changed, "second": second}) + "\n")


if __name__ == "__main__":
    main()
