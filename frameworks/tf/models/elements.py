"""Element types and bytes: from TensorFlow's tensors to those of the safetensors format, and back without a copy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy.typing as npt
import tensorflow as tf

from alluxio_lance.client.models.elements import VIEWED, as_array
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.header import ALIGNMENT, TensorSpec

__all__ = ["converted", "described", "floating", "tensor_of"]

_experimental = tf.dtypes.experimental
_SMALL: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "F8_E4M3": _experimental.float8_e4m3fn,
        "F8_E5M2": _experimental.float8_e5m2,
        "F8_E4M3FNUZ": _experimental.float8_e4m3fnuz,
        "F8_E5M2FNUZ": _experimental.float8_e5m2fnuz,
    }
)
_TYPES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "BOOL": tf.bool,
        "U8": tf.uint8,
        "I8": tf.int8,
        "U16": tf.uint16,
        "I16": tf.int16,
        "U32": tf.uint32,
        "I32": tf.int32,
        "U64": tf.uint64,
        "I64": tf.int64,
        "F16": tf.float16,
        "BF16": tf.bfloat16,
        "F32": tf.float32,
        "F64": tf.float64,
        "C64": tf.complex64,
        **_SMALL,
    }
)
"""TensorFlow's type for each of the format that it has."""
_NAMES: Final[Mapping[Any, str]] = MappingProxyType({type_: name for name, type_ in _TYPES.items()})
_VIEW: Final = "complex128"


def described(name: str, dtype: Any, shape: tuple[int, ...]) -> tuple[TensorSpec, str | None]:
    """Say how a tensor of a TensorFlow type is stored, and what `Notes.views` has to say of it.

    Raises
    ------
    InvalidArgument
        When there is no form for its element type: strings, variants, integers of less than a byte.
    """
    if dtype == tf.complex128:
        return TensorSpec(name=name, dtype=VIEWED[_VIEW], shape=(*shape, 2)), _VIEW
    if dtype not in _NAMES:
        raise InvalidArgument(
            f"tensor {name!r} has the element type {dtype.name}, which no model can have: leave it out, or cast it "
            f"before saving"
        )
    return TensorSpec(name=name, dtype=_NAMES[dtype], shape=shape), None


def tensor_of(data: memoryview, spec: TensorSpec, view: str | None) -> Any:
    """Make a tensor of bytes in memory, which it keeps alive.

    On the memory itself where that begins at a multiple of 64 bytes, as TensorFlow wants it, else of a copy; float8 is
    always a copy, since TensorFlow cannot view bytes as that. Types that TensorFlow does not have come as their bits:
    8-bit ones as uint8 of the same shape, smaller ones in one dimension, complex32 as pairs of float16.

    Parameters
    ----------
    view
        What `Notes.views` says of it.

    Raises
    ------
    InvalidArgument
        When that cannot be so.
    """
    if view == _VIEW and (spec.dtype != VIEWED[_VIEW] or spec.shape[-1:] != (2,)):
        raise InvalidArgument(f"tensor {spec.name!r} is noted as {view}, and is {spec.dtype} {list(spec.shape)}")
    values = as_array(data, spec.dtype, spec.shape, view)
    if spec.dtype in _SMALL:
        type_ = _SMALL[spec.dtype]
        return tf.constant(values.view(type_.as_numpy_dtype), type_)
    if spec.dtype == "BF16":
        return tf.bitcast(_wrapped(values), tf.bfloat16)
    return _wrapped(values)


def floating(dtype: Any) -> Any:
    """Return a TensorFlow type as it is, or from its name; `InvalidArgument` when it is none for numbers with a point."""
    try:
        found = tf.as_dtype(dtype)
    except TypeError as error:
        raise InvalidArgument(f"dtype={dtype!r} is no type of TensorFlow") from error
    if not found.is_floating:
        raise InvalidArgument(f"dtype={found.name} is no floating type: other tensors are not converted")
    return found


def converted(tensor: Any, dtype: Any) -> Any:
    """Convert a tensor to a floating type if it has another one; no others."""
    if not tensor.dtype.is_floating or tensor.dtype == dtype:
        return tensor
    if tensor.dtype in _SMALL.values() or dtype in _SMALL.values():
        # TensorFlow casts from and to some of these only; numpy, with ml_dtypes, all.
        return tf.constant(tensor.numpy().astype(dtype.as_numpy_dtype), dtype)
    return tf.cast(tensor, dtype)


def _wrapped(values: npt.NDArray[Any]) -> Any:
    if not values.size or values.ctypes.data % ALIGNMENT:
        return tf.constant(values)
    return tf.experimental.dlpack.from_dlpack(values.__dlpack__())
