"""Training processes that read the iterable dataset with workers, and write what they saw as JSON.

Run as a script (address, start method, name of a scene, URI), since spawned workers import the main module.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
import torch.distributed
from torch.utils.data import DataLoader

from alluxio.torch import IterableDataset, arena_statistics
from alluxio_lance.errors import AlluxioLanceError

FOREIGN = {"lance", "grpc", "google.protobuf", "sqlalchemy"}
# The batches of the last window of a plan like this one, and those where windows end, are joined from two.
WINDOWS = {"unit_rows": 512, "window_units": 3}


def opened(**options: Any) -> IterableDataset:
    """Open the numbers of the rows, and something larger to hand over."""
    return IterableDataset(
        URI, **{"columns": ["f64", "text", "image"], "batch_size": 100, "address": ADDRESS, **options}
    )


def loading(dataset: IterableDataset, **options: Any) -> DataLoader[Any]:
    """Make a loader with a watchdog."""
    workers = {"num_workers": 2, "multiprocessing_context": METHOD, "timeout": 120}
    return DataLoader(dataset, **{"batch_size": None, **workers, **options})


def stateful(dataset: IterableDataset, **options: Any) -> Any:
    """Make torchdata's loader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    chosen = {"batch_size": None, "num_workers": 2, "multiprocessing_context": METHOD, "timeout": 120, **options}
    if not chosen["num_workers"]:
        chosen.update(multiprocessing_context=None, timeout=0)
    return StatefulDataLoader(dataset, **chosen)


def numbers(batches: Any) -> list[int]:
    """Put the rows' numbers together; each row must be the one that its number says."""
    found: list[int] = []
    for batch in batches:
        assert batch["text"] == [f"ä{int(number)}" for number in batch["f64"]]
        assert (batch["image"][:, 0, 0] == batch["f64"]).all()
        found += batch["f64"].int().tolist()
    return found


def by_itself(epochs: int, **options: Any) -> list[list[int]]:
    """Read epochs without workers, which is what all others are compared with."""
    with opened(**options) as dataset:
        return [numbers(dataset) for _ in range(epochs)]


def with_modules(batch: dict[str, Any]) -> dict[str, Any]:
    """Add what this worker has loaded."""
    return {**batch, "modules": sorted(FOREIGN & set(sys.modules)), "pid": os.getpid()}


def epochs() -> dict[str, Any]:
    """Read epochs with workers that last and that do not, from memory and by windows."""
    wanted, right = by_itself(3), {}
    for persistent in (True, False):
        for workers in (1, 2, 3):
            with opened() as dataset:
                loader = loading(dataset, num_workers=workers, persistent_workers=persistent)
                right[f"{persistent} {workers}"] = [numbers(loader) for _ in range(3)] == wanted
    with opened() as one, opened() as two:
        for dataset in (one, two):
            dataset.load_state_dict({**dataset.state_dict(), **WINDOWS})
        right["windows"] = numbers(loading(one)) == numbers(two)
    return right


def turns() -> dict[str, Any]:
    """Set epochs, break some off, and give torch the same seed again."""
    wanted, right = by_itself(8), {}
    for persistent in (True, False):
        with opened() as dataset:
            loader = loading(dataset, persistent_workers=persistent)
            dataset.set_epoch(3)
            found = [numbers(loader)]
            found.append(numbers(islice(loader, 7)))
            found.append(numbers(loader))
            dataset.set_epoch(1)
            found.append(numbers(islice(loader, 1)))
            dataset.set_epoch(1)
            found.append(numbers(loader))
            right[f"{persistent}"] = found == [wanted[3], wanted[4][:700], wanted[5], wanted[1][:100], wanted[1]]
    with opened() as dataset:
        found = []
        for _ in range(3):
            torch.manual_seed(0)
            found.append(numbers(loading(dataset)))
        found.append(numbers(dataset))
        right["seeded"] = found == wanted[:4]
    return right


def states() -> dict[str, Any]:
    """Save what the training loop has taken, and go on with other numbers of ranks and workers."""
    wanted, right = by_itself(3), {}
    with opened() as dataset:
        dataset.set_epoch(1)
        taken = numbers(islice(loading(dataset), 9))
        try:
            dataset.state_dict()
        except AlluxioLanceError as error:
            right["refused"] = "read ahead" in error.message
        state = dataset.state_dict(batches=9)
    right["taken"] = taken == wanted[1][:900] and state["position"] == 900
    for workers in (1, 2, 3):
        with opened(batch_size=77) as dataset:
            dataset.load_state_dict(state)
            loader = loading(dataset, num_workers=workers, persistent_workers=True)
            right[f"{workers} workers"] = [numbers(loader), numbers(loader)] == [wanted[1][900:], wanted[2]]
    ranks = []
    for rank in range(3):
        with opened(rank=rank, world_size=3) as dataset:
            dataset.load_state_dict(state)
            ranks.append(list(loading(dataset)))
    right["ranks"] = [row for step in zip(*ranks, strict=True) for row in numbers(step)] == wanted[1][900:]
    return right


