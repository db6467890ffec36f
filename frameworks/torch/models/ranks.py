"""Saving in a distributed job: the first rank does it, and all learn what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from alluxio_lance.errors import Unavailable, from_wire, to_wire
from alluxio_lance.values import Version

__all__ = ["on_first_rank"]


def on_first_rank(save: Callable[[], Version]) -> Version:
    """Call on rank 0 of the default group, if there is one, and return the same everywhere.

    Raises
    ------
    AlluxioLanceError
        On every rank, when rank 0 fails.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return save()
    # Either the version or the error: whoever waits is told in any case.
    told: list[Any] = [None, None]
    failed: BaseException | None = None
    if dist.get_rank() == 0:
        try:
            told[0] = save()
        except BaseException as error:  # noqa: BLE001 - raised below, after the others were told, who would wait for ever
            failed, told[1] = error, to_wire(_reason(error))
    dist.broadcast_object_list(told, src=0)
    if failed is not None:
        raise failed
    if told[1] is not None:
        raise from_wire(told[1])
    version: Version = told[0]
    return version


def _reason(error: BaseException) -> BaseException:
    if isinstance(error, Exception):
        return error
    return Unavailable(f"rank 0 was interrupted while it saved ({type(error).__name__}): save again", what="rank 0")
