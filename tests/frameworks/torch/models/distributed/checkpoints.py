"""Ranks of a job that save and load one checkpoint. Run as a script: SCENE RANKS ADDRESS STORE; a line of JSON has what each says.

The ranks are forked, so that torch is imported once.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from alluxio.torch.checkpoint import AlluxioStorageReader, AlluxioStorageWriter

URI = "alluxio://models/sharded"


def whole(name: str) -> torch.Tensor:
    """Make the numbers of a tensor, the same on each rank."""
    shapes: dict[str, Any] = {"rows": (7, 3), "columns": (4, 5), "half": (5,), "same": (3, 3), "few": (1, 2)}
    count = torch.Size(shapes[name]).numel()
    numbers = torch.arange(count, dtype=torch.bfloat16 if name == "half" else torch.float32) + len(name)
    return numbers.reshape(shapes[name])


PLACED = {"rows": Shard(0), "columns": Shard(1), "half": Shard(0), "same": Replicate(), "few": Shard(0)}
OTHERWISE = {"rows": Shard(1), "columns": Replicate(), "half": Shard(0), "same": Shard(0), "few": Shard(1)}


def state(mesh: Any, placed: dict[str, Any], *, blank: bool = False) -> dict[str, Any]:
    """Make the state of a job: sharded tensors, a plain one, and what is no tensor."""
    tensors = {
        name: distribute_tensor(torch.zeros_like(whole(name)) if blank else whole(name), mesh, [place])
        for name, place in placed.items()
    }
    steps = torch.tensor(0 if blank else 12)
    groups = [{"lr": 0.0, "betas": (0.0, 0.0)}] if blank else [{"lr": 0.125, "betas": (0.9, 0.999)}]
    return {"model": tensors, "optim": {"step": steps, "groups": groups}, "epoch": 0 if blank else 3}


def save_and_load(rank: int, address: str) -> Any:
    """Save, and load into other places."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    writer = AlluxioStorageWriter(URI, address=address, message="step 12")
    dcp.save(state(mesh, PLACED), storage_writer=writer)
    again = AlluxioStorageWriter(address=address)
    dcp.save(state(mesh, OTHERWISE), checkpoint_id=URI, storage_writer=again)
    found = state(mesh, OTHERWISE, blank=True)
    dcp.load(found, storage_reader=AlluxioStorageReader(f"{URI}@1.0.0", address=address, verify=True))
    right = {name: bool(torch.equal(full(tensor), whole(name))) for name, tensor in found["model"].items()}
    assert writer.saved is not None
    assert again.saved is not None
    return {
        "saved": [writer.saved.semver, writer.saved.message, again.saved.semver],
        "same content": writer.saved.content_hash == again.saved.content_hash,
        "right": right,
        "rest": [found["optim"]["step"].item(), repr(found["optim"]["groups"]), found["epoch"]],
    }


def full(tensor: Any) -> torch.Tensor:
    """Bring a tensor together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class Failing(DefaultSavePlanner):
    """Does something on one rank when its data are asked for."""

    def __init__(self, rank: int, act: Callable[[], None]) -> None:
        super().__init__()
        self.act = act if dist.get_rank() == rank else lambda: None

    def resolve_data(self, write_item: Any) -> Any:
        self.act()
        return super().resolve_data(write_item)


def fail() -> None:
    """Do what a device may do."""
    raise OSError("the device is gone")


def die() -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def refusals(rank: int, address: str) -> Any:
    """Save what cannot be saved on the last rank, or on the first."""
    mesh, last = init_device_mesh("cpu", (dist.get_world_size(),)), dist.get_world_size() - 1
    writer = AlluxioStorageWriter(URI, address=address)

    def told(save: Callable[[], Any]) -> str:
        try:
            save()
        except dcp.api.CheckpointException as error:
            return "; ".join(f"{rank} raised {failure[0]}" for rank, failure in sorted(error.failures.items()))
        return "saved"

    tensors = state(mesh, PLACED)["model"]
    found = []
    for who in (0, last):
        # On this rank alone: of what several have torch takes any.
        bad = {**tensors, f"bad{who}": object()} if rank == who else tensors
        found.append(told(partial(dcp.save, bad, storage_writer=writer)))
    planned = [partial(dcp.save, tensors, storage_writer=writer, planner=Failing(who, fail)) for who in (0, last)]
    found += map(told, planned)
    assert writer.saved is None
    # It is of use afterwards.
    dcp.save(tensors, storage_writer=writer)
    assert writer.saved is not None
    return [*found, writer.saved.semver]


def killed(rank: int, address: str) -> Any:
    """The last rank dies while it is asked for its chunks."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    planner = Failing(dist.get_world_size() - 1, die)
    try:
        dcp.save(state(mesh, PLACED), storage_writer=AlluxioStorageWriter(URI, address=address), planner=planner)
    except BaseException as error:  # noqa: BLE001 - torch raises what its back end says
        return f"{type(error).__name__}"
    return "saved"


SCENES = {scene.__name__: scene for scene in (save_and_load, refusals, killed)}


def be(scene: str, rank: int, count: int, address: str, store: str, told: Connection) -> None:
    """Play a rank."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    told.send(SCENES[scene](rank, address))
    told.close()
    if scene != "killed":
        dist.destroy_process_group()


def main(scene: str, ranks: str, address: str, store: str) -> None:
    """Start all and tell."""
    fork, count = mp.get_context("fork"), int(ranks)
    pipes = [fork.Pipe(duplex=False) for _ in range(count)]
    started = []
    for rank, (_, told) in enumerate(pipes):
        started.append(fork.Process(target=be, args=(scene, rank, count, address, store, told), daemon=True))
        started[-1].start()
        told.close()
    said: list[Any] = []
    for here, _ in pipes:
        try:
            said.append(here.recv())
        except EOFError:
            said.append(None)
    print(json.dumps(said))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
