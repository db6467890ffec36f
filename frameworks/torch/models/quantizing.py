"""Quantized tensors: stored as their integers, with scale and zero point in the notes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Final

import torch

from alluxio_lance.errors import InvalidArgument

__all__ = ["integers_of", "quantized_of"]

_INTEGERS: Final = {"qint8": torch.int8, "quint8": torch.uint8, "qint32": torch.int32}
_SCHEME: Final = "per_tensor_affine"


def integers_of(name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the integers of a quantized tensor and what to note of it.

    Raises
    ------
    InvalidArgument
        When it has more than one scale, or integers smaller than a byte.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.qscheme() not in {torch.per_tensor_affine, torch.per_tensor_symmetric} or dtype not in _INTEGERS:
        raise InvalidArgument(
            f"tensor {name!r} is quantized as {tensor.qscheme()} {dtype}, of which only per-tensor schemes of whole bytes "
            "can be saved: save int_repr(), scales and zero points as tensors of their own"
        )
    note = {"scheme": _SCHEME, "dtype": dtype, "scale": tensor.q_scale(), "zero_point": tensor.q_zero_point()}
    return tensor.int_repr(), note


def quantized_of(name: str, integers: torch.Tensor, note: Mapping[str, Any]) -> torch.Tensor:
    """Make the quantized tensor again; a copy, since torch has no other way.

    Raises
    ------
    InvalidArgument
        When the note is none of `integers_of`.
    """
    scale, zero_point = note.get("scale"), note.get("zero_point")
    if (
        note.get("scheme") != _SCHEME
        or _INTEGERS.get(str(note.get("dtype"))) is not integers.dtype
        or not isinstance(scale, int | float)
        or not math.isfinite(scale)
        or type(zero_point) is not int
    ):
        raise InvalidArgument(f"tensor {name!r} is noted as quantized in a way that torch does not know: {note!r:.200}")
    with warnings.catch_warnings():
        # torch announces the end of its quantized tensors; who has saved one gets one back for as long as it can.
        warnings.simplefilter("ignore", UserWarning)
        made: torch.Tensor = torch._make_per_tensor_quantized_tensor(integers, float(scale), zero_point)  # noqa: SLF001 - torch has no public name for it
    return made
