"""Variables that are about to be replaced: made without computing their initial values, which takes longer than loading."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import tensorflow as tf

from alluxio_lance.weights.header import ALIGNMENT

__all__ = ["Unfilled", "unfilled_variables"]

_WORTH_IT: Final = 1 << 20
"""Bytes from which on a variable is left unfilled."""
_BITS: Final = MappingProxyType(
    {tf.float64: np.float64, tf.float32: np.float32, tf.float16: np.float16, tf.bfloat16: np.uint16}
)
"""The types that weights start in as random numbers, and how numpy lays them out."""


@dataclass(frozen=True, slots=True)
class _Made:
    variable: weakref.ref[Any]
    memory: weakref.ref[Any]
    address: int
    initial: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Unfilled:
    """The variables that were made without their initial values."""

    _made: list[_Made] = field(default_factory=list)

    def fill(self) -> None:
        """Give those that nobody assigned to the initial values that they should have had."""
        for made in self._made:
            variable, memory = made.variable(), made.memory()
            # An assignment replaces the memory of a variable. Its address alone could belong to something newer.
            if variable is not None and memory is not None and _address(variable) == made.address:
                variable.assign(made.initial())
        self._made.clear()

    def _create(self, create: Callable[..., Any], **options: Any) -> Any:
        initial = options.get("initial_value")
        if not callable(initial) or not tf.executing_eagerly():
            return create(**options)
        spec = _spec(initial)
        if spec is None or spec.dtype not in _BITS or (spec.shape.num_elements() or 0) * spec.dtype.size < _WORTH_IT:
            return create(**options)
        options["initial_value"], memory = _zeros(spec)
        variable = create(**options)
        self._made.append(_Made(weakref.ref(variable), weakref.ref(memory), _address(variable), initial))
        return variable


def _zeros(spec: Any) -> tuple[Any, Any]:
    """Make a tensor on pages that the kernel has not given yet, and with luck never has to; and what owns them."""
    size = spec.shape.num_elements() * spec.dtype.size
    whole = np.zeros(size + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    values = whole[start : start + size].view(_BITS[spec.dtype]).reshape(spec.shape)
    tensor = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return tensor if tensor.dtype == spec.dtype else tf.bitcast(tensor, spec.dtype), whole


def _address(variable: Any) -> int:
    value = variable.read_value()
    bits = tf.bitcast(value, tf.uint16) if value.dtype == tf.bfloat16 else value
    return int(np.asarray(memoryview(bits)).ctypes.data)


def _spec(initial: Callable[[], Any]) -> Any:
    """Find out type and shape by tracing: nothing is computed."""
    try:
        with tf.Graph().as_default():
            found = initial()
            return tf.TensorSpec(found.shape, found.dtype)
    except Exception:  # noqa: BLE001 - an initializer of the user's own may want to run for real, and then does
        return None


@contextmanager
def unfilled_variables() -> Iterator[Unfilled]:
    """Leave the large variables that are made in the block unfilled; call `Unfilled.fill` when others were assigned."""
    made = Unfilled()
    with tf.variable_creator_scope(made._create):  # noqa: SLF001 - of this file
        yield made
