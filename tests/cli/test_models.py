"""Models by the command: saved, shown, loaded, compared, signed and verified, on a real system."""

import json
import stat
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alluxio_lance.cli.model_moving import _framework


def weights(seed=0):
    """Return a small state dict."""
    random = np.random.default_rng(seed)
    return {
        "encoder.weight": random.standard_normal((64, 32)).astype(np.float32),
        "encoder.bias": random.standard_normal(64).astype(np.float16),
        "steps": np.array(7, np.int64),
    }


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Give a folder of a model: weights, a configuration, a vocabulary in a folder below."""
    made = tmp_path_factory.mktemp("model")
    save_file(weights(), made / "model.safetensors")
    (made / "config.json").write_text('{"layers": 1}')
    (made / "tokenizer").mkdir()
    (made / "tokenizer" / "vocab.txt").write_text("a\nb\n")
    return made


@pytest.fixture
def tuned(tmp_path):
    """Give the same model with one tensor moved by a known amount, one gone and one new."""
    made = tmp_path / "tuned.safetensors"
    moved = weights()
    moved["encoder.weight"] = moved["encoder.weight"] * np.float32(1.5)
    del moved["encoder.bias"]
    moved["head"] = np.ones(3, np.float64)
    save_file(moved, made)
    return made


def test_a_folder_comes_back_as_it_was(connected, folder, tmp_path):
    """Saved and loaded, every tensor and file has the same bytes; the manifest comes along."""
    made = connected.json("model", "save", "models/round", folder, "--metric", "accuracy=0.9", "--metadata", "by=me")
    assert made["version"]["semver"] == "1.0.0"
    assert (made["version"]["metrics"], made["version"]["metadata"]["by"]) == ({"accuracy": 0.9}, "me")
    text = connected("model", "load", "models/round", tmp_path / "back", "--verify").stdout
    assert "tensors: 3, 8.1 KiB; in " in text
    found = load_file(tmp_path / "back" / "model.safetensors")
    assert {name: each.tobytes() for name, each in found.items()} == {
        name: each.tobytes() for name, each in weights().items()
    }
    assert (tmp_path / "back" / "config.json").read_text() == '{"layers": 1}'
    assert (tmp_path / "back" / "tokenizer" / "vocab.txt").read_text() == "a\nb\n"
    assert set(json.loads((tmp_path / "back/.alluxio-lance/manifest.json").read_bytes())["files"]) == {
        "config.json",
        "tokenizer/vocab.txt",
    }
    # What was exported is a model again, and the same one.
    assert "saved models/round: 1.1.0" in connected("model", "save", "models/round", tmp_path / "back").stdout
    assert connected.json("model", "diff", "models/round", "1.0.0", "1.1.0")["diff"]["same"] == 3
    assert "the same, bit for bit" in connected("model", "diff", "models/round", "1.0.0", "1.1.0").stdout


def test_single_files_leave_the_files_out_and_say_so(connected, folder, tmp_path):
    """The suffix tells the format; a file that is there is replaced only when told."""
    connected("model", "save", "models/single", folder)
    for name, read in (("m.safetensors", load_file), ("m.npz", np.load)):
        result = connected("model", "load", "models/single", tmp_path / name)
        assert "files of the model that are not in it: 2; --format folder has them" in result.stderr
        found = read(tmp_path / name)
        assert {key: found[key].tobytes() for key in found} == {k: each.tobytes() for k, each in weights().items()}
        assert "is there already" in connected("model", "load", "models/single", tmp_path / name, code=5).stderr
        record = connected.json("model", "load", "models/single", tmp_path / name, "--overwrite")
        assert (record["format"], record["files_left_out"]) == (name.partition(".")[2], 2)
    refused = connected("model", "load", "models/single", tmp_path / "f", "--format", "folder", "--overwrite", code=2)
    assert "--overwrite replaces a file" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz", "m.safetensors"]


def test_show_tells_what_a_version_holds(connected, folder):
    """Tensors with type, shape and bytes, files, and that nobody signed it; for people within their screen."""
    connected("model", "save", "models/shown", folder)
    record = connected.json("model", "show", "models/shown")["model"]
    assert {"name": "encoder.bias", "dtype": "F16", "shape": [64], "num_bytes": 128} in record["tensors"]
    assert {"path": "config.json", "num_bytes": 13} in record["files"]
    assert (record["signed_by"], record["tied"]) == (None, {})
    text = connected("model", "show", "models/shown", env={"COLUMNS": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80
    for part in ("encoder.weight", "[64, 32]", "8,192", "tokenizer/vocab.txt", "signature  none"):
        assert part in text


def test_diff_says_how_far_each_tensor_moved(connected, folder, tuned, tmp_path):
    """As a table, as JSON and as a picture; metadata of the catalog too."""
    connected("model", "save", "models/tuned", folder, "--metadata", "rate=0.1")
    connected("model", "save", "models/tuned", tuned, "--metadata", "rate=0.2")
    found = connected.json("model", "diff", "models/tuned", "1.0.0", "1.1.0")["diff"]
    (changed,) = found["changed"]
    assert changed["name"] == "encoder.weight"
    assert changed["change"]["relative_l2"] == pytest.approx(0.5, rel=1e-6)
    assert ([each["name"] for each in found["added"]], [each["name"] for each in found["removed"]]) == (
        ["head"],
        ["encoder.bias"],
    )
    assert {"key": "rate", "old": 0.1, "new": 0.2} in found["metadata"]
    assert {"key": "config.json", "old": 13, "new": None} in found["files"]
    picture = tmp_path / "diff.png"
    text = connected("model", "diff", "models/tuned", "1.0.0", "1.1.0", "--plot", picture, env={"COLUMNS": "80"}).stdout
    assert "1 changed, 1 added, 1 removed, 1 the same" in text
    assert max(map(len, text.splitlines())) <= 80
    assert picture.read_bytes().startswith(b"\x89PNG")
    missing = connected("model", "diff", "models/tuned", "1.0.0", "1.1.0", "--plot", tmp_path / "no/x.png", code=4)
    assert "there is no folder" in missing.stderr


def test_a_signature_is_made_and_checked(connected, folder, tmp_path):
    """`sign` adds a patch; `verify` tells the key; another key, and none at all, are exit code 1."""
    key, other = tmp_path / "key", tmp_path / "other"
    fingerprint = connected.json("model", "key", key)["fingerprint"]
    connected("model", "key", other)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "never overwritten" in connected("model", "key", key, code=5).stderr
    connected("model", "save", "models/signed", folder)
    assert "not signed" in connected("model", "verify", "models/signed").stdout
    unsigned = connected("model", "verify", "models/signed", "--public-key", f"{key}.pub", code=1)
    assert "is not signed" in unsigned.stderr
    assert "signed models/signed: 1.0.1" in connected("model", "sign", "models/signed", "--key", key).stdout
    verified = connected.json("model", "verify", "models/signed", "--public-key", f"{key}.pub")["verified"]
    assert (verified["signed_by"], verified["trusted"], verified["tensors"]) == (fingerprint, True, 3)
    assert "whose that is only --public-key" in connected("model", "verify", "models/signed").stdout
    assert fingerprint in connected("model", "show", "models/signed").stdout
    wrong = connected("model", "verify", "models/signed", "--public-key", f"{other}.pub", code=1)
    assert "is signed by another key" in wrong.stderr
    differs = connected.json("model", "diff", "models/signed", "1.0.0", "1.0.1")["diff"]
    assert [each["key"] for each in differs["files"]] == [".alluxio-lance/signature.json"]
    assert differs["same"] == 3


def test_a_model_can_be_signed_as_it_comes_in(connected, folder, tmp_path):
    """And a version that is saved without the key afterwards is not signed: the old signature does not stay."""
    key = tmp_path / "key"
    connected("model", "key", key)
    connected("model", "save", "models/born", folder, "--sign-with", key)
    assert "with the key given" in connected("model", "verify", "models/born", "--public-key", f"{key}.pub").stdout
    connected("model", "save", "models/born", folder)
    assert "is not signed" in connected("model", "verify", "models/born", "--public-key", f"{key}.pub", code=1).stderr


def test_what_is_wrong_is_said(connected, embedded, folder, tmp_path):
    """Pickles in folders, paths that are not there, a selector, a folder without shared memory."""
    (tmp_path / "m").mkdir()
    save_file(weights(), tmp_path / "m" / "model.safetensors")
    (tmp_path / "m" / "optimizer.pt").write_bytes(b"\x80\x02.")
    refused = connected("model", "save", "models/wrong", tmp_path / "m", code=2).stderr
    assert "'optimizer.pt' is a pickle" in refused
    connected("model", "save", "models/wrong", tmp_path / "m", "--exclude", "*.pt")
    assert "there is no" in connected("model", "save", "models/wrong", tmp_path / "none", code=4).stderr
    assert "names one version" in connected("model", "save", "models/wrong@1.0.0", folder, code=2).stderr
    assert "leave --embedded out" in embedded("model", "show", "models/wrong", code=2).stderr
    (tmp_path / "x.keras").write_bytes(b"")
    assert "leave --embedded out" in embedded("model", "save", "models/x", tmp_path / "x.keras", code=2).stderr
    signing = connected("model", "save", "models/x", tmp_path / "x.keras", "--sign-with", tmp_path / "key", code=2)
    assert "sign it with `model sign`" in signing.stderr
    excluding = connected("model", "save", "models/x", tmp_path / "x.keras", "--exclude", "a", code=2)
    assert "read without TensorFlow" in excluding.stderr


@pytest.mark.parametrize(("name", "framework"), [("x.keras", "tf"), ("x.pt", "torch")])
def test_a_framework_that_is_not_installed_is_named(connected, tmp_path, monkeypatch, name, framework):
    """With what to install."""
    modules = {"tf": "alluxio.tf", "torch": "alluxio_lance.frameworks.torch.models.checkpoints"}
    monkeypatch.setitem(sys.modules, modules[framework], None)
    (tmp_path / name).write_bytes(b"")
    missing = connected("model", "save", "models/x", tmp_path / name, code=1).stderr
    assert f"pip install 'alluxio-lance[{framework}]'" in missing


def test_a_model_goes_into_a_folder_without_a_sidecar(embedded, folder):
    """`save` needs no shared memory."""
    made = embedded.json("model", "save", "models/x", folder, "--version", "2.0.0", "--no-activate")["version"]
    assert (made["semver"], made["state"]) == ("2.0.0", "registered")
    assert embedded.json("list")["resources"][0]["kind"] == "model"


def test_the_framework_is_told_by_the_path(tmp_path):
    """A SavedModel is TensorFlow's, a pickle PyTorch's; a .bin that is none is a file."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    (tmp_path / "weights.bin").write_bytes(b"\x00\x01")
    told = {name: _framework(tmp_path / name) for name in ("saved", "pytorch_model.bin", "weights.bin", "a.KERAS")}
    assert told == {"saved": "tf", "pytorch_model.bin": "torch", "weights.bin": None, "a.KERAS": "tf"}


@pytest.mark.torch
def test_a_checkpoint_of_pytorch_is_read_by_pytorch(connected, tmp_path):
    """A .pt file, whose pickle nobody but PyTorch reads."""
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)}, tmp_path / "m.pt")
    connected("model", "save", "models/torch", tmp_path / "m.pt")
    (tensor,) = connected.json("model", "show", "models/torch")["model"]["tensors"]
    assert (tensor["name"], tensor["dtype"], tensor["shape"]) == ("w", "BF16", [2, 3])
    torch.save({"w": torch.ones(1), "more": tmp_path}, tmp_path / "code.pt")
    assert "is refused" in connected("model", "save", "models/torch", tmp_path / "code.pt", code=2).stderr
    refused = connected("model", "load", "models/torch", tmp_path / "m.npz", code=2).stderr
    assert "BF16, which numpy does not have" in refused
