"""The element types of tensors as numpy has them, and the forms of those that the safetensors format lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.weights.elements import ELEMENT_BITS, NUMPY_CODES

__all__ = ["NUMPY", "VIEWED", "as_array", "as_bytes", "element_name"]

NUMPY: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {name: np.dtype(f"<{code}") for name, code in NUMPY_CODES.items()}
)
"""What numpy has itself, by the names of the safetensors format."""
VIEWED: Final[Mapping[str, str]] = MappingProxyType({"complex32": "F16", "complex128": "F64"})
"""Element types that the format lacks, in torch's names (numpy's too, if it has them): they are stored as pairs of these,
in one more dimension of 2 at the end, and `Notes.views` names them."""
_NAMES: Final = {dtype: name for name, dtype in NUMPY.items()}
_BITS: Final = {"BF16": np.dtype(np.uint16)}


def as_array(data: memoryview, dtype: str, shape: Sequence[int], view: str | None = None) -> npt.NDArray[Any]:
    """Look at a tensor's bytes as an array, without a copy.

    bfloat16 comes as ``uint16`` and the 8-bit floats as ``uint8``, the bits in the tensor's shape; what is smaller than a
    byte comes as its bytes, in one dimension.

    Parameters
    ----------
    view
        What `Notes.views` says of it.
    """
    if ELEMENT_BITS[dtype] % 8:
        return np.ndarray((data.nbytes,), np.uint8, data)
    array: npt.NDArray[Any] = np.ndarray(tuple(shape), NUMPY.get(dtype) or _BITS.get(dtype, np.dtype(np.uint8)), data)
    return array.view(np.complex128)[..., 0] if view == "complex128" else array


def element_name(dtype: np.dtype[Any]) -> str | None:
    """Name the element type of an array, in either byte order; None when the format has none for it."""
    return _NAMES.get(dtype.newbyteorder("="))


def as_bytes(array: npt.NDArray[Any]) -> memoryview:
    """Return an array's bytes, row-major and little-endian; a copy only where they do not lie like that already."""
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")
