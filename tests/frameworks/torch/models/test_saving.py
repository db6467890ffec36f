"""What save_model makes of modules, state dicts and checkpoints, and what it refuses: no sidecar is asked for that."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from alluxio.torch import save_model
from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.frameworks.torch.models.checkpoints import read_checkpoint
from alluxio_lance.frameworks.torch.models.parts import parts_of
from alluxio_lance.frameworks.torch.models.quantizing import quantized_of
from alluxio_lance.weights.header import TensorSpec

pytestmark = pytest.mark.torch

URI = "alluxio://models/refused"
NOWHERE = "unix:/nonexistent/grpc.sock"


def contents(parts) -> dict[str, bytes]:
    """Read the bytes of all tensors."""
    return {tensor.spec.name: bytes(tensor.data()) for tensor in parts.tensors}


def test_the_same_memory_is_stored_once():
    """The same view under more names is tied to the first; other views of the same memory are stored apart."""
    whole = torch.arange(12.0).reshape(3, 4)
    parts = parts_of(
        {"a": whole, "b": whole, "c": whole.view(3, 4), "t": whole.t(), "row": whole[1], "flat": whole.view(12)}
    )
    assert parts.notes.tied == {"b": "a", "c": "a"}
    assert contents(parts) == {
        "a": whole.numpy().tobytes(),
        "t": whole.t().numpy().tobytes(),
        "row": whole[1].numpy().tobytes(),
        "flat": whole.numpy().tobytes(),
    }


def test_empty_tensors_are_not_tied():
    """They all lie at address 0."""
    parts = parts_of({"a": torch.empty(0), "b": torch.empty(0), "c": torch.empty(0, 2)})
    assert parts.notes.tied == {}
    assert [tensor.spec.shape for tensor in parts.tensors] == [(0,), (0,), (0, 2)]


def test_bytes_are_read_when_it_is_their_turn():
    """A tensor without a gap is not copied at all, one with gaps not before it is asked for."""
    dense, gaps = torch.zeros(8), torch.zeros(8)[::2]
    parts = parts_of({"dense": dense, "gaps": gaps})
    dense[0] = gaps[0] = 1
    assert all(data[:4] == b"\x00\x00\x80\x3f" for data in contents(parts).values())
    view = parts.tensors[0].data()
    dense[1] = 1
    assert view[4:8] == b"\x00\x00\x80\x3f"


class Flattening(torch.Tensor):
    """Stands in for DTensor and quantized tensors of libraries: more than its numbers."""

    def __tensor_flatten__(self):
        """Say of what it consists."""
        return [], None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (torch.eye(3).to_sparse(), "is sparse_coo"),
        (torch.empty(3, device="meta"), "on the meta device"),
        (torch.zeros(2).as_subclass(Flattening), "is a Flattening"),
        (torch.zeros(2, dtype=torch.uint8).view(torch.bits8), "element type torch.bits8"),
        ({"weight": torch.zeros(2)}, "save entry\\['it'\\] alone"),
        (3, "is a int and no tensor"),
        (None, "is a NoneType and no tensor"),
    ],
    ids=["sparse", "meta", "subclass", "bits", "nested-dict", "number", "none"],
)
def test_what_cannot_be_saved_is_named(value, why):
    """Before anything is asked of a sidecar: the message has the name and what it is."""
    with pytest.raises(InvalidArgument, match=f"'it' .*{why}|{why}") as refused:
        save_model(URI, {"fine": torch.zeros(2), "it": value}, address=NOWHERE)
    assert "'it'" in str(refused.value)


def test_the_oldest_torch_has_fewer_types(monkeypatch):
    """What it lacks is refused when it is met, and hinders nothing else."""
    for lacking in ("float8_e8m0fnu", "float4_e2m1fn_x2"):
        monkeypatch.delattr(torch, lacking)
    spec = importlib.util.find_spec("alluxio_lance.frameworks.torch.models.elements")
    older = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(older)
    assert older.tensor_of(memoryview(bytearray(b"\0\0\x80?")), TensorSpec(name="x", dtype="F32", shape=()), None) == 1
    for dtype, shape in (("F8_E8M0", (1,)), ("F4", (2,))):
        with pytest.raises(InvalidArgument, match="cannot hold: leave it out"):
            older.tensor_of(memoryview(b"a"), TensorSpec(name="x", dtype=dtype, shape=shape), None)


@pytest.mark.filterwarnings("ignore:.*")
def test_forms_that_torch_warns_of_are_refused():
    """Torch warns of all of these itself."""
    scales, zeros = torch.ones(2), torch.zeros(2, dtype=torch.int64)
    channels = torch.quantize_per_channel(torch.ones(2, 3), scales, zeros, 0, torch.qint8)
    nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    rows = torch.eye(3).to_sparse_csr()
    for value, why in (
        (rows, "is sparse_csr"),
        (channels, "quantized as torch.per_channel_affine"),
        (nested, "is nested"),
    ):
        with pytest.raises(InvalidArgument, match=f"'it' .*{why}"):
            parts_of({"it": value})


@pytest.mark.parametrize(
    "note",
    [{}, {"scheme": "other"}, {"scale": 1, "zero_point": 0, "dtype": "qint8", "scheme": "per_channel"}]
    + [
        {"scheme": "per_tensor_affine", "dtype": "qint8", "scale": 1.0, "zero_point": 0} | change
        for change in ({"dtype": "quint8"}, {"scale": float("nan")}, {"scale": "1"}, {"zero_point": 0.5}, {"dtype": []})
    ],
)
def test_notes_of_quantized_tensors_are_not_trusted(note):
    """Whatever was not written by `integers_of` is refused with the tensor's name."""
    with pytest.raises(InvalidArgument, match="'it' is noted as quantized"):
        quantized_of("it", torch.zeros(2, dtype=torch.int8), note)


