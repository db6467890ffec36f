"""The consumer of a soak; run as a script (address, seconds, seed). It ends at the first thing that is not as it should be.

Each round makes a plain DataLoader, reads an epoch or two with one misdeed in it, and checks every batch. Afterwards no
slot is in use, no descriptor more is open, no process and no shared memory is left.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import random
import re
import subprocess
import sys
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import torch
from known import ROWS, URI, checked
from misdeeds import MISDEEDS, UNLUCKY, Kill, Misdeed, TroubledBatches, TroubledSamples, Write
from torch.utils.data import DataLoader

from alluxio.torch import Dataset
from alluxio_lance.client.arena import Arena, arena_statistics

if TYPE_CHECKING:
    from collections.abc import Callable

Remains = TypeVar("Remains", list[psutil.Process], Counter[str])

ROUND_LIMIT_S = 90
"""Longer than any round: what takes so long waits for somebody who will not come."""
ENDING_S = 20
"""For a worker that torch terminated, and for the writing end of a queue that its thread closes: torch waits for neither."""
METHODS = {"fork": 16, "forkserver": 3, "spawn": 1}
HUGE_SLOTS = "/memfd:alluxio-lance-arena-huge-slots (deleted)"
ARENAS = (None, None, 8 << 20)
"""Bytes: the small one is full at once when batches are held."""


class Switcher:
    """The process that moves the active version."""

    def __init__(self, address: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("switcher.py")), address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def __call__(self, version: str) -> None:
        """Move it, and wait until it has moved."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(version + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", "the active version could not be moved"

    def close(self) -> None:
        """End it."""
        self._process.communicate()


class Soak:
    """The rounds, and what they have seen."""

    def __init__(self, address: str, seed: int) -> None:
        self.drawing = random.Random(seed)
        self.switch = Switcher(address)
        self.dataset = Dataset(URI, address=address)
        self.rounds: Counter[str] = Counter()
        self.batches = self.handed_over = self.fallbacks = self.refreshes = 0
        self.descriptors: Counter[str] | None = None

    # -- a round -------------------------------------------------------------------------------------------------------

    def round(self) -> None:
        """Read with one misdeed, and look at what is left."""
        name = self.drawing.choices(list(MISDEEDS), [often for _, often in MISDEEDS.values()])[0]
        method = self.drawing.choices(list(METHODS), list(METHODS.values()))[0]
        what = f"round {self.rounds.total()}: {name}, {method}"
        faulthandler.dump_traceback_later(ROUND_LIMIT_S, exit=True)
        try:
            self.change_arena()
            self.read(name, method)
            self.look(what)
            if self.drawing.random() < 0.4:
                self.refreshes += self.dataset.refresh()
        except BaseException as error:
            error.add_note(what)
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
        self.rounds[name] += 1

    def change_arena(self) -> None:
        """Go on with an arena of another size; nobody has anything of the one before."""
        self.count()
        self.dataset._arenas._arena = Arena.make(self.drawing.choice(ARENAS))

    def count(self) -> None:
        """Add up what the arena has seen."""
        found = arena_statistics()
        self.handed_over += found.handed_over
        self.fallbacks += found.fallbacks

    def read(self, name: str, method: str) -> None:
        """Read an epoch, or two with workers that persist."""
        size = self.drawing.choice([1, 16, 64, 256, 256, 1024])
        count = 220 if name == "hold" and size <= 256 else self.drawing.randrange(1, 30)
        rows = [row for row in range(ROWS) if row != UNLUCKY]
        batches = [self.drawing.choices(rows, k=size) for _ in range(count)]
        kind, _ = MISDEEDS[name]
        misdeed = kind(self.drawing, batches, self.switch)
        by_sample = name == "raise" and size <= 64 and self.drawing.random() < 0.5
        self.dataset.transform = TroubledSamples() if by_sample else None
        self.dataset.batch_transform = None if by_sample else TroubledBatches()
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=batches,
            num_workers=self.drawing.randrange(1, 5 if method == "fork" else 3),
            prefetch_factor=self.drawing.randrange(1, 6),
            persistent_workers=self.drawing.random() < 0.3,
            multiprocessing_context=method,
        )
        if self.epoch(loader, misdeed, batches) and loader.persistent_workers:
            self.epoch(loader, misdeed, batches)

    def epoch(self, loader: DataLoader[Any], misdeed: Misdeed, batches: list[list[int]]) -> bool:
        """Read once, with the misdeed in it; return whether the workers are alive. All batches are of one version."""
        versions = set()
        failed = None
        iterator = iter(loader)
        try:
            for place, batch in enumerate(iterator):
                self.batches += 1
                versions.add(checked(batch, batches[place]))
                if not misdeed.after(place, batch, iterator):
                    break
        except misdeed.errors as error:
            failed = error
        finally:
            # Nobody may have noticed the death of a worker that had sent all it had to.
            alive = failed is None and not isinstance(misdeed, Kill)
            if not loader.persistent_workers or not alive:
                with suppress(RuntimeError):
                    # It raises the death of a worker once more.
                    iterator._shutdown_workers()
        assert failed is not None or not misdeed.must_fail, "the transform did not raise"
        assert len(versions) <= 1, f"an epoch of versions {versions}"
        batch = None
        misdeed.over()
        if isinstance(misdeed, Write):
            checked(self.dataset.batch(batches[0]), batches[0])
        return alive

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def look(self, what: str) -> None:
        """Nothing is in use and nothing is left."""
        gc.collect()
        left = at_last(self.strangers)
        assert not left, f"processes left: {left}, {what}"
        found = arena_statistics()
        assert (found.filling, found.in_flight, found.held) == (0, 0, 0), f"slots lost: {found}, {what}"
        more = at_last(self.surplus)
        assert not more, f"descriptors left: {dict(more)}, {what}"

    def surplus(self) -> Counter[str]:
        """Count the descriptors beyond those that were open before the first round."""
        if self.descriptors is None:
            return Counter()
        # An arena has a file of huge pages while there are some: other tests on this machine reserve them for a while.
        _, _, *huge = self.dataset._arenas._arena._descriptors.numbers
        return opened() - self.descriptors - Counter({HUGE_SLOTS: len(huge)})

    def strangers(self) -> list[psutil.Process]:
        """Find processes below this one that no round should leave."""
        # Reaps those that have ended, which torch does not for a worker that it terminated.
        multiprocessing.active_children()
        known = {self.switch.pid, os.getpid(), *helpers()}
        return [child for child in psutil.Process().children(recursive=True) if child.pid not in known]

    def settle(self) -> None:
        """Use each start method once: what multiprocessing keeps open for good is no leak."""
        for method in METHODS:
            self.change_arena()
            self.read("nothing", method)
            self.dataset.refresh()
        self.look("before the first round")
        self.descriptors = opened()
        del self.descriptors[HUGE_SLOTS]

    def close(self) -> None:
        """Let everything go; no memory of an arena stays mapped."""
        self.count()
        self.dataset.close()
        self.switch.close()
        gc.collect()
        assert "alluxio-lance-arena" not in Path("/proc/self/maps").read_text(), "memory of an arena is still mapped"


