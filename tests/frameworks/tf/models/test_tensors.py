"""Models that are tensors by name: every element type, without a copy where TensorFlow can, from and to PyTorch."""

from __future__ import annotations

import gc
import inspect

import ml_dtypes
import numpy as np
import pytest

from alluxio_lance.client.models.saving import save
from alluxio_lance.errors import Corrupt, InvalidArgument, InvalidURI, NotFound
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import Notes, Tensor

tf = pytest.importorskip("tensorflow")

from alluxio.tf import load_model, save_model, version_model  # noqa: E402 - after the skip

pytestmark = pytest.mark.tf

PLAIN = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
SMALL = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]


def every_type() -> dict[str, np.ndarray]:
    """Make 64 elements of every element type that numpy and TensorFlow share."""
    numbers = np.arange(64).reshape(4, 16) % 7
    made = {name: numbers.astype(name) for name in PLAIN}
    return made | {name: numbers.astype(getattr(ml_dtypes, name)) for name in ("bfloat16", *SMALL)}


@pytest.fixture(scope="module")
def types(node) -> str:
    """Save a model with every element type, and return the URI."""
    save_model("alluxio://models/tf-types", every_type(), address=node.at)
    return "alluxio://models/tf-types"


def lies_at(tensor) -> int:
    """Return the address of a tensor's bytes."""
    plain = tf.bitcast(tensor, tf.uint16) if tensor.dtype == tf.bfloat16 else tensor
    return np.asarray(memoryview(plain)).ctypes.data


def test_every_element_type(node, types):
    """The type, the shape and every bit come back, also what TensorFlow has and numpy has not."""
    loaded = load_model(types, verify=True, address=node.at)
    for name, values in every_type().items():
        assert loaded[name].dtype.name == name
        assert loaded[name].shape == (4, 16)
        assert loaded[name].numpy().tobytes() == values.tobytes()


