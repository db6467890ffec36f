"""torch.distributed.checkpoint on versions of models: many ranks, one rank, what is refused and what a death leaves."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.frameworks.torch.models.distributed.checkpoints import PLACED, whole

from alluxio.torch import load_model, save_model
from alluxio.torch.checkpoint import AlluxioStorageReader, AlluxioStorageWriter
from alluxio_lance import ResourceManager
from alluxio_lance.errors import Corrupt, InvalidArgument, NotFound
from alluxio_lance.frameworks.torch.models.distributed.values import decoded, encoded

pytestmark = [
    pytest.mark.torch,
    # Said of every save by one process, asked for or not.
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
]

URI = "alluxio://models/dcp-run"


def played(scene: str, ranks: int, address: str, folder: Path) -> list:
    """Play a scene with so many ranks, and return what each says."""
    script = Path(__file__).with_name("checkpoints.py")
    done = subprocess.run(
        [sys.executable, "-P", str(script), scene, str(ranks), address, str(folder / "store")],
        check=False,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("ranks", [2, 3])
def test_shards_of_many_ranks_are_one_model(own_node, tmp_path, ranks):
    """Each rank gives its own; what comes of it are whole tensors, which other shards are taken of."""
    said = played("save_and_load", ranks, own_node.at, tmp_path)
    for found in said:
        assert found["saved"] == ["1.0.0", "step 12", "1.1.0"]
        assert found["same content"]
        assert all(found["right"].values()), found["right"]
        assert found["rest"] == [12, "[{'lr': 0.125, 'betas': (0.9, 0.999)}]", 3]
    loaded = load_model("alluxio://models/sharded", address=own_node.at)
    assert set(loaded) == {*(f"model.{name}" for name in PLACED), "optim.step"}
    for name in PLACED:
        assert torch.equal(loaded[f"model.{name}"], whole(name)), name


def test_what_one_rank_cannot_save_is_told_to_all(own_node, tmp_path):
    """No version is made, nobody waits for ever, and the next save works."""
    said = played("refusals", 2, own_node.at, tmp_path)
    for objects_0, objects_1, fails_0, fails_1, semver in said:
        for text, rank in ((objects_0, 0), (objects_1, 1)):
            assert f"rank {rank}: entry 'bad{rank}' is of a type that only a pickle could hold" in text
        assert "the device is gone" in fails_0
        assert "the device is gone" in fails_1
        assert "rank 1 could not read tensor" in fails_1
        assert semver == "1.0.0"


def test_a_rank_that_is_killed_leaves_no_version(own_node, tmp_path):
    """The others get an error, and the model was never registered."""
    first, last = played("killed", 2, own_node.at, tmp_path)
    assert first not in {"saved", None}
    assert last is None
    with ResourceManager.connect(own_node.at) as manager, pytest.raises(NotFound):
        manager.list_versions("models", "sharded")


def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Make a step, so that the optimizer has a state."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.25)
    module(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()
    return module, optimizer


def test_one_process_saves_and_goes_on(node):
    """Module, optimizer and counters come back as they were; later saves are later versions."""
    module, optimizer = trained()
    writer = AlluxioStorageWriter(URI, address=node.at, metrics={"loss": 0.5}, files={"run.json": {"id": 7}})
    kept = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": 41,
        "name": "run",
        "best": math.inf,
    }
    dcp.save(kept, storage_writer=writer, no_dist=True)
    assert (writer.saved.semver, writer.saved.metrics) == ("1.0.0", {"loss": 0.5})
    fresh, other = trained()
    found = {"module": fresh.state_dict(), "optimizer": other.state_dict(), "step": 0, "name": "", "best": 0.0}
    dcp.load(found, storage_reader=AlluxioStorageReader(URI, address=node.at), no_dist=True)
    for name, tensor in module.state_dict().items():
        assert torch.equal(found["module"][name], tensor), name
    other.load_state_dict(found["optimizer"])
    assert str(other.state_dict()) == str(optimizer.state_dict())
    assert (found["step"], found["name"], found["best"]) == (41, "run", math.inf)
    dcp.async_save(kept, storage_writer=writer, no_dist=True).result()
    assert writer.saved.semver == "1.1.0"


def test_a_model_that_save_model_made(node):
    """Tied names, half precision, scalars and tensors without numbers are loaded, and only what is asked for."""
    weight = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    state = {"a": weight, "b": weight, "scalar": torch.tensor(7), "none": torch.empty(0, 3), "more": torch.ones(2)}
    save_model("alluxio://models/dcp-whole", state, address=node.at)
    found = {name: torch.zeros_like(state[name]) for name in ("a", "b", "scalar", "none")}
    dcp.load(
        found,
        checkpoint_id="alluxio://models/dcp-whole",
        storage_reader=AlluxioStorageReader(address=node.at),
        no_dist=True,
    )
    for name, tensor in found.items():
        assert torch.equal(tensor, state[name]), name
    with pytest.raises(dcp.api.CheckpointException, match="Missing key"):
        dcp.load(
            {"absent": torch.zeros(1)},
            storage_reader=AlluxioStorageReader("alluxio://models/dcp-whole", address=node.at),
            no_dist=True,
        )


def test_where_to_is_asked_for():
    """Without a URI, or with ranks that do not know of each other, nothing begins."""
    for call in (
        lambda: dcp.save({}, storage_writer=AlluxioStorageWriter(), no_dist=True),
        lambda: dcp.load({}, storage_reader=AlluxioStorageReader(), no_dist=True),
    ):
        with pytest.raises(dcp.api.CheckpointException, match="there is no URI"):
            call()
    with pytest.raises(InvalidArgument, match="use_collectives=False"):
        AlluxioStorageWriter(URI).set_up_storage_writer(True, use_collectives=False)
    assert AlluxioStorageWriter.validate_checkpoint_id(URI)
    assert not AlluxioStorageReader.validate_checkpoint_id("/tmp/checkpoint")


VALUES = [
    None,
    True,
    0,
    -(2**70),
    0.1,
    "",
    "é\n",
    [],
    (),
    {},
    [1, (2.5, None)],
    {"a": {"b": (False,)}, 3: ["x"]},
    {"list": [1]},
    math.inf,
    -math.inf,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(value):
    """Types included, through real JSON."""
    found = decoded("x", json.loads(json.dumps(encoded("x", value), allow_nan=False)))
    assert repr(found) == repr(value)


def test_no_number_comes_back():
    """It is not equal to itself."""
    assert math.isnan(decoded("x", json.loads(json.dumps(encoded("x", math.nan), allow_nan=False))))


@pytest.mark.parametrize(
    ("value", "where"), [({"a": [0, {1}]}, "x.a[1]"), (1j, "x"), ({(1,): 2}, "x"), ([torch.float32], "x[0]")], ids=repr
)
def test_values_that_only_a_pickle_could_hold(value, where):
    """They are refused by name."""
    with pytest.raises(InvalidArgument) as refusal:
        encoded("x", value)
    assert f"entry {where!r} " in refusal.value.message


def test_values_that_are_nested_too_deeply():
    """What contains itself, too."""
    inner: list = []
    inner.append(inner)
    with pytest.raises(InvalidArgument, match="levels deep"):
        encoded("x", inner)


@pytest.mark.parametrize(
    "written", [[1], {"set": [1]}, {"float": "x"}, {"dict": [[1]]}, {"list": 3}, {"a": 1, "b": 2}], ids=repr
)
def test_notes_that_nobody_has_written(written):
    """They are told of, and no error of Python comes through."""
    with pytest.raises(Corrupt, match="of entry 'x'"):
        decoded("x", written)
