"""Whether the graph of a Keras model may be made before the model has its state: only where that changes variables alone."""

from __future__ import annotations

from typing import Any, Final

import tensorflow as tf

__all__ = ["traceable"]

_layers = tf.keras.layers
_ASSIGNING: Final = frozenset(
    kind.load_own_variables
    for kind in (_layers.Layer, _layers.Dense, _layers.EinsumDense, _layers.Embedding, _layers.Conv2D)
)
"""Keras's own ways to take a state that only assign to variables, which a graph reads whenever it is asked."""


def traceable(model: Any) -> bool:
    """Tell whether a graph that is made of a model now is right when the model has its state, too.

    A graph keeps what is no variable as it was: the mean of a `Normalization`, the table of a `StringLookup`, whether a
    quantised layer is calibrated. Layers with a way of their own to take their state may do the like.
    """
    layers = model._flatten_layers()  # noqa: SLF001 - `layers` leaves those inside other layers out
    return all(_only_assigns(layer) for layer in layers)


def _only_assigns(layer: Any) -> bool:
    own = type(layer).load_own_variables in _ASSIGNING and not hasattr(layer, "load_assets")
    return own and layer.quantization_mode is None