def at_last(look: Callable[[], Remains]) -> Remains:
    """Return what is left of something that others end: torch's terminated workers, the threads of its queues."""
    deadline = time.monotonic() + ENDING_S
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def helpers() -> set[int | None]:
    """Processes that multiprocessing keeps for good."""
    return {
        multiprocessing.forkserver._forkserver._forkserver_pid,  # type: ignore[attr-defined]
        multiprocessing.resource_tracker._resource_tracker._pid,  # type: ignore[attr-defined]
    }


def opened() -> Counter[str]:
    """Count the open descriptors by what they are."""
    found: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            target = str(descriptor.readlink())
            # Sockets and pipes have a number of their own behind the colon, columns the number of their version.
            found[re.sub(r"@v\d+", "", target) if "memfd:" in target else target.split(":", maxsplit=1)[0]] += 1
    return found


def shared_files() -> set[str]:
    """Name the files of shared memory that torch makes."""
    return {file.name for file in Path("/dev/shm").glob("torch_*")}


left_alone: list[Any] = []
"""What is alive when the interpreter ends."""


def leave_alone(address: str) -> None:
    """Read with workers, and let nothing go."""
    dataset = Dataset(URI, address=address)
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=256, num_workers=2, multiprocessing_context="fork")
    iterator = iter(loader)
    left_alone.extend([iterator, next(iterator), next(iterator)])


def main() -> None:
    """Soak for so long, and say what was done."""
    address, end, seed = sys.argv[1], time.monotonic() + float(sys.argv[2]), int(sys.argv[3])
    faulthandler.enable()
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    torch.set_num_threads(1)
    multiprocessing.set_forkserver_preload(["alluxio.torch"])
    before = shared_files()
    soak = Soak(address, seed)
    soak.settle()
    while time.monotonic() < end or not soak.rounds:
        soak.round()
    soak.close()
    leave_alone(address)
    mine = {name for name in shared_files() - before if name.split("_")[1] == str(os.getpid())}
    assert not mine, f"shared memory left: {mine}"
    record = {
        "rounds": dict(soak.rounds),
        "batches": soak.batches,
        "handed_over": soak.handed_over,
        "fallbacks": soak.fallbacks,
        "refreshes": soak.refreshes,
    }
    sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
