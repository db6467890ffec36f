"""Keras models: the same outputs, the same next step, on the memory of the node, without code from the store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from tests.frameworks.tf.models.keras_models import (  # noqa: E402
    INPUTS,
    TARGETS,
    Network,
    functional,
    half,
    keras,
    layers,
    network,
    quantized,
    sequential,
)

from alluxio.tf import load_model, save_model  # noqa: E402 - after the skip

pytestmark = pytest.mark.tf

MAKERS = [functional, sequential, quantized, half, network]


def places(variable: keras.Variable) -> str:
    """Name what is mapped where a variable has its bytes."""
    address = np.asarray(memoryview(variable.value.read_value())).ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, stop = (int(end, 16) for end in line.split()[0].split("-"))
        if start <= address < stop:
            return line
    raise AssertionError(hex(address))


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_model_comes_back(node, uri, make):
    """The outputs are equal to the last bit, and so is every variable."""
    model = make()
    save_model(uri, model, address=node.at)
    loaded = load_model(uri, address=node.at, custom_objects={"Network": Network})
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))
    assert len(loaded.variables) == len(model.variables)
    for mine, other in zip(loaded.variables, model.variables, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


@pytest.mark.parametrize(("make", "eager"), [(functional, False), (network, True)])
def test_training_goes_on_where_it_was(node, uri, make, eager):
    """With the optimizer's state one more step leads to the same weights, dropout included."""
    model = make()
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=eager)
    for _ in range(2):
        model.train_on_batch(INPUTS, TARGETS)
    save_model(uri, model, optimizer=True, address=node.at)
    loaded = load_model(uri, address=node.at, custom_objects={"Network": Network})
    for each in (model, loaded):
        each.train_on_batch(INPUTS, TARGETS)
    for mine, other in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
    for mine, other in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


def test_weights_lie_in_the_node_s_memory_until_they_change(node, uri):
    """Two loads share their bytes; a step of the one is not seen by the other."""
    save_model(uri, network(), address=node.at)
    one, two = (load_model(uri, address=node.at, custom_objects={"Network": Network}) for _ in range(2))
    before = two.first.kernel.numpy()
    assert "memfd" in places(one.first.kernel)
    one.compile("sgd", "mse", run_eagerly=True)
    one.train_on_batch(INPUTS, TARGETS)
    assert "memfd" not in places(one.first.kernel)
    assert not np.array_equal(one.first.kernel.numpy(), before)
    np.testing.assert_array_equal(two.first.kernel.numpy(), before)
    np.testing.assert_array_equal(one_tensor(uri, node, (8, 64))[1], before)


def one_tensor(uri: str, node, shape: tuple[int, ...]) -> tuple:
    """Find the only tensor of a shape, and its name."""
    tensors = load_model(uri, address=node.at, tensors=["*"])
    (found,) = [(name, tensor) for name, tensor in tensors.items() if tensor.shape == shape]
    return found


class Constant(layers.Layer):
    """A layer with a table that it makes anew each time, and does not keep."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 1 << 16))
        with tf.init_scope():
            self.seen = [self.kernel.value.read_value()]  # holds the memory that the kernel began with
        self.table = self.add_weight(shape=(1 << 19,), initializer=self._numbers, trainable=False)

    def _numbers(self, shape, dtype):
        return keras.ops.arange(shape[0], dtype=dtype)

    def call(self, inputs):
        return keras.ops.sum(keras.ops.matmul(inputs, self.kernel)) + self.table[:8]

    def save_own_variables(self, store):
        store["kernel"] = self.kernel

    def load_own_variables(self, store):
        self.kernel.assign(store["kernel"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_variables(node, uri, dtype):
    """Initial values are not computed for what is replaced at once, and are there for what is not."""
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(1 << 17, dtype=dtype), layers.Dense(8), Constant(name="own")]
    )
    save_model(uri, model, address=node.at)
    (name,) = load_model(uri, tensors=["*/own/*"], address=node.at)
    assert name.endswith("/own/kernel")
    loaded = load_model(uri, custom_objects={"Constant": Constant}, address=node.at)
    np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))
    np.testing.assert_array_equal(loaded.layers[2].table.numpy(), np.arange(1 << 19))
    assert "memfd" in places(loaded.layers[2].kernel)


def test_vocabularies_come_along(node, uri):
    """What a layer keeps in files of its own is there, also where the configuration has none of it."""
    vectorization = layers.TextVectorization(output_mode="tf_idf")
    vectorization.adapt(["to be or not to be", "that is the question"])
    model = keras.Sequential([keras.Input((1,), dtype="string"), vectorization, layers.Dense(2)])
    texts = tf.constant([["to be"], ["the question is new"]])
    save_model(uri, model, address=node.at)
    np.testing.assert_array_equal(load_model(uri, address=node.at)(texts), model(texts))


def test_saved_again_only_changes_are_written(node, uri):
    """A loaded model keeps the names of its tensors, whatever its layers are called in this process."""
    save_model(uri, network(), address=node.at)
    names = set(load_model(uri, tensors=["*"], address=node.at))
    loaded = load_model(uri, custom_objects={"Network": Network}, address=node.at)
    assert {variable.path for variable in loaded.variables} != names
    loaded.rest[1].bias.assign_add([1.0, 2.0, 3.0])
    save_model(uri, loaded, address=node.at)
    assert set(load_model(uri, tensors=["*"], address=node.at)) == names
    np.testing.assert_array_equal(one_tensor(uri, node, (3,))[1], [1.0, 2.0, 3.0])


def test_a_keras_file(node, uri, tmp_path):
    """A .keras file goes in as the model that it holds."""
    model = functional()
    model.save(tmp_path / "model.keras")
    version = save_model(uri, tmp_path / "model.keras", files={"README.md": b"A card"}, address=node.at)
    assert version.metadata["framework"] == "keras"
    np.testing.assert_array_equal(load_model(uri, verify=True, address=node.at)(INPUTS), model(INPUTS))


def test_the_architecture_is_plain_json(node, uri):
    """Anybody can read what a model is made of, next to its tensors."""
    from alluxio_lance.client.models.mapped import MappedModel

    save_model(uri, functional(), address=node.at)
    with MappedModel.open(uri, address=node.at) as model:
        assert json.loads(bytes(model.files["keras/architecture.json"]))["class_name"] == "Functional"
