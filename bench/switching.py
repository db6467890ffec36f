"""How long a reader waits for another version: from the call that activates it, or rolls back, to the first new batch.

A consumer has a dataset open and a watch on it (`Dataset.on_change`). Another process asks for the change; when the watch
says so the consumer calls `refresh` and reads a batch of 256 shuffled rows. An activation of a version that is not in
memory waits for its load, which the sidecar measures itself and which is told apart; a rollback is to one that is kept.

Run as a module it prints JSON::

    python -m alluxio_lance.bench.switching --rows 20000 --turns 20
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alluxio_lance import ResourceManager
from alluxio_lance.bench.data import ROW_BYTES, SHAPE
from alluxio_lance.bench.machine import describe
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.steps import environment, run_fresh
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.errors import Corrupt, Unavailable

__all__ = ["measure"]

_NAME: Final = "bench/switching"
_URI: Final = f"alluxio://datasets/{_NAME}"
_BATCH: Final = 256
_WAIT_S: Final = 60.0
_LIMIT_S: Final = 1800.0
_PARTS: Final = ("total", "load", "call", "told", "refresh", "batch")


def measure(
    work: Path, *, rows: int = 20_000, turns: int = 20, on_step: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure activations and rollbacks in turn.

    Parameters
    ----------
    work
        An empty folder; twice the data goes there.
    rows
        Of 12,288 bytes each, in both versions.
    turns
        Of each kind.

    Returns
    -------
    dict
        ``activation`` and ``rollback``, each with ``median``, ``min`` and ``max`` of these, in seconds: ``total`` from the
        call to the first batch; ``load`` of it by the sidecar; ``beyond_load``, the difference; ``call`` of the lifecycle
        until it returns, ``told`` from the call until the watch calls back, ``refresh`` and ``batch``. The first two of
        these overlap. ``data_bytes``, ``turns`` and ``machine``.
    """
    on_step(f"register two versions of {rows} rows")
    with serving(work / "sidecar") as address:
        with ResourceManager.connect(address) as manager:
            manager.register_resource("datasets", _NAME, _table(rows, 0))
            manager.update_resource("datasets", _NAME, _table(rows, 1), mode="overwrite")
        on_step(f"{turns} activations and rollbacks")
        task = json.dumps({"address": address, "rows": rows, "turns": turns})
        env = environment(work / "home")
        found = run_fresh(
            ["alluxio_lance.bench.switching"], task, env=env, limit_s=_LIMIT_S, what="measure", of="switching"
        )
    return {
        **{kind: _summary(found[kind]) for kind in ("activation", "rollback")},
        "data_bytes": rows * ROW_BYTES,
        "turns": turns,
        "machine": describe(work),
    }


def _table(rows: int, version: int) -> pa.Table:
    images = np.random.default_rng(version).integers(0, 256, (rows, *SHAPE), dtype=np.uint8)
    return pa.table(
        {
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
            "version": pa.array(np.full(rows, version)),
        }
    )


def _summary(turns: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    columns = {part: [turn[part] for turn in turns] for part in _PARTS}
    columns["beyond_load"] = [turn["total"] - turn["load"] for turn in turns]
    return {
        part: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for part, values in columns.items()
    }


# -- in the fresh process ----------------------------------------------------------------------------------------------


def _switch(task: Mapping[str, Any]) -> dict[str, list[dict[str, float]]]:
    """Activate the second version anew, without its memory, and roll back to the first, which is kept; and so on."""
    from alluxio.torch import Dataset  # noqa: PLC0415 - only this process needs torch

    address, rows = task["address"], task["rows"]
    order = np.random.default_rng(0).permutation(rows)[:_BATCH]
    taken: dict[str, list[dict[str, float]]] = {"activation": [], "rollback": []}
    told = threading.Event()
    with (
        ResourceManager.connect(address) as manager,
        RemoteCache.connect(address) as cache,
        Dataset(_URI, address=address) as dataset,
    ):

        def turn(change: Callable[[], object], version: int) -> dict[str, float]:
            told.clear()
            start = perf_counter()
            change()
            called = perf_counter()
            if not told.wait(_WAIT_S):
                raise Unavailable(f"nobody told of version {version} within {_WAIT_S:.0f} s", what="watch")
            heard = max(perf_counter(), called)
            dataset.refresh()
            fresh = perf_counter()
            batch = dataset.batch(order)
            end = perf_counter()
            if set(batch["version"].tolist()) != {version}:
                raise Corrupt("the first batch is not of the new version", expected=version, found="another")
            return {
                "total": end - start,
                "call": called - start,
                "told": heard - start,
                "refresh": fresh - heard,
                "batch": end - fresh,
            }

        manager.rollback_resource("datasets", _NAME)
        dataset.refresh()
        with dataset.on_change(lambda _: told.set()):
            for _ in range(task["turns"]):
                cache.evict(f"{_URI}@1.1.0")
                before = {resident.semver for resident in cache.statistics().versions}
                if "1.1.0" in before:
                    raise Corrupt("the version is still in memory", expected="evicted", found="resident")
                activation = turn(lambda: manager.activate_resource("datasets", _NAME, "1.1.0"), 1)
                loads = {resident.semver: resident.load_seconds for resident in cache.statistics().versions}
                taken["activation"].append({**activation, "load": loads["1.1.0"]})
                rollback = turn(lambda: manager.rollback_resource("datasets", _NAME), 0)
                taken["rollback"].append({**rollback, "load": 0.0})
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how long a reader waits for another version; prints JSON.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alluxio-lance-switching-") as folder:
        result = measure(
            Path(folder), rows=given.rows, turns=given.turns, on_step=lambda what: print(what, file=sys.stderr)
        )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].endswith(".json"):  # noqa: PLR2004 - the files of a task and of its result
        Path(sys.argv[2]).write_text(json.dumps(_switch(json.loads(Path(sys.argv[1]).read_text()))))
    else:
        main()
