"""A version larger than memory as a ``tf.data.Dataset``: Python runs once for each window, the batches are made in the graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tensorflow as tf

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.frameworks.tf.raising import in_tensorflow
from alluxio_lance.frameworks.tf.streamed_windows import Closing, Windows, joined
from alluxio_lance.frameworks.tf.tensors import ALIGNMENT, Memory

__all__ = ["streamed_elements"]

_LOW: Final = 32
"""``Dataset.random`` draws numbers of so many bits."""


def streamed_elements(windows: Windows, seed: int | None) -> Any:
    """Make the dataset of all epochs; the windows are closed when TensorFlow has done with it.

    Parameters
    ----------
    seed
        Of the keys of the epochs' orders.
    """
    taken = _taker(windows)
    numbers = tf.data.Dataset.range(windows.count)

    def epoch(key: Any) -> Any:
        # Not a map of its own: TensorFlow restores what lies behind one only to the end of the epoch.
        whole = _joined(key) if windows.cut.shuffle else tf.constant(0, tf.int64)
        return numbers.flat_map(_plain(lambda number: _elements(windows, taken(whole, number))))

    # One key per epoch: the same seed gives the same sequence of keys, so of orders.
    keys = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True).take(1)
    found = keys.flat_map(_plain(epoch)) if windows.cut.shuffle else epoch(None)
    counted = found.apply(tf.data.experimental.assert_cardinality(windows.cut.count(windows.places)))
    options = tf.data.Options()
    # A window is the same whenever it is asked for: so an iterator can be saved, whatever TensorFlow thinks of Python.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return counted.with_options(options)


def _plain(function: Any) -> Any:
    # Nothing here branches on a tensor, so there is nothing for AutoGraph to rewrite.
    return tf.autograph.experimental.do_not_convert(function)


def _joined(key: Any) -> Any:
    """Make a number of 63 bits of two of 32."""
    high = tf.bitwise.left_shift(tf.bitwise.bitwise_and(key[0], (1 << (_LOW - 1)) - 1), tf.constant(_LOW, tf.int64))
    return tf.bitwise.bitwise_or(high, key[1])


def _taker(windows: Windows) -> Callable[[Any, Any], Any]:
    """Make the operation that takes a window, given the epoch's key and its number."""
    # TensorFlow keeps every Python function of a graph until the process ends. So it gets one that keeps nothing, and a
    # tensor that goes into the operation, and so lives as long as any dataset, iterator or function which may run it.
    found = weakref.ref(windows)
    alive = _tensor_with(Closing(windows))
    specs = windows.specs
    kinds = tf.nest.flatten(specs, expand_composites=True)

    def window(key: Any, number: Any, _: Any) -> list[Any]:
        held = found()
        assert held is not None, "the tensor keeps it"
        try:
            # The memory is that of this machine, whatever devices it has.
            with tf.device("CPU:0"):
                return held.window(int(key), int(number))
        except AlluxioLanceError as error:
            raise in_tensorflow(error) from error

    def take(key: Any, number: Any) -> Any:
        given = tf.py_function(window, [key, number, alive], [kind.dtype for kind in kinds])
        for tensor, kind in zip(given, kinds, strict=True):
            tensor.set_shape(kind.shape)
        return tf.nest.pack_sequence_as(specs, given, expand_composites=True)

    return take


def _tensor_with(holder: object) -> Any:
    room = np.zeros(2 * ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return Memory(holder).tensor(room[start : start + ALIGNMENT])


def _elements(windows: Windows, given: Any) -> Any:
    """Make the elements that end in a window: copies, so that nothing is left of it behind the last one."""
    count, carried, rows = tf.unstack(given["cut"])
    size = windows.cut.size

    def taken(chosen: Any) -> dict[str, Any]:
        return {name: form.take(given["parts"][name], chosen) for name, form in windows.forms.items()}

    def row(place: Any) -> dict[str, Any]:
        return taken(given["order"][place] if windows.ordered else place)

    def batch(place: Any) -> dict[str, Any]:
        start = place * size - carried
        first, last = tf.maximum(start, 0), tf.minimum(start + size, rows)
        made = taken(given["order"][first:last] if windows.ordered else tf.range(first, last))
        # A batch that began in the window before: there is at most one.
        whole: dict[str, Any] = tf.cond(start < 0, lambda: joined([given["carried"], made]), lambda: made)
        return whole

    each = row if windows.cut.batch_size is None else batch
    return tf.data.Dataset.range(count).map(_plain(each), tf.data.AUTOTUNE)
