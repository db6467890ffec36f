"""Keras models of every kind, small, with the inputs and targets that fit them."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

keras = tf.keras
layers = keras.layers
INPUTS = np.random.default_rng(7).normal(size=(32, 8)).astype(np.float32)
TARGETS = np.random.default_rng(8).normal(size=(32, 3)).astype(np.float32)


@keras.utils.register_keras_serializable("tests")
class Registered(layers.Layer):
    """A layer of the user's own that Keras finds by itself."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal")

    def call(self, inputs):
        return inputs * self.scale


class Network(keras.Model):
    """A class of the user's own, whose inner layers have names that count up in the process."""

    def __init__(self, width=64, **options):
        super().__init__(**options)
        self.width = width
        self.first = layers.Dense(width, activation="relu")
        self.rest = [layers.Dense(width), layers.Dense(3)]

    def build(self, shape):
        self.first.build(shape)
        for layer in self.rest:
            layer.build((None, self.width))

    def call(self, inputs):
        found = self.first(inputs)
        for layer in self.rest:
            found = layer(found)
        return found

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def functional() -> keras.Model:
    """A graph with a layer that is used twice, statistics, dropout, a layer of the user's own."""
    inputs = keras.Input((8,))
    shared = layers.Dense(64, activation="relu")
    found = shared(shared(layers.Dense(64)(inputs)))
    found = layers.Dropout(0.5, seed=3)(layers.BatchNormalization()(found))
    return keras.Model(inputs, layers.Dense(3)(Registered()(found)))


def sequential() -> keras.Model:
    """Layers that keep more than their variables: adapted, recurrent with a seed generator, nested."""
    normalization = layers.Normalization()
    normalization.adapt(INPUTS)
    inner = keras.Sequential([layers.Reshape((4, 2)), layers.Bidirectional(layers.LSTM(4, dropout=0.1))])
    return keras.Sequential([keras.Input((8,)), normalization, inner, layers.Dense(3)])


def quantized() -> keras.Model:
    """Weights of 8 bits with their scales."""
    model = keras.Sequential([keras.Input((8,)), layers.Dense(64), layers.Dense(3)])
    with warnings.catch_warnings(action="ignore"):  # Keras's own, about numpy and its input layer
        model.quantize("int8")
    return model


def half() -> keras.Model:
    """Variables of bfloat16."""
    return keras.Sequential([keras.Input((8,)), layers.Dense(64, dtype="bfloat16"), layers.Dense(3)])


def network() -> keras.Model:
    """The class of the user's own."""
    model = Network()
    model(INPUTS)
    return model