def test_forms_of_arrays(node):
    """Scalars, empty, transposed, big-endian and unaligned arrays, variables and tensors go in as what they mean."""
    given = {
        "scalar": np.float32(3),
        "zero-d": np.array(7, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "empty.bf16": np.zeros((0, 4), ml_dtypes.bfloat16),
        "transposed": np.arange(32, dtype=np.float32).reshape(4, 8).T,
        "big": np.arange(16, dtype=">f4"),
        "odd": np.arange(5, dtype=np.float16),
        "variable": tf.Variable([[1.5, 2.5]]),
        "tensor": tf.constant([1, 2, 3], tf.bfloat16),
        "keras": tf.keras.Variable(np.ones(3), dtype="float32"),
    }
    save_model("alluxio://models/tf-forms", given, address=node.at)
    loaded = load_model("alluxio://models/tf-forms", address=node.at)
    assert loaded.keys() == given.keys()
    for name, value in given.items():
        np.testing.assert_array_equal(loaded[name].numpy(), np.asarray(value))
        assert loaded[name].shape == np.shape(value)


def test_aligned_tensors_are_the_node_s_memory(node, types):
    """What begins on a cache line is not copied, bfloat16 included, and lives longer than what opened it."""
    from alluxio_lance.client.models.mapped import MappedModel

    model = MappedModel.open(types, address=node.at)
    from alluxio_lance.frameworks.tf.models.elements import tensor_of

    for name in (*PLAIN, "bfloat16"):
        data = model.data(name)
        tensor = tensor_of(data, model.tensors[name].spec, model.notes.views.get(name))
        assert lies_at(tensor) == np.frombuffer(data, np.uint8).ctypes.data
    model.close()
    del model, data
    gc.collect()
    assert tensor.numpy().tobytes() == every_type()["bfloat16"].tobytes()


def test_a_part_and_another_type(node, types):
    """Patterns choose; dtype converts what is floating, and nothing else."""
    loaded = load_model(types, tensors=["float*", "int8"], dtype=tf.float16, address=node.at)
    assert set(loaded) == {"float16", "float32", "float64", "int8", *SMALL}
    assert {name: tensor.dtype.name for name, tensor in loaded.items() if name != "int8"} == dict.fromkeys(
        set(loaded) - {"int8"}, "float16"
    )
    assert loaded["int8"].dtype == tf.int8
    with pytest.raises(NotFound, match=r"matches 'float_32'.*'float32'"):
        load_model(types, tensors=["float_32"], address=node.at)


def test_shared_values_are_stored_once(node):
    """A value under two names has its bytes once, and is one tensor again."""
    shared = tf.Variable(np.arange(64, dtype=np.float32))
    save_model("alluxio://models/tf-tied", {"embedding": shared, "head": shared}, address=node.at)
    loaded = load_model("alluxio://models/tf-tied", verify=True, address=node.at)
    assert loaded["embedding"] is loaded["head"]
    assert load_model("alluxio://models/tf-tied", tensors=["head"], verify=True, address=node.at).keys() == {"head"}


def test_types_that_tensorflow_lacks_come_as_bits(node):
    """Exponents alone and elements of less than a byte are uint8; whoever knows them can go on with those."""
    specs = [("F8_E8M0", (4,), 4), ("F4", (2, 4), 4), ("F6_E2M3", (4,), 3)]
    tensors = [
        Tensor(TensorSpec(name=name, dtype=name, shape=shape), lambda n=n: memoryview(bytes(range(n))))
        for name, shape, n in specs
    ]
    pairs = np.arange(8, dtype=np.float16)
    tensors.append(
        Tensor(TensorSpec(name="pairs", dtype="F16", shape=(4, 2)), lambda: memoryview(pairs.view(np.uint8)))
    )
    save("alluxio://models/tf-bits", tensors, notes=Notes(views={"pairs": "complex32"}), address=node.at)
    loaded = load_model("alluxio://models/tf-bits", address=node.at)
    for name, _, count in specs:
        assert loaded[name].dtype == tf.uint8
        assert loaded[name].numpy().tobytes() == bytes(range(count))
    assert loaded["pairs"].numpy().tolist() == pairs.reshape(4, 2).tolist()


def test_notes_that_cannot_be(node):
    """A complex tensor whose bytes are of another type is refused, not misread."""
    tensors = [Tensor(TensorSpec(name="x", dtype="F32", shape=(4,)), lambda: memoryview(bytes(16)))]
    save("alluxio://models/tf-notes", tensors, notes=Notes(views={"x": "complex128"}), address=node.at)
    with pytest.raises(InvalidArgument, match="'x' is noted as complex128"):
        load_model("alluxio://models/tf-notes", address=node.at)
    save("alluxio://models/tf-record", tensors, notes=Notes(extra={"keras": {"layers": 3}}), address=node.at)
    with pytest.raises((InvalidArgument, NotFound), match=r"architecture\.json"):
        load_model("alluxio://models/tf-record", address=node.at)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load_model("alluxio://models/tf-record", into=tf.keras.Sequential(), address=node.at)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (tf.constant(["text"]), "'x' has the element type string"),
        (np.array(["text"]), "'x' has the element type"),
        (np.array([{}]), "'x' has the element type"),
        (tf.constant([1, 2], tf.dtypes.experimental.int4), "'x' has the element type int4"),
        (tf.sparse.from_dense([[1, 0]]), "'x' is a SparseTensor"),
        (tf.ragged.constant([[1], [2, 3]]), "'x' is a RaggedTensor"),
        ([1, 2], "'x' is a list"),
        (tf.keras.Input((3,)), "'x' is a KerasTensor"),
    ],
)
def test_values_that_are_no_tensors(node, value, sentence):
    """They are refused by name before anything is registered."""
    with pytest.raises(InvalidArgument, match=sentence):
        save_model("alluxio://models/tf-never", {"x": value}, address=node.at)
    with pytest.raises(NotFound):
        load_model("alluxio://models/tf-never", address=node.at)


def test_tensors_of_a_graph_have_no_values(node):
    """Saving inside a tf.function is refused by name."""

    @tf.function(autograph=False)
    def traced(x):
        save_model("alluxio://models/tf-never", {"x": x}, address=node.at)

    with pytest.raises(InvalidArgument, match="'x' is a SymbolicTensor"):
        traced(tf.constant([1.0]))


