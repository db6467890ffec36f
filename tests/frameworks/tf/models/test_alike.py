"""Architectures that differ in Keras's own names only, and such that differ in more."""

from __future__ import annotations

import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from alluxio_lance.frameworks.tf.models.alike import alike  # noqa: E402 - after the skip
from alluxio_lance.frameworks.tf.models.architecture import architecture_of, uncompiled  # noqa: E402 - as above
from alluxio_lance.frameworks.tf.models.tracing import traceable  # noqa: E402 - as above

pytestmark = pytest.mark.tf
layers = keras.layers


def read(model):
    """Give what an architecture says."""
    return uncompiled(architecture_of(model), "a test")


def network(activation="softmax", last=layers.Softmax, wanted="sum", *, twice=False):
    """Make a graph whose layers have names of Keras's, one of which is an activation's, too."""
    inputs = keras.Input((8,))
    left, right = layers.Dense(4, activation=activation)(inputs), layers.Dense(4)(inputs)
    found = layers.Add(name=wanted)([left, left if twice else right])
    return keras.Model(inputs, {"out": last()(found + keras.ops.relu(right))})


def test_names_that_keras_counted_up_do_not_matter():
    """The second model of a process is built like the first, nested ones too."""
    first, second = read(network()), read(network())
    assert first != second
    assert alike(first, second)

    def nested():
        return keras.Sequential(
            [keras.Input((8,)), keras.Sequential([layers.Dense(4), layers.ReLU()]), layers.Dense(2)]
        )

    assert alike(read(nested()), read(nested()))


@pytest.mark.parametrize(
    "other",
    [{"activation": "relu"}, {"last": layers.ReLU}, {"wanted": "total"}, {"twice": True}],
    ids=lambda other: next(iter(other)),
)
def test_everything_else_matters(other):
    """Functions, classes, names that somebody gave, and what is connected with what."""
    assert not alike(read(network()), read(network(**other)))


def test_only_variables_may_change_after_a_graph_was_made():
    """Layers that keep more than variables want their state before."""

    class Own(layers.Dense):
        def load_own_variables(self, store):
            super().load_own_variables(store)
            self.scale = float(store["1"][0])

    def of(*parts):
        return traceable(keras.Sequential([keras.Input((8,)), *parts]))

    assert of(layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5))
    assert of(layers.Reshape((4, 2)), layers.Conv1D(3, 2), layers.Bidirectional(layers.LSTM(4)))
    assert not of(layers.Normalization(), layers.Dense(4))
    assert not of(keras.Sequential([layers.Discretization(num_bins=3)]))
    assert not of(Own(4))
