"""Tensors of torch and their bytes: the element types of both sides, and the forms that only one of them has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import torch

from alluxio_lance.client.models.elements import NUMPY, VIEWED
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.header import TensorSpec

__all__ = ["bytes_of", "described", "tensor_of"]

_NEWER: Final = {"F8_E8M0": "float8_e8m0fnu", "F4": "float4_e2m1fn_x2"}
"""What came into torch after the oldest release that we run with."""
_DTYPES: Final[Mapping[str, torch.dtype]] = MappingProxyType(
    {
        "BOOL": torch.bool,
        "U8": torch.uint8,
        "I8": torch.int8,
        "U16": torch.uint16,
        "I16": torch.int16,
        "U32": torch.uint32,
        "I32": torch.int32,
        "U64": torch.uint64,
        "I64": torch.int64,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F32": torch.float32,
        "F64": torch.float64,
        "C64": torch.complex64,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
        "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
        "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
        **{name: getattr(torch, there) for name, there in _NEWER.items() if hasattr(torch, there)},
    }
)
_BY_NUMPY: Final = {name: NUMPY[name] for name in ("BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "F32", "F64", "C64")}
"""What every release of torch takes from numpy: in half of the time, since the array has the shape already."""
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}
_PAIRS: Final = {"complex32": torch.complex32, "complex128": torch.complex128}
_PACKED: Final = "F4"
"""Two elements in a byte: torch counts the bytes, the format the elements."""


def described(name: str, tensor: torch.Tensor) -> tuple[TensorSpec, str | None]:
    """Say how a tensor is stored, and what `Notes.views` has to say of it.

    Raises
    ------
    InvalidArgument
        When there is no form for its element type.
    """
    shape = tuple(tensor.shape)
    if (element := _NAMES.get(tensor.dtype)) is not None:
        if element == _PACKED:
            if not shape:
                raise InvalidArgument(f"tensor {name!r} has two numbers in each byte and no dimension: give it one")
            shape = (*shape[:-1], 2 * shape[-1])
        return TensorSpec(name=name, dtype=element, shape=shape), None
    for view, dtype in _PAIRS.items():
        if tensor.dtype is dtype:
            return TensorSpec(name=name, dtype=VIEWED[view], shape=(*shape, 2)), view
    raise InvalidArgument(
        f"tensor {name!r} has the element type {tensor.dtype}, which no model can have: convert it before saving"
    )


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """Return the bytes, row-major; a copy only where they do not lie like that, or not in this process' memory."""
    if not tensor.numel():
        return memoryview(b"")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().data


def tensor_of(data: memoryview, spec: TensorSpec, view: str | None) -> torch.Tensor:
    """Look at bytes as a tensor, without a copy.

    Parameters
    ----------
    view
        What `Notes.views` says of it.

    Raises
    ------
    InvalidArgument
        When torch has no such element type.
    """
    shape = spec.shape
    if view is None and data.nbytes and (element := _BY_NUMPY.get(spec.dtype)) is not None:
        return torch.from_numpy(np.ndarray(shape, element, data))
    if view is not None:
        if view not in _PAIRS or spec.dtype != VIEWED[view] or shape[-1:] != (2,):
            raise InvalidArgument(f"tensor {spec.name!r} is noted as {view!r}, which this release cannot make of it")
        dtype, shape = _PAIRS[view], shape[:-1]
    elif spec.dtype == _PACKED and _PACKED in _DTYPES and shape and shape[-1] % 2 == 0:
        dtype, shape = _DTYPES[spec.dtype], (*shape[:-1], shape[-1] // 2)
    elif spec.dtype in _DTYPES and spec.dtype != _PACKED:
        dtype = _DTYPES[spec.dtype]
    else:
        raise InvalidArgument(
            f"tensor {spec.name!r} is {spec.dtype} {list(shape)}, which torch {torch.__version__} cannot hold: leave it out "
            "with tensors="
        )
    # frombuffer takes no empty buffer; what has no elements has no memory to share.
    if not data.nbytes:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(data, dtype=dtype)
    return flat if len(shape) == 1 else flat.view(shape)