def checkpoints() -> dict[str, Any]:
    """Let torchdata's loader save and go on, in the middle of an epoch and at its end."""
    wanted, right = by_itself(4), {}
    for workers in (0, 2):
        for persistent in {False, workers > 0}:
            name = f"{workers} {persistent}"
            options = {"num_workers": workers, "persistent_workers": persistent}
            for steps in (1, 8, 90) if not workers else (7,):
                with opened() as dataset:
                    loader = stateful(dataset, **options)
                    first = numbers(loader)
                    taken = numbers(islice(loader, steps))
                    state = json.loads(json.dumps(loader.state_dict())) if not workers else loader.state_dict()
                    del loader
                with opened() as dataset:
                    loader = stateful(dataset, **options)
                    loader.load_state_dict(state)
                    rest, following = numbers(loader), numbers(loader)
                right[f"{name} {steps}"] = (first, taken + rest, following) == (wanted[0], wanted[1], wanted[2])
            with opened() as dataset:
                loader = stateful(dataset, **options)
                numbers(loader)
                state = loader.state_dict()
                del loader
            with opened() as dataset:
                loader = stateful(dataset, **options)
                loader.load_state_dict(state)
                right[f"{name} end"] = numbers(loader) == wanted[1]
    with opened() as dataset:
        loader = stateful(dataset)
        next(iter(loader))
        state = loader.state_dict()
    with opened(batch_size=50) as dataset:
        loader = stateful(dataset)
        loader.load_state_dict(state)
        try:
            next(iter(loader))
        except AlluxioLanceError as error:
            right["another batch size"] = "same batch_size" in error.message
    return right


def spawned() -> dict[str, Any]:
    """Do a little of everything: workers take long to start."""
    wanted, right = by_itself(5), {}
    with opened() as dataset:
        loader = loading(dataset, persistent_workers=True)
        dataset.set_epoch(2)
        found = [numbers(loader), numbers(islice(loader, 5))]
        state = dataset.state_dict(batches=5)
        right["persistent"] = found == [wanted[2], wanted[3][:500]]
    with opened() as dataset:
        dataset.load_state_dict(state)
        loader = stateful(dataset)
        taken = numbers(islice(loader, 6))
        checkpoint = loader.state_dict()
    right["state"] = taken == wanted[3][500:1100]
    with opened() as dataset:
        loader = stateful(dataset)
        loader.load_state_dict(checkpoint)
        right["checkpoint"] = numbers(loader) == wanted[3][1100:]
        right["following"] = numbers(dataset) == wanted[4]
    return right


def streaming() -> dict[str, Any]:
    """Read what does not fit with workers: whole epochs, one that is broken off, and what goes on from a state."""
    wanted, right = by_itself(3, stream=True), {}
    with opened() as dataset:
        right["streamed"] = dataset.streamed
        loader = loading(dataset, persistent_workers=True)
        found = [numbers(loader), numbers(islice(loader, 30))]
        state = dataset.state_dict(batches=30)
        right["epochs"] = found == [wanted[0], wanted[1][:3000]]
        # Windows with fewer batches than workers take in advance: none may wait for memory that another one keeps.
        dataset.load_state_dict(state)
        right["numbers"] = numbers(loader) == wanted[1][3000:]
    with opened(batch_size=1500) as dataset:
        dataset.load_state_dict(state)
        right["wide"] = numbers(loading(dataset, prefetch_factor=4)) == wanted[1][3000:]
    with opened() as dataset:
        dataset.load_state_dict(state)
        loader = stateful(dataset)
        taken = numbers(islice(loader, 50))
        checkpoint = loader.state_dict()
        right["stateful"] = taken == wanted[1][3000:8000]
    with opened() as dataset:
        loader = stateful(dataset)
        loader.load_state_dict(checkpoint)
        right["checkpoint"] = [numbers(loader), numbers(loader)] == [wanted[1][8000:], wanted[2]]
    return right


def filtered() -> dict[str, Any]:
    """Read chosen rows with workers of both start methods, from memory and by windows, and go on from a state."""
    chosen = {"filter": "i8 = 3 OR f64 BETWEEN 4000 AND 5000"}
    wanted, right = by_itself(3, **chosen), {}
    right["rows"] = sorted(wanted[0]) == [row for row in range(9000) if row % 100 == 3 or 4000 <= row <= 5000]
    for method in ("fork", "spawn"):
        with opened(**chosen) as dataset:
            loader = loading(dataset, multiprocessing_context=method, persistent_workers=True)
            right[f"{method} epochs"] = [numbers(loader), numbers(islice(loader, 3))] == [wanted[0], wanted[1][:300]]
            state = dataset.state_dict(batches=3)
    with opened(**chosen, batch_size=77) as dataset:
        dataset.load_state_dict(state)
        loader = loading(dataset, multiprocessing_context="fork", persistent_workers=True)
        right["state"] = [numbers(loader), numbers(loader)] == [wanted[1][300:], wanted[2]]
    with opened(**chosen) as one, opened(**chosen) as two:
        for dataset in (one, two):
            dataset.load_state_dict({**dataset.state_dict(), **WINDOWS})
        found = numbers(loading(one, multiprocessing_context="fork"))
        right["windows"] = found == numbers(two) and found != wanted[0] and sorted(found) == sorted(wanted[0])
    return right


