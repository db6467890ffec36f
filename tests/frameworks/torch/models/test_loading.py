"""load_model and save_model on a real sidecar: what goes in comes out, in every form that torch knows."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Mapping

import pytest
import torch
from safetensors import safe_open
from torch import nn

from alluxio.torch import Dataset, load_model, model_folder, save_model, version_model
from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.errors import InvalidArgument, InvalidURI, NotFound
from alluxio_lance.weights.manifest import MANIFEST

pytestmark = pytest.mark.torch

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
BYTES = (
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
)
INTEGERS = (
    torch.uint8,
    torch.int8,
    torch.uint16,
    torch.int16,
    torch.uint32,
    torch.int32,
    torch.uint64,
    torch.int64,
)
PAIRS = (torch.complex32, torch.complex64, torch.complex128)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same in type, shape and every bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.is_quantized:
        return one.q_scale() == other.q_scale() and torch.equal(one.int_repr(), other.int_repr())
    one, other = (each.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(one, other)


def every_type() -> dict[str, torch.Tensor]:
    """Make a tensor of every element type, and of every odd form. torch warns of complex32 and of quantized ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _every_type()


def _every_type() -> dict[str, torch.Tensor]:
    numbers = torch.arange(24).reshape(2, 3, 4)
    made = {str(dtype): numbers.to(dtype) for dtype in (*FLOATS, *INTEGERS)}
    made |= {str(dtype): numbers.to(torch.uint8).view(dtype) for dtype in BYTES}
    made |= {str(dtype): torch.complex(numbers.double(), -numbers.double()).to(dtype) for dtype in PAIRS}
    made["bool"] = numbers % 2 == 0
    made["packed"] = numbers.to(torch.uint8).view(torch.float4_e2m1fn_x2)
    made["scalar"] = torch.tensor(7)
    made["empty"] = torch.empty(3, 0, 5, dtype=torch.bfloat16)
    made["transposed"] = numbers.float().permute(2, 0, 1)
    made["strided"] = torch.arange(100.0)[::7]
    made["conjugate"] = made["torch.complex64"].conj()
    made["gradient"] = nn.Parameter(torch.ones(5))
    made |= {
        f"q{index}": torch.quantize_per_tensor(torch.randn(6), 0.1, 3, dtype)
        for index, dtype in enumerate((torch.qint8, torch.quint8))
    }
    return made


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Every element type."""
    torch.manual_seed(0)
    return every_type()


@pytest.fixture(scope="module")
def every(node, state) -> str:
    """Save every element type."""
    return save_model("alluxio://models/every", state, address=node.at, message="all").uri


class Tied(nn.Module):
    """Two places with one parameter, a buffer, and one that is in no state dict."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 32, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute something that all parts have a say in."""
        return self.head(self.norm(self.embedding(rows)))


@pytest.fixture(scope="module")
def tied(node) -> tuple[str, Tied]:
    """Save a module with tied parameters."""
    module = Tied()
    version = save_model("alluxio://models/tied", module, address=node.at, metrics={"accuracy": 0.5})
    assert version.metrics == {"accuracy": 0.5}
    return version.uri, module


def test_every_type_and_form_comes_back(node, every, state):
    """Bit for bit, with its type and shape; and the version verifies."""
    loaded = load_model(every, address=node.at, verify=True)
    assert loaded.keys() == state.keys()
    assert [name for name, tensor in loaded.items() if not same(tensor, state[name])] == []


def test_tensors_are_mapped_and_writable(node, every, state):
    """Two loads see the same bytes, one's write is not seen by the other, and no bytes are copied for it."""
    one, other = (load_model(every, address=node.at) for _ in range(2))
    one["torch.float32"].zero_()
    assert same(other["torch.float32"], state["torch.float32"])
    assert same(one["torch.float64"], state["torch.float64"])
    assert one["torch.float32"].untyped_storage().nbytes() == state["torch.float32"].nbytes


