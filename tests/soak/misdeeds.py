"""What a consumer and its workers can do wrong, or merely oddly: one of these happens in each round of a soak.

A misdeed is called after each batch and may keep it. What it keeps is checked when the epoch is over, however it ended.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from known import checked, columns_of

from alluxio_lance.errors import Unavailable

__all__ = ["MISDEEDS", "Misdeed", "TroubledBatches", "TroubledSamples"]

UNLUCKY = 4242
"""The row that transforms refuse."""
MOST_KEPT = 200


class Misdeed:
    """Nothing happens: some batches are kept for a while, as a consumer that accumulates does."""

    errors: tuple[type[BaseException], ...] = ()
    """What may end the epoch."""
    must_fail = False
    """Whether one of them has to."""
    keeps = 0.2

    def __init__(self, drawing: random.Random, batches: list[list[int]], switch: Callable[[str], None]) -> None:
        self.drawing = drawing
        self.batches = batches
        self.when = drawing.randrange(len(batches))
        self.switch = switch
        self.kept: list[tuple[dict[str, Any], list[int] | None]] = []

    def after(self, place: int, batch: dict[str, Any], iterator: Any) -> bool:
        """Act after a batch; False ends the epoch."""
        if self.drawing.random() < self.keeps and len(self.kept) < MOST_KEPT:
            self.kept.append((batch, self.batches[place]))
        if self.kept and self.drawing.random() < self.keeps / 2:
            self.kept.pop(self.drawing.randrange(len(self.kept)))
        return place != self.when or self.now(batch, iterator)

    def now(self, batch: dict[str, Any], iterator: Any) -> bool:
        """Do it."""
        return True

    def over(self) -> None:
        """Check what was kept, and let it go."""
        for batch, rows in self.kept:
            checked(batch, rows)
        self.kept.clear()


class Hold(Misdeed):
    """Up to 200 batches are held until the epoch is over, more than a small arena has slots for."""

    keeps = 1.0

    def after(self, place: int, batch: dict[str, Any], iterator: Any) -> bool:
        """Keep, and never let go."""
        if len(self.kept) < MOST_KEPT:
            self.kept.append((batch, self.batches[place]))
        return True


class Break(Misdeed):
    """The consumer stops in the middle of the epoch."""

    def now(self, batch: dict[str, Any], iterator: Any) -> bool:
        """Stop."""
        return False


class Kill(Misdeed):
    """A worker is killed with -9; DataLoader raises, or our own error says that a batch did not arrive.

    A batch for which no slot was free travels as torch's own shared memory, whose descriptor torch fetches from the worker
    when it takes the batch: from a dead one that fails with what the connection says.
    """

    errors = (RuntimeError, Unavailable, ConnectionError, EOFError)

    def now(self, batch: dict[str, Any], iterator: Any) -> bool:
        """Kill, and wait until it is dead."""
        victim = self.drawing.choice(iterator._workers).pid
        os.kill(victim, signal.SIGKILL)
        with suppress(ChildProcessError):
            # torch raises from its handler of SIGCHLD, wherever that finds the program: here, please. A worker of
            # the fork server is nobody's child here.
            os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)
        return True


class Raise(Misdeed):
    """A transform raises for one row: of a whole batch, or (with samples) of the row alone."""

    errors = (ValueError,)
    must_fail = True

    def __init__(self, drawing: random.Random, batches: list[list[int]], switch: Callable[[str], None]) -> None:
        super().__init__(drawing, batches, switch)
        batches[self.when][0] = UNLUCKY


class Views(Misdeed):
    """Slices and strided views outlive their batches, and the loader."""

    keeps = 0.0

    def after(self, place: int, batch: dict[str, Any], iterator: Any) -> bool:
        """Keep parts only."""
        rows = len(batch["number"])
        if len(self.kept) < MOST_KEPT:
            start = self.drawing.randrange(rows)
            step = self.drawing.choice([1, 1, 2, 3])
            part = slice(start, self.drawing.randrange(start, rows) + 1, step)
            self.kept.append((columns_of(batch, part), self.batches[place][part]))
        return True


class Collect(Misdeed):
    """Batches die in cycles, when the collector comes by: in the middle, late, or in this thread's worst moments."""

    def after(self, place: int, batch: dict[str, Any], iterator: Any) -> bool:
        """Tie the batch to itself and collect now and then."""
        knot: dict[str, Any] = {"batch": batch}
        knot["self"] = knot
        del knot
        if self.drawing.random() < 0.2:
            gc.collect(self.drawing.randrange(3))
        return True

    def over(self) -> None:
        """Collect once more."""
        gc.collect()


