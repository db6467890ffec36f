"""From the activation of another version to a server's first answer by it, with and without the load by the sidecar."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import monotonic, perf_counter, sleep
from typing import Any, Final

import torch

from alluxio.torch import ModelWatcher
from alluxio_lance import ResourceManager
from alluxio_lance.bench.parts.models_material import NAME, URI, Network
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.errors import Corrupt, Leased, Unavailable

__all__ = ["evict", "probe"]

_OLD, _NEW = "1.0.0", "1.1.0"
_WAIT_S: Final = 120.0


def probe(task: Mapping[str, Any]) -> dict[str, list[dict[str, float]]]:
    """Activate the second version, which is in no memory, and roll back to the first, which is kept; and so on."""
    swapped = threading.Event()
    question = torch.ones(1024)
    taken: dict[str, list[dict[str, float]]] = {"activation": [], "rollback": []}
    with (
        ResourceManager.connect() as manager,
        RemoteCache.connect() as cache,
        ModelWatcher(URI, lambda: Network(task["rows"]), on_swap=lambda _: swapped.set()) as watcher,
    ):

        def turn(change: Callable[[], object], semver: str) -> dict[str, float]:
            swapped.clear()
            begun = perf_counter()
            change()
            called = perf_counter()
            if not swapped.wait(_WAIT_S):
                raise Unavailable(f"{semver} did not serve within {_WAIT_S:.0f} s", what="watcher")
            served = max(perf_counter(), called)
            with watcher.use() as version, torch.inference_mode():
                version.model(question)
                found = version.layout.semver
            end = perf_counter()
            if found != semver:
                raise Corrupt("the first answer is of another version", expected=semver, found=found)
            return {
                "total": end - begun,
                "call": called - begun,
                "served": served - begun,
                "answer": end - served,
            }

        swapped.clear()
        manager.rollback_resource("models", NAME)
        if not swapped.wait(_WAIT_S):
            raise Unavailable(f"{_OLD} did not serve within {_WAIT_S:.0f} s", what="watcher")
        for _ in range(task["turns"]):
            evict(cache, f"{URI}@{_NEW}")
            activation = turn(lambda: manager.activate_resource("models", NAME, _NEW), _NEW)
            loads = {resident.semver: resident.load_seconds for resident in cache.statistics().versions}
            taken["activation"].append({**activation, "load": loads[_NEW]})
            rollback = turn(lambda: manager.rollback_resource("models", NAME), _OLD)
            taken["rollback"].append({**rollback, "load": 0.0})
        manager.activate_resource("models", NAME, _NEW)
    return taken


def evict(cache: RemoteCache, uri: str) -> None:
    """Drop a version, as soon as the watcher's hold on it has ended at the sidecar, too."""
    end = monotonic() + _WAIT_S
    while True:
        try:
            cache.evict(uri)
        except Leased:
            if monotonic() > end:
                raise
            sleep(0.01)
        else:
            return
