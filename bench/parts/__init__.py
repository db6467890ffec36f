"""The parts of the benchmark beside the table of ways: one file each, and the one list of them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final, Protocol, cast

from alluxio_lance.bench.parts.results import Found
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.errors import InvalidArgument

__all__ = ["PARTS", "WAYS", "Part", "chosen", "load"]

WAYS: Final = "ways"
"""The table of ways beside the peers, which has a driver of its own."""

PARTS: Final = {
    "limit": "shuffled batches beside one memcpy, by size of row",
    "growth": "opening, first batch and epochs while rows, workers and readers grow",
    "larger": "a version four times as large as the memory budget",
    "memory": "memory of all processes while workers are added",
    "switching": "from an activation or a rollback to the first batch",
    "models": "loads of a model, memory of those who hold it, what a fine-tune adds, and swaps",
    "lifecycle": "calls of the lifecycle per second",
    "tf": "tf.data beside from_tensor_slices and from_generator",
    "jpeg": "where the time goes with JPEG files, beside ImageFolder",
}
"""What each one is about; a part's module has its name."""


class Part(Protocol):
    """A file of ``bench/parts``; ``probe`` runs in a fresh process when a part asks for one."""

    def measure(self, setting: Setting) -> Found:
        """Measure in the setting's folder."""
        ...


def load(name: str) -> Part:
    """Import a part, and with it what it measures."""
    return cast("Part", importlib.import_module(f"alluxio_lance.bench.parts.{name}"))


def chosen(names: Sequence[str] | None) -> list[str]:
    """Return what to measure: all of it, or the parts that are named.

    Raises
    ------
    InvalidArgument
        When a name is no part.
    """
    known = [WAYS, *PARTS]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise InvalidArgument(f"there is no part named {', '.join(unknown)}: choose from {', '.join(known)}")
    return [name for name in known if names is None or name in names]
