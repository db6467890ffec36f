"""The part of the benchmark that measures models: at a tiny size, with real files, a real sidecar and real processes."""

from __future__ import annotations

import pytest

from alluxio_lance.bench import parts
from alluxio_lance.bench.parts import models
from alluxio_lance.bench.parts.models_loading import OURS, SAFETENSORS
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.errors import Corrupt, Unavailable

pytestmark = pytest.mark.torch


def test_a_model_is_measured(tmp_path, monkeypatch):
    """All ways load the same weights, two processes hold it, a fine-tune adds little, and swaps take their time.

    What needs a process of its own for its time only is called in this one, and one way is held by processes.
    """

    def no_mlflow(*_, **__):
        raise Unavailable("mlflow-skinny is not installed", what="mlflow-skinny")

    class InProcess(Setting):
        def fresh(self, part, task, address="", python=None):
            monkeypatch.setenv("ALLUXIO_LANCE_ADDRESS", address)
            return parts.load(part).probe(task)

    monkeypatch.setattr(models, "_HELD", (OURS,))
    monkeypatch.setattr(models.models_alluxio, "absent", lambda: "no Java")
    monkeypatch.setattr(models.models_mlflow, "find", no_mlflow)
    monkeypatch.setattr(models.models_served, "absent", lambda: "there is no checkout")
    given = {"quick": True, "repetitions": 1, "seed": 0, "limit_s": 120, "tell": lambda _: None, "size": 1 << 20}
    found = models.measure(InProcess(work=tmp_path, **given))
    groups = {group.title: group for group in found.groups}
    again = next(group for title, group in groups.items() if title.startswith("load on a node"))
    assert [line.name for line in again.lines] == [OURS, "safetensors.load_file", "torch.load, mmap", "torch.load"]
    assert again.lines[0].ratio.median > 0
    first, tuned = (line.value.median for line in groups["bytes that a version adds to the store"].lines)
    assert first > 100
    assert tuned < first / 10
    assert found.notes[-1] == "Nothing was loaded from Alluxio: no Java"
    assert "mlflow is not measured: mlflow-skinny is not installed." in found.notes
    assert "Servers under requests are not measured: there is no checkout." in found.notes
    assert found.settings["bytes"] == sum(4 * 2 * (1024 + 1) for _ in range(100))
    for kind in ("activation", "rollback"):
        total, *_, call, served, answer = (line.value.median for line in groups[f"{kind} under a watcher"].lines)
        assert total >= served >= call > 0
        assert answer > 0


def test_other_bytes_in_one_way_are_noticed():
    """A way that loads something else gets no number, and neither do the others."""
    rounds = Rounds()
    rounds.run({OURS: lambda: {"sum": 1}, SAFETENSORS: lambda: {"sum": 2}}, 1, 0, lambda _: None)
    with pytest.raises(Corrupt, match="did not load the same weights"):
        models._check_same(rounds)
