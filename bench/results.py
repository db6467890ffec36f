"""What a run found: the raw measurements, their medians and spreads, and the JSON that holds both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from alluxio_lance.bench.ways import OURS

__all__ = ["NOTES", "Epoch", "Line", "Measurement", "Prepared", "Results", "Spread"]

SCHEMA: Final = 1

NOTES: Final = (
    (
        "Ratios of one run on one machine. The absolute numbers move with the machine and with its other users; they "
        "are not to be compared with those of another run."
    ),
    (
        "Nothing is trained, and nothing is decoded or augmented: a training step or a JPEG decoder takes longer than "
        "most of these loaders and would hide their differences."
    ),
    (
        "All data lie on the local disk, which is not what webdataset, MosaicML streaming and litdata are made for: "
        "they stream from object stores."
    ),
    "Rows are random bytes of one size: nothing was compressed, and no value had a variable length.",
    (
        "Epoch 1 of a way that reads files starts with its files dropped from the page cache and its workers still to "
        "start. alluxio-lance has its rows hot in the sidecar by then; how long that took is under prepare_s."
    ),
    (
        "Shuffles differ, and a weaker one is cheaper. memcpy does not shuffle, uses one thread and writes into one "
        "buffer again and again: a yardstick, not a loader."
    ),
    "The check that every row came once is in the time taken: a copy of 8 bytes a row.",
)
"""What the numbers do not say; printed below the table and written into the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of one repetition."""

    seconds: float
    samples: int

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One fresh process: a way opened and its epochs delivered."""

    way: str
    workers: int
    repetition: int
    position: int
    """Its place within the repetition; the order changes from one repetition to the next."""
    open_s: float
    epochs: tuple[Epoch, ...]
    load_before: float
    """The load average of the last minute before it started: what else the machine was doing."""

    @property
    def first(self) -> float:
        """Samples per second of epoch 1."""
        return self.epochs[0].rate

    @property
    def later(self) -> float:
        """Samples per second of the median of the later epochs."""
        return median(epoch.rate for epoch in self.epochs[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What became of a way before its measurements."""

    way: str
    title: str
    shuffle: str
    state: str
    """``measured``, ``unavailable`` (could not be installed or started) or ``failed`` (ran, and was wrong)."""
    reason: str = ""
    prepare_s: float = 0.0
    bytes_on_disk: int = 0
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The middle of several numbers, and how far they lie apart."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize at least one value."""
        return cls(median=median(values), min=min(values), max=max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table: a way with a number of workers."""

    way: str
    workers: int
    repetitions: int
    first: Spread
    """Samples per second of epoch 1."""
    later: Spread
    """Samples per second of the later epochs."""
    first_of_memmap: Spread
    """Epoch 1 over that of np.memmap with the same number of workers, repetition by repetition."""
    of_memmap: Spread
    """Later epochs over those of np.memmap with the same number of workers, repetition by repetition."""
    of_memcpy: Spread
    """Later epochs over memcpy, repetition by repetition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A whole run."""

    schema: int = SCHEMA
    started_at: str
    seconds: float
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    ways: tuple[Prepared, ...]
    lines: tuple[Line, ...]
    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...] = NOTES

    def write_json(self, path: Path) -> None:
        """Write everything, measurements included."""
        path.write_text(json.dumps(asdict(self), indent=2, default=str) + "\n")

    @property
    def ok(self) -> bool:
        """False when alluxio-lance was asked for and has no number, or when any way broke or delivered wrong rows.

        A peer that could not be installed is no failure of the benchmark.
        """
        return not any(way.state == "failed" or (way.way == OURS and way.state != "measured") for way in self.ways)

    def way(self, name: str) -> Prepared:
        """Find what became of a way."""
        return next(prepared for prepared in self.ways if prepared.way == name)
