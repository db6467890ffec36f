"""Two ranks of a job that save together. Run as a script: ADDRESS STORE; a line of JSON says what each got.

The ranks are forked, so that torch is imported once.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import sys
from multiprocessing.connection import Connection

import torch
import torch.distributed

from alluxio.torch import save_model
from alluxio_lance.errors import AlluxioLanceError

URI = "alluxio://models/ranks"


def be(rank: int, address: str, store: str, told: Connection) -> None:
    """Save a model that is another on each rank, and one that cannot be saved on rank 0."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    version = save_model(URI, {"w": torch.full((4,), float(rank))}, address=address)
    try:
        save_model(URI, {"w": torch.zeros(1) if rank else None}, address=address)
        refused = ""
    except AlluxioLanceError as error:
        refused = f"{type(error).__name__}: {error.message}"
    told.send((version.uri, version.semver, refused))
    torch.distributed.destroy_process_group()


def main(address: str, store: str) -> None:
    """Start both and tell."""
    fork = mp.get_context("fork")
    pipes = [mp.Pipe() for _ in range(2)]
    for rank, (_, told) in enumerate(pipes):
        fork.Process(target=be, args=(rank, address, store, told), daemon=True).start()
    print(json.dumps([here.recv() for here, _ in pipes]))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
