"""Two ranks of a job that save together. Run as a script: ADDRESS STORE; a line of JSON says what each got.

The ranks are forked, so that torch is imported once.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
import torch.distributed
from torch.distributed.fsdp import FullyShardedDataParallel

from alluxio.torch import save_model
from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.frameworks.torch.models.ranks import on_first_rank
from alluxio_lance.values import Version

URI = "alluxio://models/ranks"


def be(rank: int, address: str, store: str, told: Connection) -> None:
    """Save a model that is another on each rank, and what cannot be saved on rank 0."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    version = save_model(URI, {"w": torch.full((4,), float(rank))}, metadata={"of": {"rank": rank}}, address=address)
    told.send((version.uri, version.semver, version.metadata))
    sharded = FullyShardedDataParallel(torch.nn.Linear(2, 2), device_id=torch.device("cpu"))
    told.send(refusal(lambda: save_model(URI, {"w": torch.zeros(1) if rank else None}, address=address)))
    told.send(refusal(lambda: save_model(URI, sharded, address=address)))
    told.send(refusal(lambda: on_first_rank(interrupt)))
    torch.distributed.destroy_process_group()


def interrupt() -> Version:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def refusal(save: Callable[[], Version]) -> str:
    """Return what comes instead of a version."""
    try:
        return save().uri
    except AlluxioLanceError as error:
        return f"{type(error).__name__}: {error.message}"
    except KeyboardInterrupt:
        return "interrupted"


def main(address: str, store: str) -> None:
    """Start both and tell."""
    fork = mp.get_context("fork")
    pipes = [mp.Pipe() for _ in range(2)]
    for rank, (_, told) in enumerate(pipes):
        fork.Process(target=be, args=(rank, address, store, told), daemon=True).start()
    print(json.dumps([[here.recv() for _ in range(4)] for here, _ in pipes]))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
