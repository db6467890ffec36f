"""Processes that hold one model: each loads it by itself, tells what it costs, writes, and tells what it sees.

Run as a script with an address and a URI. It forks the processes once torch is imported, tells what they found as JSON
lines, and waits for a line after the first.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from alluxio.torch import load_model

HOLDERS = 4


def share() -> int:
    """Bytes of the mapped models that are counted to this process."""
    found, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, _, rest = line.partition(":")
        if "-" in key.split(" ", 1)[0]:
            ours = "memfd:alluxio-lance:" in line
        elif key == "Pss" and ours:
            found += int(rest.split()[0]) * 1024
    return found


def sums(state: dict[str, torch.Tensor]) -> dict[str, int]:
    """Read every number."""
    return {name: int(tensor.sum(dtype=torch.int64)) for name, tensor in state.items()}


def hold(address: str, uri: str, ours: Connection) -> None:
    """Do what is asked, until there is nothing more."""
    torch.set_num_threads(1)
    state = load_model(uri, address=address)
    tasks: dict[str, Any] = {
        "sums": lambda: sums(state),
        "share": share,
        "write": lambda: [tensor.fill_(1).nbytes for tensor in state.values()],
    }
    while (task := ours.recv()) is not None:
        ours.send(tasks[task]())


def main(address: str, uri: str) -> None:
    """Ask each in turn."""
    holders: list[tuple[Any, Connection]] = []
    for _ in range(HOLDERS):
        here, there = mp.Pipe()
        process = mp.get_context("fork").Process(target=hold, args=(address, uri, there), daemon=True)
        process.start()
        holders.append((process, here))

    def ask(task: str) -> list[Any]:
        for _, connection in holders:
            connection.send(task)
        return [connection.recv() for _, connection in holders]

    def say(**facts: Any) -> None:
        print(json.dumps(facts), flush=True)  # noqa: T201 - the test reads it
        sys.stdin.readline()

    say(sums=ask("sums"), shares=ask("share"))
    writer = holders[0][1]
    writer.send("write")
    writer.recv()
    say(sums=ask("sums"))
    for process, connection in holders:
        connection.send(None)
        process.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
