"""Which rank of how many this process is, and what all ranks must have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

from alluxio_lance.client.arguments import counted
from alluxio_lance.errors import AlluxioLanceError, Conflict, InvalidArgument, Unavailable

__all__ = ["Opened", "Ranks"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a rank has opened."""

    uri: str
    content_hash: str
    unit_rows: int
    window_units: int
    whole: bool
    """Whether all of it is in memory, as a single unit."""
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Ranks:
    """The rank of this process, and how many there are."""

    rank: int
    world_size: int
    grouped: bool
    """Whether they are those of torch.distributed, so that they can be asked."""

    @classmethod
    def find(cls, rank: int | None, world_size: int | None) -> Ranks:
        """Take what is given, else those of torch.distributed, else ``RANK`` and ``WORLD_SIZE``, else the only one.

        Raises
        ------
        InvalidArgument
            When only one is given, they are no numbers, or do not fit together.
        """
        if (rank is None) != (world_size is None):
            raise InvalidArgument(f"rank={rank} and world_size={world_size} go together - give both, or none")
        if rank is not None and world_size is not None:
            return cls(counted("rank", rank), counted("world_size", world_size), grouped=False)
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size(), grouped=True)
        try:
            rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        except ValueError as error:
            raise InvalidArgument(f"RANK or WORLD_SIZE of the environment is no number: {error}") from error
        return cls(rank, world_size, grouped=False)

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise InvalidArgument(f"there is no rank {self.rank} of {self.world_size} - ranks count from 0")

    def agreed(self, open_: Callable[[], tuple[T, Opened]], close: Callable[[T], None]) -> tuple[T, Opened]:
        """Open on all ranks, and make sure that they read the same version by the same plan.

        Where budgets differ the smallest window holds for all. Ranks that were given by hand, or that come from the
        environment, cannot be asked.

        Raises
        ------
        Conflict
            When they opened different versions.
        InvalidArgument
            When they have different filters.
        Unavailable
            When another rank could not open its own.
        """
        if not self.grouped or self.world_size == 1:
            return open_()
        try:
            mine, opened = open_()
        except BaseException as error:
            # The others are told, and do not wait for the time that their back end allows.
            _gather(str(error) if isinstance(error, AlluxioLanceError) else repr(error), self.world_size)
            raise
        try:
            return mine, _common(_gather(opened, self.world_size))
        except BaseException:
            close(mine)
            raise


def _gather(mine: Opened | str, count: int) -> list[Opened | str]:
    found: list[Any] = [None] * count
    dist.all_gather_object(found, mine)
    return found


def _common(found: list[Opened | str]) -> Opened:
    for rank, answer in enumerate(found):
        if isinstance(answer, str):
            raise Unavailable(f"rank {rank} could not open the version: {answer}", what="rank")
    opened = [answer for answer in found if isinstance(answer, Opened)]
    if len({each.content_hash for each in opened}) > 1:
        listed = ", ".join(f"rank {rank} has {each.uri}" for rank, each in enumerate(opened))
        raise Conflict(f"the ranks opened different versions ({listed}) - give all of them the URI of one version")
    if len({each.filter for each in opened}) > 1:
        listed = ", ".join(f"rank {rank} has {each.filter!r}" for rank, each in enumerate(opened))
        raise InvalidArgument(f"the ranks have different filters ({listed}) - give all of them the same one, or none")
    # A rank that has everything in memory can follow the plan of one that has not.
    streamed = [each for each in opened if not each.whole]
    return min(streamed or opened, key=lambda each: each.window_units)
