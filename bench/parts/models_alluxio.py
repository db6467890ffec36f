"""The first load of a model from a real Alluxio, beside a plain download through its proxy and ``torch.load``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import requests
import torch

from alluxio.torch import save_model
from alluxio_lance.bench.parts.models_loading import OURS, touch
from alluxio_lance.bench.parts.models_material import COLD, URI, fine_tuned, network
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.service import serving
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.errors import Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports
from alluxio_lance.storage.alluxio.cluster.jars import class_path, java

__all__ = ["DOWNLOAD", "absent", "measure", "probe"]

DOWNLOAD: Final = "download, torch.load"
_FILE: Final = "bench/model.pt"
_BLOCK: Final = 1 << 20
_ANSWER_S: Final = 60.0


def absent() -> str:
    """Say why there is no Alluxio here; empty when one can be started."""
    try:
        java()
        class_path(lambda _: None)
    except Unavailable as missing:
        return missing.message
    return ""


def measure(setting: Setting, size: int) -> Rounds:
    """Measure on an Alluxio of its own, whose worker has the bytes of both ways.

    Raises
    ------
    Unavailable
        When it does not start.
    """
    rounds = Rounds()
    with _alluxio(setting, size) as cluster:
        store = cluster.uri.replace("/?", "/bench/tables?")
        # Without the disk tier, which would have the segments of a version that was hot before.
        arguments = ["--store", store, "--disk-budget", "0"]
        with serving(setting.work / "far", arguments) as address:
            task = _prepare(setting, cluster, address, size)
            ways: dict[str, Callable[[], dict[str, float]]] = {
                OURS: lambda: _ours(setting, address),
                DOWNLOAD: lambda: setting.fresh("models_alluxio", task),
            }
            setting.tell("the first round, which fills the cache of the worker")
            for call in ways.values():
                call()
            rounds.run(ways, setting.repetitions, setting.seed, setting.tell)
    return rounds


@contextmanager
def _alluxio(setting: Setting, size: int) -> Iterator[Cluster]:
    plan = ClusterPlan(
        folder=setting.work / "alluxio",
        ports=Ports.free(),
        tier_bytes=max(4 * size, 512 << 20),
        heap_bytes=512 << 20,
    )
    cluster = Cluster.start(plan, setting.tell)
    try:
        yield cluster
    finally:
        cluster.stop()


def _prepare(setting: Setting, cluster: Cluster, address: str, size: int) -> dict[str, str]:
    """Put the model into Alluxio twice: as two versions, of which one may be evicted, and as a file."""
    setting.tell("save the model into Alluxio")
    model = network(size, setting.seed)
    save_model(URI, model, address=address)
    folder = setting.work / "download"
    folder.mkdir()
    file = folder / "model.pt"
    torch.save(model.state_dict(), file)
    save_model(URI, fine_tuned(model), address=address)
    with file.open("rb") as data:
        AlluxioFiles.connect(cluster.uri).write_from(f"/{_FILE}", data, file.stat().st_size)
    file.unlink()
    authorization = AlluxioAddress.parse(cluster.uri, tables=False).authorization
    return {"url": f"{cluster.s3}/{_FILE}", "authorization": authorization, "file": str(file)}


def _ours(setting: Setting, address: str) -> dict[str, float]:
    with RemoteCache.connect(address) as cache:
        cache.evict(COLD)
    return setting.fresh("models_loading", {"way": OURS, "uri": COLD}, address)


def probe(task: Mapping[str, Any]) -> dict[str, float]:
    """Download the file, and load it."""
    file = Path(task["file"])
    begun = perf_counter()
    with (
        requests.get(
            task["url"], headers={"Authorization": task["authorization"]}, stream=True, timeout=_ANSWER_S
        ) as answer,
        file.open("wb") as target,
    ):
        answer.raise_for_status()
        shutil.copyfileobj(answer.raw, target, _BLOCK)
    loaded = torch.load(file, weights_only=True)
    total = touch(loaded)
    end = perf_counter()
    file.unlink()
    return {"total_ms": (end - begun) * 1e3, "sum": total}