def test_tied_names_are_one_tensor(node, tied):
    """In the state dict, and in what is stored: the bytes are there once."""
    loaded = load_model(tied[0], address=node.at)
    assert loaded["head.weight"] is loaded["embedding.weight"]
    with model_folder(tied[0], node.at) as folder, safe_open(folder / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(loaded) - {"head.weight"}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_into_a_module(node, tied, device):
    """Its parameters are the mapped tensors, one where it was one, trainable; it computes what the saved one does."""
    uri, module = tied
    with torch.device(device):
        made = Tied()
    assert load_model(uri, into=made, address=node.at) is made
    assert made.head.weight is made.embedding.weight
    assert len(list(made.parameters())) == len(list(module.parameters()))
    rows = torch.arange(8)
    torch.testing.assert_close(made.eval()(rows), module.eval()(rows), rtol=0, atol=0)
    made(rows).sum().backward()
    with torch.no_grad():
        made.head.weight -= made.head.weight.grad
    assert not torch.equal(made.head.weight, module.head.weight)
    assert torch.equal(load_model(uri, address=node.at)["head.weight"], module.head.weight)


def test_other_shapes_are_named_and_change_nothing(node, tied):
    """The message has tensor and shapes, and the module is as before."""
    made = Tied(8)
    before = made.embedding.weight
    with pytest.raises(InvalidArgument, match=r"embedding\.weight is \[32, 16\] and \[32, 8\] in the module"):
        load_model(tied[0], into=made, address=node.at)
    assert made.embedding.weight is before


def test_other_names_are_refused_unless_told(node, tied):
    """Missing and unexpected names, of which strict=False takes what fits."""
    made = nn.Sequential()
    made.add_module("norm", nn.BatchNorm1d(16))
    made.add_module("more", nn.Linear(2, 2))
    with pytest.raises(InvalidArgument, match=r"it lacks more\..*no place for .*strict=False"):
        load_model(tied[0], into=made, address=node.at)
    load_model(tied[0], into=made, strict=False, address=node.at)
    load_model(tied[0], into=made, tensors=["norm.*"], address=node.at)


def test_patterns_choose_tensors(node, tied):
    """Only what matches, by its tied name, too; what matches nothing is an error with names that look like it."""
    assert list(load_model(tied[0], tensors=["head.*"], address=node.at)) == ["head.weight"]
    chosen = load_model(tied[0], tensors=["norm.running_*", "embedding.weight"], verify=True, address=node.at)
    assert set(chosen) == {"norm.running_mean", "norm.running_var", "embedding.weight"}
    with pytest.raises(NotFound, match=r"matches 'heat\.weight'.*'head\.weight'"):
        load_model(tied[0], tensors=["heat.weight"], address=node.at)
    with pytest.raises(InvalidArgument, match="a list of patterns"):
        load_model(tied[0], tensors="head.*", address=node.at)


def test_dtype_converts_floats_alone(node, every, state):
    """Floats of 16 bits and more; integers, small floats, complex and quantized numbers stay as they are."""
    loaded = load_model(every, dtype=torch.bfloat16, address=node.at)
    for name, tensor in loaded.items():
        wanted = state[name]
        if wanted.dtype in FLOATS:
            wanted = wanted.to(torch.bfloat16)
        assert same(tensor, wanted), name
    with pytest.raises(InvalidArgument, match="no floating type"):
        load_model(every, dtype=torch.int8, address=node.at)


@pytest.mark.parametrize("world", [1, 2, 3, 40])
def test_shards_are_slices(node, every, state, world):
    """Along the first dimension by default; together they are the whole, and each holds no more than its part."""
    parts = [load_model(every, shard=(rank, world), address=node.at) for rank in range(world)]
    for name, whole in state.items():
        if whole.is_quantized or not whole.dim():
            continue
        pieces = [part[name] for part in parts]
        raw = [piece.contiguous().reshape(len(piece), -1).view(torch.uint8) for piece in pieces if piece.numel()]
        if raw:
            # torch cannot concatenate the smallest floats.
            assert same(torch.cat(raw).view(whole.dtype).reshape(whole.shape), whole), name
        assert all(piece.untyped_storage().nbytes() == piece.nbytes for piece in pieces), name
    assert all(same(part["scalar"], state["scalar"]) for part in parts)


def test_shards_along_other_dimensions(node, every, state):
    """Patterns say which; what none matches is whole, and a dimension that is not there is refused with the name."""
    dims = {"torch.float*": -1, "torch.int64": 1}
    parts = [load_model(every, shard=(rank, 3, dims), address=node.at) for rank in range(3)]
    for name, dim in (("torch.float32", 2), ("torch.bfloat16", None), ("torch.int64", 1)):
        for rank, part in enumerate(parts):
            wanted = state[name] if dim is None else state[name].tensor_split([2, 4], dim)[rank]
            if name == "torch.int64":
                wanted = state[name].narrow(1, rank, 1)
            assert same(part[name], wanted.contiguous()), (name, rank)
    with pytest.raises(InvalidArgument, match=r"'scalar' has the shape \[\], and no dimension 0"):
        load_model(every, shard=(0, 2, {"scalar": 0}), address=node.at)


def test_a_tied_tensor_is_cut_by_any_of_its_names(node, tied):
    """Once, and the names have the same slice."""
    whole = load_model(tied[0], address=node.at)["head.weight"]
    for pattern in ("head.*", "embedding.*"):
        part = load_model(tied[0], shard=(1, 2, {pattern: 1}), address=node.at)
        assert part["head.weight"] is part["embedding.weight"]
        assert torch.equal(part["head.weight"], whole.chunk(2, 1)[1])


@pytest.mark.parametrize(
    "shard", [(2, 2), (-1, 2), (0, 0), (0,), "01", (0.0, 1), (0, 2, ["*"]), (0, 2, {"*": "0"}), (0, 2, {"nothing": 0})]
)
def test_wrong_shards_are_refused(node, every, shard):
    """Whatever is no rank of a world, no dimension, or meant for no tensor."""
    with pytest.raises(InvalidArgument, match="shard"):
        load_model(every, shard=shard, address=node.at)


def test_a_dataset_is_no_model_and_a_model_no_dataset(node, kinds, every):
    """Each error names the call that is right."""
    with pytest.raises(InvalidArgument, match="is a dataset and no model: open it with Dataset"):
        load_model(kinds, address=node.at)
    with pytest.raises(InvalidArgument, match="load_model"):
        Dataset(every, address=node.at)


def test_what_is_not_there(node):
    """A model without a version; a text that is no URI; a URI to save under that names a version."""
    with pytest.raises(NotFound):
        load_model("alluxio://models/nobody", address=node.at)
    with pytest.raises(InvalidURI, match="alluxio://models/NAME"):
        save_model("models/x", {}, address=node.at)
    with pytest.raises(InvalidArgument, match="names a version"):
        save_model("alluxio://models/x@1.0.0", {}, address=node.at)


def test_versions_of_a_model(node):
    """The second save is an update, a repeated call makes no third, and all three are told apart by version_model."""
    uri = "alluxio://models/steps"
    weights: Mapping[str, torch.Tensor] = {"w": torch.zeros(8)}
    first = save_model(uri, weights, address=node.at, version="0.1.0", request_id="steps-1")
    assert save_model(uri, weights, address=node.at, request_id="steps-1").semver == first.semver == "0.1.0"
    second = save_model(uri, {"w": torch.ones(8)}, address=node.at, bump="major", activate=False, metadata={"epoch": 3})
    assert (second.semver, second.metadata) == ("1.0.0", {"epoch": 3})
    assert load_model(uri, address=node.at)["w"].sum() == 0
    assert load_model(f"{uri}@1.0.0", address=node.at)["w"].sum() == 8
    named = version_model(f"{uri}@1.0.0", tag="golden", metrics={"loss": 0.25}, address=node.at)
    assert (named.tags, named.metrics) == (("golden",), {"loss": 0.25})
    assert load_model(f"{uri}@golden", address=node.at)["w"].sum() == 8
    assert version_model(uri, address=node.at).semver == "0.1.0"
    assert version_model(f"{uri}@golden", promote="validation", address=node.at).stage == "validation"


def test_the_folder_of_a_model(node, tmp_path):
    """Files, manifest and tensors where libraries look for them; afterwards the folder is gone and tensors stay."""
    (tmp_path / "vocab.txt").write_text("one")
    module = nn.Linear(4, 2)
    files = {"vocab/vocab.txt": tmp_path / "vocab.txt", "README.md": b"a card", "config.json": {"width": 4}}
    uri = save_model("alluxio://models/folder", module, files=files, address=node.at).uri
    with model_folder(uri, node.at) as folder:
        assert (folder / "vocab/vocab.txt").read_text() == "one"
        assert (folder / "config.json").read_text() == '{\n  "width": 4\n}'
        assert (folder / MANIFEST).exists()
        with safe_open(folder / "model.safetensors", "pt") as file:
            kept = file.get_tensor("weight")
    assert not folder.exists()
    gc.collect()
    assert torch.equal(kept, module.weight)


def test_too_few_huge_pages_are_told(node, tied, monkeypatch):
    """Whoever may write is warned; whoever does not, or loads to a device, is not. A stand-in says how many there are."""
    monkeypatch.setattr(MappedModel, "writes_may_fail", property(lambda _: True))
    with pytest.warns(RuntimeWarning, match=r"SIGBUS.*clone\(\).*writable=False"):
        load_model(tied[0], address=node.at)
    load_model(tied[0], writable=False, address=node.at)
    assert load_model(tied[0], device="meta", address=node.at)["head.weight"].is_meta


LEFT = """
import sys
from alluxio_lance.client.models.mapped import MappedModel
model = MappedModel.open(sys.argv[1], address=sys.argv[2])
data, files = model.data("head.weight"), model.files
if sys.argv[3] == "cycle":
    model.itself, holder = model, [data]
    holder.append(holder)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("how", ["plain", "cycle"])
def test_a_process_may_end_with_models_in_its_hands(node, tied, how):
    """In good order and without a word, whatever still lives; the sidecar learns of it from the kernel. No torch is needed."""
    command = [sys.executable, "-P", "-X", "dev", "-W", "error", "-c", LEFT, tied[0], node.at, how]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
