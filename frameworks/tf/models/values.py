"""Named values on their way into the store: variables, tensors and arrays, whose bytes are taken when it is their turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from alluxio_lance.client.models.elements import as_bytes
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.tf.models.elements import described
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import Notes, Tensor

__all__ = ["parts_of"]


def parts_of(values: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Parts:
    """Describe them; one that has several names is stored once.

    Raises
    ------
    InvalidArgument
        When one is no array, variable or dense tensor with values, or of a type that models cannot hold.
    """
    tensors: list[Tensor] = []
    tied: dict[str, str] = {}
    views: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise InvalidArgument(f"tensors have names, and {name!r} is a {type(name).__name__}")
        if id(value) in first:
            tied[name] = first[id(value)]
            continue
        first[id(value)] = name
        dtype, shape = _kind(name, value)
        spec, view = described(name, dtype, shape)
        tensors.append(Tensor(spec, _bytes_of(value)))
        if view:
            views[name] = view
    return Parts(tuple(tensors), (), Notes(tied=tied, views=views, extra=extra or {}))


def _kind(name: str, value: Any) -> tuple[Any, tuple[int, ...]]:
    if isinstance(value, np.ndarray | np.generic):
        try:
            # TensorFlow knows no big-endian types; the bytes are turned when they are taken.
            return tf.as_dtype(value.dtype.newbyteorder("=")), value.shape
        except TypeError as error:
            raise InvalidArgument(
                f"tensor {name!r} has the element type {value.dtype}, which no model can have: convert it before saving"
            ) from error
    if _has_values(value):
        return tf.as_dtype(value.dtype), tuple(value.shape)
    raise InvalidArgument(
        f"tensor {name!r} is a {type(value).__name__}: a model is made of numpy arrays, tf.Variable and dense tensors "
        "with values (sparse and ragged ones, and those of a graph, have none that could be laid in a row)"
    )


def _has_values(value: Any) -> bool:
    # Tensors of a graph have no numpy().
    return isinstance(value, tf.Tensor | tf.Variable | tf.keras.Variable) and hasattr(value, "numpy")


def _bytes_of(value: Any) -> Callable[[], memoryview]:
    def data() -> memoryview:
        found: npt.NDArray[Any] = np.asarray(value if isinstance(value, np.ndarray | np.generic) else value.numpy())
        return as_bytes(found)

    return data
