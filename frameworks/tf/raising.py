"""Our errors in TensorFlow, which makes its own out of those that Python functions in a graph raise."""

from __future__ import annotations

from typing import Final

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, InvalidURI, NoSpace

__all__ = ["in_tensorflow"]

_KINDS: Final[dict[type[AlluxioLanceError], type[Exception]]] = {
    InvalidArgument: ValueError,
    InvalidURI: ValueError,
    NoSpace: MemoryError,
}
"""What TensorFlow makes an error of its own kind of; it takes all others for an ``UnknownError``, with their text."""


def in_tensorflow(error: AlluxioLanceError) -> Exception:
    """Make what a Python function in a graph raises instead, with the same text."""
    return _KINDS.get(type(error), RuntimeError)(f"{type(error).__name__}: {error}")
