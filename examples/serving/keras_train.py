"""Trains a network of Keras on scikit-learn's digits and saves it as a version of a model.

Run it as ``python keras_train.py alluxio://models/digits-keras [--epochs N] [--seed N] [--no-activate]``.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from command import train_and_save  # type: ignore[import-not-found]  # it lies beside this file
from pictures import pictures  # type: ignore[import-not-found]  # as above

from alluxio.tf import save_model
from alluxio_lance.values import Version

__all__ = ["save", "train"]


def train(epochs: int, seed: int) -> tuple[Any, float]:
    """Train on three quarters of the pictures; return the network and its accuracy on the others."""
    seen, unseen, right, unknown = pictures()
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(seed)
    # The layers have names, so that every version calls its tensors the same.
    model = tf.keras.Sequential(
        [
            tf.keras.Input((seen.shape[1],)),
            layers.Rescaling(1 / 16, name="pixels"),
            layers.Dense(128, activation="relu", name="hidden"),
            layers.Dense(10, name="digits"),
        ],
        name="digits",
    )
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01), loss=loss)
    model.fit(seen, right, batch_size=128, epochs=epochs, verbose=0)
    hits = model(unseen).numpy().argmax(1) == unknown
    return model, float(hits.mean())


def save(uri: str, epochs: int, seed: int, *, activate: bool = True, address: str | None = None) -> Version:
    """Train, and save the network with its accuracy, which a gate can ask for."""
    model, accuracy = train(epochs, seed)
    return save_model(
        uri,
        model,
        metrics={"accuracy": accuracy},
        metadata={"epochs": epochs, "seed": seed},
        provenance={"data": "scikit-learn's digits"},
        message=f"digits in Keras, {epochs} epochs, seed {seed}",
        activate=activate,
        address=address,
    )


if __name__ == "__main__":
    train_and_save(save)
