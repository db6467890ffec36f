"""What Keras models need to be saved and loaded, and what they are told where it is missing."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from alluxio_lance.errors import InvalidArgument

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
)

from alluxio.tf import load_model, save_model  # noqa: E402 - after the skip
from alluxio_lance.frameworks.tf.models.architecture import build  # noqa: E402

pytestmark = pytest.mark.tf


def test_not_compiled_when_not_asked(node, uri):
    """A model whose loss is not at hand can be loaded for its answers."""
    model = functional()

    def own_loss(wanted, found):
        return keras.ops.mean(abs(wanted - found))

    model.compile("sgd", own_loss)
    save_model(uri, model, address=node.at)
    assert not load_model(uri, compile=False, address=node.at).compiled
    with pytest.raises(
        InvalidArgument, match=r"'own_loss'.* custom_objects=\{'own_loss': own_loss\}, or compile=False"
    ):
        load_model(uri, address=node.at)
    assert load_model(uri, custom_objects={"own_loss": own_loss}, address=node.at).compiled


def test_an_unknown_class_is_named(node, uri):
    """The message names the class and the argument that takes it."""
    save_model(uri, network(), address=node.at)
    with pytest.raises(InvalidArgument, match=r"needs the class 'Network'.* custom_objects=\{'Network': Network\}"):
        load_model(uri, address=node.at)


def test_python_code_is_not_loaded(node, uri, monkeypatch):
    """A Lambda layer of Python code is refused when it is saved, and when somebody else saved it, whatever Keras allows.

    So are layers that bring code of other kinds: a SavedModel from elsewhere, a pickle of torch.
    """
    model = keras.Sequential([keras.Input((8,)), layers.Lambda(lambda found: os.getpid() * found)])
    with pytest.raises(InvalidArgument, match=r"Lambda layer.*register_keras_serializable"):
        save_model(uri, model, address=node.at)
    monkeypatch.setattr("alluxio_lance.frameworks.tf.models.architecture._refuse_code", lambda *_: None)
    save_model(uri, model, address=node.at)
    monkeypatch.undo()
    from keras.src.backend.common import global_state

    config = json.loads(keras.Sequential([keras.Input((8,))]).to_json())
    foreign = {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/none"}}
    config["config"]["layers"].append({**foreign, "registered_name": None})

    keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(InvalidArgument, match="Python code"):
            load_model(uri, address=node.at)
        with pytest.raises(InvalidArgument, match="arbitrary code"):
            build(json.dumps(config).encode(), uri, None, compiled=False)
    finally:
        # Keras has a way in, and none back.
        global_state.set_global_attribute("safe_mode_saving", None)


def test_a_model_that_does_not_fit(node, uri):
    """Other shapes and other layers are refused before anything is assigned, and named."""
    save_model(uri, network(), address=node.at)
    narrow = Network(width=32)
    narrow(INPUTS)
    before = narrow.first.kernel.numpy()
    with pytest.raises(
        InvalidArgument, match=r"variable '.*kernel' of .* is \[8, 64\], and in layer 'dense.*' .*\[8, 32\]"
    ):
        load_model(uri, into=narrow, address=node.at)
    np.testing.assert_array_equal(narrow.first.kernel.numpy(), before)
    with pytest.raises(InvalidArgument, match="its layer 0 is Sequential, and was Network"):
        load_model(uri, into=half(), address=node.at)
    other = network()
    other.compile("sgd", "mse")
    save_model(uri, other, optimizer=True, address=node.at)
    model = network()
    model.compile("adam", "mse")
    before = model.first.kernel.numpy()
    with pytest.raises(InvalidArgument, match=r"optimizer of .* has 2 variables, and 'adam(_\d+)?' 14"):
        load_model(uri, into=model, address=node.at)
    np.testing.assert_array_equal(model.first.kernel.numpy(), before)
    with pytest.raises(InvalidArgument, match="not built"):
        load_model(uri, into=Network(), address=node.at)


def test_what_cannot_be_saved(node, uri):
    """Models without weights or without a way back are refused with what to do."""
    with pytest.raises(InvalidArgument, match="no weights yet"):
        save_model(uri, keras.Sequential([layers.Dense(3)]), address=node.at)
    with pytest.raises(InvalidArgument, match="no optimizer"):
        save_model(uri, half(), optimizer=True, address=node.at)


def test_into_a_model(node, uri):
    """A model at hand takes the state, its optimizer too, and stays the object that it was."""
    model = functional()
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(INPUTS, TARGETS)
    save_model(uri, model, optimizer=True, address=node.at)
    mine = functional()
    mine.compile("adam", "mse", run_eagerly=True)
    assert load_model(uri, into=mine, address=node.at) is mine
    np.testing.assert_array_equal(mine(INPUTS), model(INPUTS))
    assert mine.optimizer.iterations == 1
