"""A real model, all-MiniLM-L6-v2: the same embeddings before it was saved, from shared memory, and after it was exported."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[4]
SENTENCES = ["A cat sat on the mat.", "The kitten is resting on the rug.", "Interest rates rose again."]
URI = "alluxio://models/minilm"


@pytest.fixture(scope="module")
def folder():
    """Where the set-up has put it."""
    found = sorted((ROOT / "build").glob("minilm-*"))
    if not found:
        pytest.skip("no model: deploy/setup/minilm brings it")
    return found[-1]


@pytest.fixture(scope="module")
def transformers():
    """The library that knows the model; it is not to look for anything on the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        library = pytest.importorskip("transformers")
        library.utils.logging.disable_progress_bar()
        yield library


def embed(model, tokenizer):
    """Embed the sentences: the mean of the last layer, of length 1."""
    words = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        last = model.eval()(**words).last_hidden_state
    mask = words["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((last * mask).sum(1) / mask.sum(1))


@pytest.fixture(scope="module")
def embed_from(transformers):
    """Read a folder as its users do, and embed the sentences."""
    return lambda folder: embed(
        transformers.AutoModel.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    )


@pytest.fixture(scope="module")
def before(embed_from, folder):
    """The embeddings of the model as it came."""
    found = embed_from(folder)
    alike = found @ found.T
    # They mean something.
    assert alike[0, 1] > 2 * alike[0, 2]
    return found


@pytest.fixture(scope="module")
def saved(node, folder):
    """The model in the store."""
    from alluxio.torch import save_model

    return save_model(URI, folder, address=node.at)


def test_from_a_folder_on_shared_memory(node, saved, embed_from, before):
    """``from_pretrained`` on a version: files, tokenizer, mapped weights."""
    from alluxio.torch import model_folder

    with model_folder(URI, address=node.at) as shared:
        assert (shared / "model.safetensors").is_symlink()
        assert torch.equal(embed_from(shared), before)


def test_from_the_state_dict(node, saved, folder, transformers, before):
    """The weights of a module that was made without any, and every tensor as safetensors reads it."""
    from safetensors.torch import load_file

    from alluxio.torch import load_model

    state = load_model(URI, address=node.at)
    wanted = load_file(folder / "model.safetensors")
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    model = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder)).eval()
    load_model(URI, into=model, strict=False, verify=True, address=node.at)
    assert torch.equal(embed(model, transformers.AutoTokenizer.from_pretrained(folder)), before)


def test_from_an_export(node, saved, embed_from, before, tmp_path):
    """What comes out again is a folder like the one that went in."""
    command = [sys.executable, "-P", "-m", "alluxio_lance.cli", "--address", node.address.grpc]
    command += ["model", "load", URI, str(tmp_path / "out"), "--format", "folder", "--verify"]
    subprocess.run(command, check=True, capture_output=True)
    assert torch.equal(embed_from(tmp_path / "out"), before)
