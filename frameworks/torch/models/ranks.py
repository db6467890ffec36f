"""Saving in a distributed job: the first rank does it, and all learn what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from alluxio_lance.errors import from_wire, to_wire
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
        except Exception as error:  # noqa: BLE001 - raised below, after the others were told
            failed, told[1] = error, to_wire(error)
    dist.broadcast_object_list(told, src=0)
    if failed is not None:
        raise failed
    if told[1] is not None:
        raise from_wire(told[1])
    version: Version = told[0]
    return version
