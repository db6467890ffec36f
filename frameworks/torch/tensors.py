"""numpy's values as tensors, without a copy: same memory, torch's dtypes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from alluxio_lance.client.elements import Element
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.sidecar._shm import Slot

__all__ = ["given_room", "shared_room", "slot_room", "to_tensor"]

_TORCH: Final = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "uint64": torch.uint64,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def to_tensor(values: npt.NDArray[Any], element: Element) -> torch.Tensor:
    """Wrap an array; moments and spans of time become ``int64`` in the column's unit, opaque bytes ``uint8``."""
    if values.dtype.kind in "mM":
        values = values.view(np.int64)
    tensor = torch.from_numpy(values)
    return tensor.view(torch.bfloat16) if element.name == "bfloat16" else tensor


def shared_room(rows: int, element: Element) -> tuple[torch.Tensor, npt.NDArray[Any]]:
    """Make a batch's tensor in the memory that a worker process hands over, and the array to fill it through.

    The same thing that torch's own collate function does: a batch gathered elsewhere would be copied there once more.
    """
    shape, dtype = (rows, *element.shape), _dtype(element)
    # default_collate itself calls this, there is no public name for it; torch's own annotations lack its result.
    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(rows * element.row_bytes)  # type: ignore[no-untyped-call]  # noqa: SLF001 - both as said above
    tensor = torch.empty(0, dtype=dtype).set_(storage).view(shape)
    return tensor, _filled_through(tensor, element)


def given_room(
    tensor: torch.Tensor | None, rows: int, element: Element, name: str
) -> tuple[torch.Tensor, npt.NDArray[Any]]:
    """Take a tensor of somebody else's for a batch, and make the array to fill it through.

    Raises
    ------
    InvalidArgument
        When it is not as the batch's must be; ``name`` says of which column.
    """
    shape, dtype = torch.Size((rows, *element.shape)), _dtype(element)
    if not isinstance(tensor, torch.Tensor):
        raise InvalidArgument(
            f"out has no tensor for column {name!r}: give what an earlier batch of {rows} rows returned"
        )
    if (tensor.shape, tensor.dtype, tensor.device.type) != (shape, dtype, "cpu") or not tensor.is_contiguous():
        raise InvalidArgument(
            f"out[{name!r}] is {tensor.dtype} {list(tensor.shape)} on {tensor.device.type}, and {rows} rows of the column are "
            f"{dtype} {list(shape)}, contiguous, on cpu: give what an earlier batch of {rows} rows returned"
        )
    return tensor, _filled_through(tensor.detach(), element)


def _dtype(element: Element) -> torch.dtype:
    return _TORCH.get(element.name, torch.uint8 if element.stored == np.uint8 else torch.int64)


def _filled_through(tensor: torch.Tensor, element: Element) -> npt.NDArray[Any]:
    plain = tensor.view(torch.uint16) if element.name == "bfloat16" else tensor
    return plain.numpy().view(element.stored)


def slot_room(slot: Slot, offset: int, rows: int, element: Element) -> tuple[torch.Tensor, npt.NDArray[Any]]:
    """Make a batch's tensor in a slot of an arena, and the array to fill it through."""
    room = np.ndarray((rows, *element.shape), element.stored, memoryview(slot), offset)
    return to_tensor(room, element), room