def test_arguments_that_do_not_go_together(node, types):
    """Each is answered with a sentence that says what to leave out."""
    with pytest.raises(InvalidArgument, match="optimizer="):
        save_model(types, {"x": np.ones(3)}, optimizer=True, address=node.at)
    with pytest.raises(InvalidArgument, match="a int is no model"):
        save_model(types, 3, address=node.at)
    with pytest.raises(InvalidArgument, match="choose one"):
        load_model(types, into=tf.keras.Sequential(), tensors=["*"], address=node.at)
    with pytest.raises(InvalidArgument, match="not a dict"):
        load_model(types, into={}, address=node.at)
    with pytest.raises(InvalidArgument, match="no weights of a Keras model"):
        load_model(types, into=tf.keras.Sequential(), address=node.at)
    with pytest.raises(InvalidArgument, match="int8 is no floating type"):
        load_model(types, dtype="int8", address=node.at)
    with pytest.raises(InvalidArgument, match="no type of TensorFlow"):
        load_model(types, dtype="float17", address=node.at)
    with pytest.raises(InvalidURI):
        load_model("models/tf-types", address=node.at)


def test_a_dataset_is_no_model(node, kinds):
    """The message names what opens it."""
    with pytest.raises(InvalidArgument, match=r"Dataset of .*alluxio\.tf"):
        load_model(kinds, address=node.at)


def test_versions_have_names_and_measurements(node):
    """version_model tags, promotes and measures; the selector then finds the version."""
    uri = "alluxio://models/tf-versions"
    save_model(uri, {"x": np.zeros(3)}, message="first", metadata={"framework": "own"}, address=node.at)
    save_model(uri, {"x": np.ones(3)}, bump="major", metrics={"accuracy": 0.5}, address=node.at)
    version_model(f"{uri}@1.0.0", tag="golden", metrics={"accuracy": 0.9}, address=node.at)
    assert load_model(f"{uri}@golden", address=node.at)["x"].numpy().tolist() == [0, 0, 0]
    assert load_model(uri, address=node.at)["x"].numpy().tolist() == [1, 1, 1]
    found = version_model(f"{uri}@golden", address=node.at)
    assert found.metadata["framework"] == "own"
    assert found.metrics["accuracy"] == 0.9


def test_other_bytes_than_were_saved(node, monkeypatch):
    """verify= compares with the hashes that were taken when the model was saved."""
    from alluxio_lance.client.models import saving

    def lying(tensors, files, notes, sign=None):
        made, kept = with_manifest(tensors, files, notes, sign)
        other = memoryview(np.full(64, 9, np.float32).view(np.uint8))
        for tensor in made:
            tensor.stored(tensor.data())
        return [Tensor(tensor.spec, lambda: other) for tensor in made], kept

    with_manifest = saving.with_manifest
    monkeypatch.setattr(saving, "with_manifest", lying)
    save_model("alluxio://models/tf-lied", {"x": np.ones(64, np.float32)}, address=node.at)
    assert load_model("alluxio://models/tf-lied", address=node.at)["x"][0] == 9
    with pytest.raises(Corrupt, match="'x'"):
        load_model("alluxio://models/tf-lied", verify=True, address=node.at)


@pytest.mark.torch
def test_to_and_from_torch(node, types):
    """A state dict of torch is a dict of tensors here, and the weights of a Keras model are a state dict there."""
    torch = pytest.importorskip("torch")
    import alluxio.torch

    module = torch.nn.Linear(64, 32, dtype=torch.bfloat16)
    alluxio.torch.save_model("alluxio://models/tf-from-torch", module, address=node.at)
    loaded = load_model("alluxio://models/tf-from-torch", address=node.at)
    assert loaded["weight"].dtype == tf.bfloat16
    np.testing.assert_array_equal(loaded["weight"].numpy().astype(np.float32), module.weight.detach().float().numpy())
    model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(4)])
    save_model("alluxio://models/tf-to-torch", model, address=node.at)
    state = alluxio.torch.load_model("alluxio://models/tf-to-torch", address=node.at)
    for variable in model.variables:
        np.testing.assert_array_equal(state[variable.path].numpy(), variable.numpy())
    numbers = alluxio.torch.load_model(types, address=node.at)
    assert numbers["complex128"].dtype is torch.complex128
    assert numbers["complex128"].tolist() == every_type()["complex128"].tolist()


@pytest.mark.torch
def test_the_arguments_are_those_of_torch():
    """Whoever knows load_model and save_model of the one framework knows those of the other."""
    pytest.importorskip("torch")
    import alluxio.torch

    def named(function) -> set[str]:
        return set(inspect.signature(function).parameters)

    assert named(alluxio.torch.save_model) <= named(save_model)
    assert named(alluxio.torch.load_model) - named(load_model) == {"strict", "device", "shard", "writable"}
