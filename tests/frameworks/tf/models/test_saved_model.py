"""SavedModels: their variables are tensors, and the whole can be restored and called as before."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound

tf = pytest.importorskip("tensorflow")

from alluxio.tf import load_model, save_model  # noqa: E402 - after the skip

pytestmark = pytest.mark.tf

WORDS = tf.constant(["b", "zebra"])


class Module(tf.Module):
    """Weights of two types, and a table that is filled from a file that goes along."""

    def __init__(self, vocabulary: Path):
        super().__init__()
        self.kernel = tf.Variable(np.arange(64, dtype=np.float32).reshape(2, 32))
        self.steps = tf.Variable(5, dtype=tf.int64)
        self.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(vocabulary),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            1,
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, words):
        return tf.cast(self.table.lookup(words)[:, None], tf.float32) * self.kernel[0] + tf.cast(self.steps, tf.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What TensorFlow writes of the module."""
    found = tmp_path_factory.mktemp("saved")
    (found / "words.txt").write_text("a\nb\nc\n")
    module = Module(found / "words.txt")
    tf.saved_model.save(module, found / "model")
    np.save(found / "answer.npy", module(WORDS))
    (found / "words.txt").unlink()
    return found


def test_it_is_restored(node, folder):
    """The restored object gives the same answers, its assets come from the version, and it can be saved again."""
    uri = "alluxio://models/saved"
    version = save_model(uri, folder / "model", address=node.at)
    assert version.metadata["framework"] == "tensorflow"
    restored = load_model(uri, verify=True, address=node.at)
    gc.collect()
    np.testing.assert_array_equal(restored(WORDS), np.load(folder / "answer.npy"))
    tensors = load_model(uri, tensors=["*"], address=node.at)
    kernel = tensors["kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    assert kernel.numpy().tolist() == np.arange(64).reshape(2, 32).tolist()
    assert tensors["steps/.ATTRIBUTES/VARIABLE_VALUE"] == 5


def test_one_of_keras(node, tmp_path):
    """What Keras exports for serving goes the same way."""
    inputs = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(3)])
    model.export(tmp_path / "model", verbose=False)
    save_model("alluxio://models/exported", str(tmp_path / "model"), address=node.at)
    restored = load_model("alluxio://models/exported", address=node.at)
    original = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_array_equal(restored.serve(inputs), original.serve(inputs))


def test_damaged_ones(node, folder, tmp_path):
    """A folder without its graph, with broken variables or a broken graph is refused, and says what."""
    import shutil

    shutil.copytree(folder / "model", tmp_path / "model")
    (tmp_path / "model/variables/variables.index").write_bytes(b"no table")
    with pytest.raises(InvalidArgument, match=r"variables of the SavedModel .* cannot be read"):
        save_model("alluxio://models/broken", tmp_path / "model", address=node.at)
    shutil.copytree(folder / "model", tmp_path / "other")
    (tmp_path / "other/saved_model.pb").write_bytes(b"\xff" * 100)
    save_model("alluxio://models/broken", tmp_path / "other", address=node.at)
    with pytest.raises(InvalidArgument, match="cannot load the SavedModel"):
        load_model("alluxio://models/broken", address=node.at)
    (tmp_path / "other/saved_model.pb").unlink()
    with pytest.raises(InvalidArgument, match=r"neither a \.keras file nor a SavedModel"):
        save_model("alluxio://models/broken", tmp_path / "other", address=node.at)


def test_other_paths(node, folder, tmp_path):
    """What is no model of TensorFlow's is refused, or was never there."""
    with pytest.raises(NotFound, match="nothing at"):
        save_model("alluxio://models/never", tmp_path / "absent.keras", address=node.at)
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(InvalidArgument, match=r"neither a \.keras file"):
        save_model("alluxio://models/never", tmp_path / "weights.h5", address=node.at)
    (tmp_path / "broken.keras").write_bytes(b"no archive")
    with pytest.raises(InvalidArgument, match=r"cannot load .*broken\.keras"):
        save_model("alluxio://models/never", tmp_path / "broken.keras", address=node.at)
    with pytest.raises(InvalidArgument, match="optimizer="):
        save_model("alluxio://models/never", folder / "model", optimizer=True, address=node.at)
    with pytest.raises(NotFound, match="absent"):
        save_model("alluxio://models/never", {"x": np.ones(2)}, files={"a": tmp_path / "absent"}, address=node.at)