def ranks() -> dict[str, Any]:
    """Open as ranks of torch.distributed: they agree on the plan, and notice when they have different versions."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        processes = [context.Process(target=rank_of_two, args=(rank, folder, answers)) for rank in range(2)]
        for process in processes:
            process.start()
        found = dict(answers.get(timeout=120) for _ in processes)
        for process in processes:
            process.join()
    first, second = found[0], found[1]
    steps = [row for pair in zip(first["batches"], second["batches"], strict=True) for batch in pair for row in batch]
    return {
        "units": first["units"] == second["units"] and first["units"][0] == 4096,
        "kinds": (first["streamed"], second["streamed"]) == (True, False),
        "even": len(first["batches"]) == len(second["batches"]),
        "complete": sorted(set(steps)) == list(range(max(steps) + 1)),
        "few twice": len(steps) - len(set(steps)) < 2,
        "versions": all("different versions" in answer["versions"] for answer in (first, second)),
        "chosen": [
            row for pair in zip(first["chosen"], second["chosen"], strict=True) for batch in pair for row in batch
        ]
        == list(range(5000, 9000)),
        "filters": all("different filters (rank 0 has 'f64 < 1'" in answer["filters"] for answer in (first, second)),
        "absent": "nowhere" in first["absent"] and "rank 0 could not open" in second["absent"],
    }


def rank_of_two(rank: int, folder: str, answers: Any) -> None:
    """Be a rank."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    answer: dict[str, Any] = {}
    with opened(stream=rank == 0) as dataset:
        state = dataset.state_dict()
        answer["units"] = [state["unit_rows"], state["window_units"]]
        answer["streamed"] = dataset.streamed
        answer["batches"] = [numbers([batch]) for batch in dataset]
    with opened(stream=rank == 0, shuffle=False, filter="f64 >= 5000 AND f64 < 9000") as dataset:
        answer["chosen"] = [numbers([batch]) for batch in dataset]
    try:
        opened(filter=f"f64 < {1 + rank}")
    except AlluxioLanceError as error:
        answer["filters"] = error.message
    for name, uri in (("versions", f"{URI}@{1 + rank}"), ("absent", URI if rank else "alluxio://datasets/nowhere")):
        try:
            IterableDataset(uri, columns=["f64"], address=ADDRESS)
        except AlluxioLanceError as error:
            answer[name] = error.message
    answers.put((rank, answer))
    torch.distributed.destroy_process_group()


def handing() -> dict[str, Any]:
    """Hand batches over in slots and lose none, load nothing more, and refuse what only the main process may do."""
    wanted, right = by_itself(1, batch_size=2000)[0], {}
    with opened(batch_size=2000, batch_transform=with_modules) as dataset:
        here = FOREIGN & set(sys.modules) if METHOD == "fork" else set()
        batches = list(loading(dataset))
        right["batches"] = numbers(batches) == wanted
        right["modules"] = {name for batch in batches for name in batch["modules"]} <= here
        right["workers"] = len({batch["pid"] for batch in batches}) == 2
        del batches
        gc.collect()
        found = arena_statistics()
        right["slots"] = (found.handed_over, found.filling, found.in_flight, found.held, found.fallbacks) == (
            5,
            0,
            0,
            0,
            0,
        )
        for verb in ("refresh", "set_epoch") if METHOD == "fork" else ():
            dataset.batch_transform = Calling(dataset, verb)
            try:
                next(iter(loading(dataset, num_workers=1)))
            except AlluxioLanceError as error:
                right[verb] = "main process" in error.message
    return right


class Calling:
    """Calls a verb of the dataset where a batch is made."""

    def __init__(self, dataset: IterableDataset, verb: str) -> None:
        self.dataset, self.verb = dataset, verb

    def __call__(self, _: Any) -> Any:
        return getattr(self.dataset, self.verb)(*([5] if self.verb == "set_epoch" else []))


SCENES: dict[str, Callable[[], dict[str, Any]]] = {
    scene.__name__: scene
    for scene in (epochs, turns, states, checkpoints, spawned, handing, streaming, filtered, ranks)
}

if __name__ in ("__main__", "__mp_main__"):
    ADDRESS, METHOD, SCENE, URI = sys.argv[1:]
if __name__ == "__main__":
    sys.stdout.write(json.dumps(SCENES[SCENE]()))
