"""pin_memory without a copy: the slots of an arena are told to CUDA once, and their tensors are pinned from then on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch.utils.data._utils.pin_memory import pin_memory

from alluxio_lance.sidecar._shm import Slot

__all__ = ["pinnable"]


def pinnable(batch: Any, slots: Sequence[Slot]) -> Any:
    """Let a batch be pinned by its slots, if it arrives where batches are pinned.

    That is a thread of its own, in which the DataLoader calls the ``pin_memory`` of what has one; in the main thread a
    batch stays of its builtin type.
    """
    make = _PINNABLE.get(type(batch))
    if make is None or threading.current_thread() is threading.main_thread():
        return batch
    made = make(batch)
    made.slots = list(slots)
    return made


class _Pinnable:
    slots: list[Slot]

    def pin_memory(self) -> Any:
        """Pin the slots where the device can, and then whatever is not pinned by that; of the builtin type again."""
        for slot in self.slots:
            if slot.companion is None:
                slot.companion = _Registered(slot.address, slot.mapped_bytes)
        builtin = next(kind for kind in _PINNABLE if isinstance(self, kind))
        return pin_memory(builtin(self))  # type: ignore[no-untyped-call]  # torch gives it no types


class _Dict(_Pinnable, dict[str, Any]):
    pass


class _List(_Pinnable, list[Any]):
    pass


class _Tuple(_Pinnable, tuple[Any, ...]):  # noqa: SLOT001 - what is of variable size cannot have slots beside it
    pass


_PINNABLE: Final[dict[Any, Callable[[Any], Any]]] = {dict: _Dict, list: _List, tuple: _Tuple}


class _Registered:
    """Memory that CUDA knows as pinned, until the object dies; where it refuses, torch copies as ever."""

    def __init__(self, address: int, length: int) -> None:
        self._address = address
        self._owner = os.getpid()
        self._done = torch.cuda.is_available() and int(_runtime().cudaHostRegister(address, length, 0)) == 0

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the end of the interpreter the driver has gone before; a forked child has no business with it.
        if self._done and not _ending() and self._owner == os.getpid():
            _runtime().cudaHostUnregister(self._address)


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch gives it no types
