"""One call for every framework: which one is meant."""

import collections
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance import any_framework
from alluxio_lance.errors import InvalidArgument, Unavailable


@pytest.fixture
def imported(monkeypatch):
    """Pretend that a process has imported some frameworks and no others."""

    def pretend(*packages):
        for package in ("torch", "tensorflow"):
            monkeypatch.delitem(sys.modules, package, raising=False)
        for package in packages:
            monkeypatch.setitem(sys.modules, package, object())

    return pretend


def test_the_framework_that_is_imported_is_meant(imported):
    """With none or both the sentence says what to give."""
    imported("torch")
    assert any_framework._imported() == "torch"
    imported("tensorflow")
    assert any_framework._imported() == "tf"
    imported()
    with pytest.raises(InvalidArgument, match=r"neither .* say framework='torch' or framework='tf'"):
        al.load_model("alluxio://models/m")
    imported("torch", "tensorflow")
    with pytest.raises(InvalidArgument, match="both PyTorch and TensorFlow"):
        al.load_dataset("alluxio://datasets/d")


def test_a_framework_that_does_not_exist_is_refused():
    """With those that do."""
    with pytest.raises(InvalidArgument, match="no framework 'jax': give torch or tf"):
        al.load_model("alluxio://models/m", framework="jax")


def test_a_framework_that_is_not_installed_is_named(monkeypatch):
    """With the command that installs it; other missing modules are not taken for it."""

    def missing(name):
        def load(_):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        return load

    monkeypatch.setattr(any_framework.importlib, "import_module", missing("tensorflow"))
    with pytest.raises(Unavailable, match=r"pip install 'alluxio-lance\[tf\]'"):
        al.load_model("alluxio://models/m", framework="tf")
    monkeypatch.setattr(any_framework.importlib, "import_module", missing("numpy"))
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        al.load_model("alluxio://models/m", framework="tf")


def test_a_model_says_whose_it_is(tmp_path):
    """Modules and tensors by their class, also within a dict; paths by their suffix; arrays say nothing."""
    of_torch = type("Parameter", (), {"__module__": "torch.nn.parameter"})
    of_keras = type("Mine", (type("Model", (), {"__module__": "keras.src.models.model"}),), {"__module__": "mine"})
    assert any_framework._owner(of_torch()) == "torch"
    assert any_framework._owner(of_keras()) == "tf"
    assert any_framework._owner(collections.OrderedDict(a=np.zeros(1), b=of_torch())) == "torch"
    assert any_framework._owner({"a": np.zeros(1)}) is None
    assert any_framework._owner(tmp_path / "model.PT") == "torch"
    assert any_framework._owner(str(tmp_path / "model.keras")) == "tf"
    assert any_framework._owner(tmp_path / "model.safetensors") is None
    (tmp_path / "saved_model.pb").touch()
    assert any_framework._owner(tmp_path) == "tf"


def test_importing_the_package_imports_no_framework():
    """Nor gRPC, nor anything of the server side."""
    code = "import sys, alluxio_lance; print({'torch', 'tensorflow', 'grpc', 'lance', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.torch
def test_the_calls_of_the_readme(node, monkeypatch):
    """A dataset and a model through the package itself."""
    import torch

    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    node.register("any/framework", pa.table({"x": [1.5, 2.5]}))
    with al.load_dataset("alluxio://datasets/any/framework", address=node.at) as dataset:
        assert dataset[1]["x"] == 2.5
    made = al.save_model("alluxio://models/any/framework", {"w": torch.arange(3.0)}, address=node.at)
    assert (made.type, made.semver) == ("models", "1.0.0")
    again = al.version_model("alluxio://models/any/framework", tag="golden", address=node.at)
    assert again.tags == ("golden",)
    assert al.load_model("alluxio://models/any/framework@golden", address=node.at)["w"].tolist() == [0.0, 1.0, 2.0]
