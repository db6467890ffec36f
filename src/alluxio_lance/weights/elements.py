"""The element types of tensors, in the names of the safetensors format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["ELEMENT_BITS", "NUMPY_CODES", "tensor_bytes"]

ELEMENT_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
        **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
        **dict.fromkeys(("I32", "U32", "F32"), 32),
        **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    }
)
"""Bits of one element."""
NUMPY_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "b1",
        **{f"{letter}{8 * width}": f"{kind}{width}" for letter, kind in ("Uu", "Ii") for width in (1, 2, 4, 8)},
        **{f"F{8 * width}": f"f{width}" for width in (2, 4, 8)},
        "C64": "c8",
    }
)
"""The element types that numpy has itself, as it writes them: kind and bytes."""
_MOST_BYTES: Final = 1 << 62
_MOST_DIMENSIONS: Final = 64


def tensor_bytes(dtype: str, shape: Sequence[int], what: str) -> int:
    """Return the bytes of a tensor.

    Parameters
    ----------
    what
        Names the tensor in messages.

    Raises
    ------
    InvalidArgument
        When there is no such element type, a dimension is negative, or the size is none that memory could have.
    """
    bits = ELEMENT_BITS.get(dtype)
    if bits is None:
        raise InvalidArgument(f"{what} has the element type {dtype[:40]!r}: known are {', '.join(ELEMENT_BITS)}")
    if len(shape) > _MOST_DIMENSIONS:
        raise InvalidArgument(f"{what} has {len(shape)} dimensions: at most {_MOST_DIMENSIONS} are possible")
    for length in shape:
        if length < 0:
            raise InvalidArgument(f"{what} has a negative dimension {length}")
        if length > _MOST_BYTES:
            raise InvalidArgument(f"{what} has a dimension above 2^62, which no memory can hold")
    size = bits
    # Readers of the format refuse a product that is too large also where another dimension is 0.
    for length in filter(None, shape):
        size *= length
        if size > 8 * _MOST_BYTES:
            raise InvalidArgument(f"{what} has the shape {list(shape)}, which no memory can hold")
    if 0 in shape:
        return 0
    whole, rest = divmod(size, 8)
    if rest:
        raise InvalidArgument(f"{what} has {size} bits ({dtype}, shape {list(shape)}): they fill no whole bytes")
    return whole
