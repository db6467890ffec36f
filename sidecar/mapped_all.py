"""What must be so that all units of a version are mapped from this node's disk together, however large it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alluxio_lance.errors import NoSpace
from alluxio_lance.sidecar.budget import Budget, size_text
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.resident import Resident
from alluxio_lance.sidecar.stream import Stream

__all__ = ["NoMoreRoom", "check", "descriptors", "gone", "refusal"]

_MOST_DESCRIPTORS: Final = 8192
"""Of one version: as many mappings has each of its readers, of 65,530 that the kernel gives a process by default."""
_CACHED: Final = 0.5
"""The share of the memory that is free now, page cache included, which a version may have that is mapped as a whole."""


def descriptors(stream: Stream) -> int:
    """Count the files of a version's columns."""
    return stream.units.count * len(stream.units.names)


def check(stream: Stream, loading: Loading, budget: Budget) -> None:
    """Refuse what cannot be mapped together, without a lock.

    Raises
    ------
    NoSpace
        When it cannot.
    """
    if not 0 < descriptors(stream) <= _MOST_DESCRIPTORS:
        raise refusal(
            stream, f"would be {descriptors(stream)} files, of which {_MOST_DESCRIPTORS} may be open together"
        )
    size = stream.streamed.expected(stream.units) * stream.units.count
    if size > budget.available() * _CACHED:
        # Its pages would push each other out while windows of it are read: these are read in one by one.
        raise refusal(stream, f"has about {size_text(size)}, more than the page cache is likely to keep")
    _check_disk(stream, loading)


def _check_disk(stream: Stream, loading: Loading) -> None:
    """Look for a unit that is not on the disk, or must be hashed first; the one that stood in the way last time comes first."""
    streamed, count = stream.streamed, stream.units.count
    plan = streamed.units.only(stream.units.names, streamed.as_arrow).plan
    for number in (*range(streamed.not_on_disk, count), *range(streamed.not_on_disk)):
        if not loading.maps_at_once(streamed.version, plan, number, stream.units.names):
            streamed.not_on_disk = number
            raise refusal(stream, "was not read from the disk yet", number)


def refusal(stream: Stream, why: str, unit: int | None = None) -> NoSpace:
    """Make the error that says why not."""
    what = stream.units.plan.label if unit is None else f"unit {unit} of {stream.units.plan.label}"
    return NoSpace(f"{what} {why}, so it is not mapped as a whole - read it window by window")


def gone(stream: Stream) -> NoSpace:
    """Make the error for what left the disk while it was claimed."""
    return refusal(stream, "has left the disk in part")


class NoMoreRoom:
    """Where a claim of what takes no memory gets more: nowhere."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def make_room(self, residents: Sequence[Resident], need: int) -> None:
        raise gone(self._stream)

    def give_room(self, size: int) -> None:
        assert size == 0, size
