"""What a way is asked to do, and the shape of a way: prepare a form on disk once, then deliver shuffled epochs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from alluxio_lance.bench.data import Rows

if TYPE_CHECKING:
    import torch

__all__ = ["Batches", "Epochs", "Job", "Way"]

Batches = Iterator[tuple["torch.Tensor", "torch.Tensor"]]
"""Images uint8[B, 3, 64, 64] and labels int64[B], in the process that trains; B may be smaller at an epoch's end."""
Epochs = Callable[[int], Batches]
"""From the number of an epoch, counted from 0, to its batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One measurement of one way, small enough to be handed to a fresh process as JSON."""

    way: str
    source: Path
    """Where the generated rows lie; ways read it while they prepare, the check of the images reads it too."""
    folder: Path
    """The way's own form on disk."""
    rows: int
    batch_size: int
    workers: int
    epochs: int
    seed: int
    check_images: bool
    """Deliver one epoch more, outside of the time taken, and compare every byte of it with the source."""

    @property
    def data(self) -> Rows:
        """The generated rows."""
        return Rows(self.source, self.rows)

    def to_json(self) -> str:
        """Write the job down for another process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        record = json.loads(text)
        return cls(**{**record, "source": Path(record["source"]), "folder": Path(record["folder"])})


class Way(Protocol):
    """A file of ``bench/ways``: two functions."""

    def prepare(self, rows: Rows, folder: Path) -> None:
        """Write the way's own form of the rows into an empty folder."""
        ...

    def opened(self, job: Job) -> AbstractContextManager[Epochs]:
        """Open the form and yield what gives the batches of each epoch."""
        ...