class Write(Misdeed):
    """The consumer writes into what it got; neither the version nor any other batch changes."""

    def after(self, place: int, batch: dict[str, Any], iterator: Any) -> bool:
        """Overwrite everything."""
        batch["image"].zero_()
        batch["checksum"].add_(1)
        return True


class Heirs(Misdeed):
    """Forked children go on reading what they inherited, though the parent lets go; they end with live batches."""

    def __init__(self, drawing: random.Random, batches: list[list[int]], switch: Callable[[str], None]) -> None:
        super().__init__(drawing, batches, switch)
        self.children: list[int] = []

    def now(self, batch: dict[str, Any], iterator: Any) -> bool:
        """Fork one that reads the batch again and again until the epoch goes on."""
        rows = self.batches[self.when]
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                # The threads of its parent are not there.
                torch.set_num_threads(1)
                for _ in range(50):
                    checked(batch, rows)
                status = 0
            finally:
                # Without a word to anybody, as a crash does.
                os._exit(status)
        self.children.append(pid)
        return True

    def over(self) -> None:
        """See that all of them read what was there."""
        super().over()
        while self.children:
            assert os.waitpid(self.children.pop(), 0)[1] == 0, "a forked child read wrong bytes"


class Switch(Misdeed):
    """Another version becomes the active one in mid-epoch; the epoch goes on with the old one."""

    def now(self, batch: dict[str, Any], iterator: Any) -> bool:
        """Roll back, or activate the other one."""
        self.switch("back" if self.drawing.random() < 0.5 else f"1.{self.drawing.randrange(2)}.0")
        return True


class Leave(Misdeed):
    """A process with workers of its own ends while its batches live."""

    def now(self, batch: dict[str, Any], iterator: Any) -> bool:
        """Start it with a copy of the dataset, and see that it ends in good order."""
        copy = iterator._dataset
        leaving = multiprocessing.get_context("spawn").Process(target=leave, args=(copy, self.batches[:4]))
        leaving.start()
        leaving.join()
        assert leaving.exitcode == 0, f"a process that left with live batches ended with {leaving.exitcode}"
        leaving.close()
        return True


left_alone: list[Any] = []
"""What is alive when such a process ends."""


def leave(dataset: Any, batches: list[list[int]]) -> None:
    """Read with workers, and return with everything still there."""
    torch.set_num_threads(1)
    loader: Any = torch.utils.data.DataLoader(
        dataset, batch_sampler=batches, num_workers=1, multiprocessing_context="fork", persistent_workers=True
    )
    iterator = iter(loader)
    batch = next(iterator)
    checked(batch, batches[0])
    left_alone.extend([iterator, batch])


class TroubledBatches:
    """A ``batch_transform`` that refuses one row."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if UNLUCKY in batch["number"].tolist():
            raise ValueError("no such luck")
        return batch


class TroubledSamples:
    """A ``transform`` that does."""

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if int(sample["number"]) == UNLUCKY:
            raise ValueError("no such luck")
        return sample


MISDEEDS: dict[str, tuple[type[Misdeed], int]] = {
    "nothing": (Misdeed, 2),
    "hold": (Hold, 2),
    "break": (Break, 3),
    "kill": (Kill, 3),
    "raise": (Raise, 3),
    "views": (Views, 2),
    "collect": (Collect, 2),
    "write": (Write, 1),
    "heirs": (Heirs, 3),
    "switch": (Switch, 3),
    "leave": (Leave, 1),
}
"""By name, with how often it is drawn."""