@pytest.mark.parametrize("model", [object(), [torch.zeros(1)], 5])
def test_other_things_are_no_models(model):
    """The message says what is."""
    with pytest.raises(InvalidArgument, match="no module, state dict or path"):
        save_model(URI, model, address=NOWHERE)


def test_files_that_cannot_be_are_refused(tmp_path):
    """A path that is not there, an object that is no JSON, a path in the version that leaves it."""
    for files, error, why in (
        ({"a.txt": tmp_path / "a.txt"}, NotFound, "there is no file"),
        ({"a.json": {"x": object()}}, InvalidArgument, "cannot be written as JSON"),
        ({"../a.txt": b""}, InvalidArgument, "'../a.txt'"),
    ):
        with pytest.raises(error, match=why):
            save_model(URI, {"w": torch.zeros(1)}, files=files, address=NOWHERE)


# -- checkpoints -------------------------------------------------------------------------------------------------------


class Evil:
    """Makes a folder when it is unpickled by somebody who trusts it."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        """Say what to run."""
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_checkpoints_of_torch_are_read(tmp_path, suffix, legacy):
    """Also in the form before 1.6; tied weights are still tied."""
    module = nn.Linear(3, 2)
    path = tmp_path / f"model{suffix}"
    state = {**module.state_dict(), "alias": module.weight}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    parts = read_checkpoint(path)
    assert contents(parts) == {name: t.detach().numpy().tobytes() for name, t in module.state_dict().items()}
    assert parts.notes.tied == {"alias": "weight"}


def write_evil(path) -> None:
    """Write a checkpoint that brings code."""
    torch.save({"w": torch.zeros(1), "x": Evil(path.with_name("made"))}, path)


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (write_evil, "posix.mkdir"),
        (lambda path: torch.save(nn.Linear(1, 1), path), "torch.nn.modules.linear.Linear"),
        (lambda path: path.write_bytes(pickle.dumps(Evil(path.with_name("made")), 2)), "refused"),
        (lambda path: path.write_bytes(b"no checkpoint"), "refused"),
        (lambda path: path.write_bytes(b""), "refused"),
        (lambda path: torch.save([torch.zeros(1)], path), "holds a list"),
        (lambda path: torch.save({"model": {"w": torch.zeros(1)}, "epoch": 3}, path), "under 'model'"),
        (lambda path: torch.save({"w": torch.zeros(1), "epoch": 3}, path), "'epoch' is a int"),
    ],
    ids=["code", "module", "pickle", "text", "empty", "list", "training-state", "number"],
)
def test_other_checkpoints_are_refused(tmp_path, write, why):
    """With torch's reason, and without running anything."""
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(InvalidArgument, match=why):
        save_model(URI, path, address=NOWHERE)
    assert not path.with_name("made").exists()


def test_a_truncated_checkpoint_is_refused(tmp_path):
    """The end of the archive is missing."""
    path = tmp_path / "model.pt"
    torch.save({"w": torch.arange(10_000)}, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InvalidArgument, match="is refused"):
        read_checkpoint(path)


def test_missing_checkpoints_are_not_found(tmp_path):
    """Of either kind."""
    for name in ("model.pt", "model.safetensors"):
        with pytest.raises(NotFound, match="there is no"):
            read_checkpoint(tmp_path / name)


# -- on a sidecar ------------------------------------------------------------------------------------------------------


class Compiled(nn.Module):
    """Stands in for what torch.compile makes, which takes ten seconds to import: the attribute has the same name."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


class Config:
    """Stands in for the configuration that modules of transformers have."""

    def to_dict(self):
        """Return it as JSON."""
        return {"hidden_size": 4}


def test_a_module_brings_its_configuration(node):
    """As config.json, unless one is given; what torch.compile and data parallelism put around a module is taken off."""
    from alluxio_lance.client.models.mapped import MappedModel

    module = nn.Linear(4, 2)
    module.config = Config()
    wrapped = nn.DataParallel(Compiled(module))
    for files, wanted in ((None, {"hidden_size": 4}), ({"config.json": b"{}"}, {})):
        version = save_model("alluxio://models/config", wrapped, files=files, address=node.at)
        with MappedModel.open(version.uri, address=node.at) as model:
            assert json.loads(bytes(model.files["config.json"])) == wanted
            assert set(model.tensors) == {"weight", "bias"}


def test_a_folder_is_saved_with_its_files(node, tmp_path):
    """Tensors of its safetensors file, the others as they are; a file that is given takes the place of the folder's."""
    from alluxio_lance.client.models.mapped import MappedModel

    save_file({"w": torch.arange(5.0)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("old")
    version = save_model("alluxio://models/checkpoint", tmp_path, files={"README.md": b"new"}, address=node.at)
    with MappedModel.open(version.uri, address=node.at) as model:
        assert bytes(model.data("w")) == torch.arange(5.0).numpy().tobytes()
        assert {path: bytes(data) for path, data in model.files.items() if not path.startswith(".")} == {
            "README.md": b"new",
            "config.json": b"{}",
        }
