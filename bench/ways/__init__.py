"""The ways to feed a training loop, one file each, and the one table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["BASELINE", "LIMIT", "OURS", "SHUFFLES", "WAYS", "Entry", "chosen"]

BASELINE: Final = "memmap"
LIMIT: Final = "memcpy"
OURS: Final = "ours"

SHUFFLES: Final = {
    "rows": "a permutation of all rows of the epoch",
    "batches": "whole batches in a random order, the rows within them stay together",
    "buffer": "shards in a random order, then rows through a buffer of 1,000",
    "blocks": "shards in a random order, then rows within blocks of some shards",
    "chunks": "chunks in a random order, then rows within each",
    "none": "the order of the source",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the table of results says about a way beside its numbers."""

    title: str
    shuffle: str
    """How far a row can move, since a weaker shuffle is cheaper; `SHUFFLES` explains the words."""
    distribution: str | None = None
    """The package on PyPI that it measures; None when numpy and torch are enough."""
    module: str | None = None
    """The module to import in order to know that the package works."""
    peer: bool = False
    """May need a virtual environment of its own, see `alluxio_lance.bench.peers`."""
    workers: bool = True
    """False when it has no DataLoader and so no worker processes."""
    sidecar: bool = False
    """Needs a running sidecar."""


WAYS: Final[dict[str, Entry]] = {
    LIMIT: Entry(title="memcpy, one thread", shuffle="none", workers=False),
    BASELINE: Entry(title="np.memmap, batches", shuffle="rows"),
    "memmap_rows": Entry(title="np.memmap, rows", shuffle="rows"),
    OURS: Entry(title="alluxio-lance", shuffle="rows", sidecar=True),
    "hf_datasets": Entry(title="HF datasets", shuffle="rows", distribution="datasets", module="datasets"),
    "lance_torch": Entry(title="lance.torch", shuffle="batches", distribution="pylance", module="lance"),
    "lance_safe": Entry(title="lance.torch, safe", shuffle="rows", distribution="pylance", module="lance"),
    "web_dataset": Entry(
        title="webdataset",
        shuffle="buffer",
        distribution="webdataset",
        module="webdataset",
        peer=True,
    ),
    "mosaic": Entry(
        title="MosaicML streaming",
        shuffle="blocks",
        distribution="mosaicml-streaming",
        module="streaming",
        peer=True,
    ),
    "lit_data": Entry(
        title="litdata",
        shuffle="chunks",
        distribution="litdata",
        module="litdata",
        peer=True,
    ),
}


def chosen(names: Sequence[str] | None) -> list[str]:
    """Return the ways to measure: all of them, or those named, with the baseline and the limit that ratios need.

    Raises
    ------
    InvalidArgument
        When a name is in no row of the table.
    """
    unknown = sorted(set(names or ()) - set(WAYS))
    if unknown:
        raise InvalidArgument(f"there is no way named {', '.join(unknown)}: choose from {', '.join(WAYS)}")
    wanted = set(names if names is not None else WAYS) | {BASELINE, LIMIT}
    return [name for name in WAYS if name in wanted]
