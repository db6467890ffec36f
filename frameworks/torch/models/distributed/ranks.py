"""The ranks of a job while they save one model: one of them writes it, and asks the others for their chunks in turn."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import torch
import torch.distributed as dist

from alluxio_lance.errors import InvalidArgument, Unavailable

__all__ = ["Ranks"]

T = TypeVar("T")

_END: Final = -1
_WAIT: Final = -2
"""In the place of a number: that nothing more is wanted, or not yet."""
_PATIENCE: Final = 60.0
"""Seconds without a word after which the others are told to wait on: each of their waits has torch's limit of 30 minutes."""


class Ranks:
    """A group of its own, on gloo: a chunk goes through the memory of processors, whatever the job computes with.

    It is for one save: leaving the context takes its connections down.

    Parameters
    ----------
    group
        Whose ranks save together; by default all. Every one of them makes this object at the same time.
    """

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
        made = dist.new_group(ranks, backend="gloo", use_local_synchronization=True)
        if not isinstance(made, dist.ProcessGroup):
            raise InvalidArgument("this rank is not in the writer's process_group: give it the one that dcp.save has")
        self._group = made
        self.number: Final = dist.get_rank(made)
        """Of this process."""
        self._spoken = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        dist.destroy_process_group(self._group)

    def gathered(self, own: T) -> list[T] | None:
        """Bring what each rank has to the one that writes, in the order of ranks; None on the others."""
        found: list[Any] | None = [None] * dist.get_world_size(self._group) if self.number == 0 else None
        dist.gather_object(own, found, group=self._group, group_dst=0)
        return found

    # -- the rank that writes ----------------------------------------------------------------------------------------

    def fetch(self, rank: int, number: int, title: str) -> torch.Tensor:
        """Ask a rank for the bytes of one of its chunks.

        Returns
        -------
        torch.Tensor
            uint8, one dimension.

        Raises
        ------
        Unavailable
            When the rank cannot read it; it raises the reason itself.
        """
        self.keep_waiting()
        dist.send(torch.tensor([number]), group=self._group, group_dst=rank)
        size = torch.empty(1, dtype=torch.int64)
        dist.recv(size, group=self._group, group_src=rank)
        if size.item() < 0:
            raise Unavailable(f"rank {rank} could not read {title}, and says why", what=f"rank {rank}")
        data = torch.empty(int(size.item()), dtype=torch.uint8)
        if data.numel():
            dist.recv(data, group=self._group, group_src=rank)
        return data

    def keep_waiting(self) -> None:
        """Tell the others, now and then, that it goes on."""
        if monotonic() - self._spoken > _PATIENCE:
            self._say(_WAIT)

    def end(self) -> None:
        """Tell the others that nothing more is wanted."""
        self._say(_END)

    def _say(self, word: int) -> None:
        self._spoken = monotonic()
        for rank in range(1, dist.get_world_size(self._group)):
            dist.send(torch.tensor([word]), group=self._group, group_dst=rank)

    # -- the others ----------------------------------------------------------------------------------------------------

    def serve(self, read: Callable[[int], torch.Tensor]) -> None:
        """Give chunks, by number, for as long as they are asked for.

        Raises
        ------
        Exception
            What ``read`` has raised, in the end.
        """
        failed: Exception | None = None
        while True:
            number = torch.empty(1, dtype=torch.int64)
            dist.recv(number, group=self._group, group_src=0)
            if number.item() == _END:
                break
            if number.item() == _WAIT:
                continue
            try:
                data = read(int(number.item()))
            except Exception as error:  # noqa: BLE001 - raised when the others do not wait for this rank any more
                failed = error
                dist.send(torch.tensor([-1]), group=self._group, group_dst=0)
                continue
            dist.send(torch.tensor([data.numel()]), group=self._group, group_dst=0)
            if data.numel():
                dist.send(data, group=self._group, group_dst=0)
        if failed is not None:
            raise failed

    def told(self, what: T | None) -> T | None:
        """Return what the rank that writes has."""
        box = [what]
        dist.broadcast_object_list(box, group=self._group, group_src=0)
        return box[0]
