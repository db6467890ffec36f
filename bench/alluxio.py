"""How fast a version in a real Alluxio comes into shared memory, from block files of this node and through the proxy.

Run it as ``python -m alluxio_lance.bench.alluxio [--mib N] [--rounds N] [--json FILE]``. It starts an Alluxio of its own
in a temporary folder, writes the same rows into it and into a local folder, and loads both with the sidecar's loader
into sealed memfds: by short circuit (with the hash of every file checked), through the proxy's S3 service (all of it
cached by the worker), and from the local folder. The three take turns, so that whatever else the machine does meets all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alluxio_lance.bench.machine import describe
from alluxio_lance.errors import Internal
from alluxio_lance.incoming import Source
from alluxio_lance.lifecycle.ports import StoredFile, Write
from alluxio_lance.sidecar.loader import load
from alluxio_lance.sidecar.plan import make_plan
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports
from alluxio_lance.ways import Way, bytes_by_way

__all__ = ["main"]

_LOCATION: Final = "datasets/bench.lance"
_PIXELS: Final = 3 * 64 * 64
_BATCH: Final = 1024
_WRITE: Final = Write(operation="0" * 32, actor="bench", message="rows of the benchmark")
_LIMIT_PROXY: Final = 6.0
_LIMIT_LOCAL: Final = 0.5


@dataclass(frozen=True, slots=True)
class Road:
    """One way to load the version."""

    title: str
    store: LanceStore
    known: Mapping[str, StoredFile] | None
    ways: frozenset[Way]
    """How all its files must be read, else the number would be of something else."""


class _Room:
    """Memory without a budget: the benchmark says beforehand what it needs."""

    def reserve(self, need: int, *, huge: int = 0) -> None:
        """Take it."""

    def release(self, size: int) -> None:
        """Give it back."""


def _rows(count: int) -> Iterator[pa.RecordBatch]:
    """Make random images, which no format can compress, and a label each; the same on every call."""
    random = np.random.default_rng(0)
    for start in range(0, count, _BATCH):
        rows = min(_BATCH, count - start)
        pixels = pa.array(random.integers(0, 256, rows * _PIXELS, dtype=np.uint8))
        yield pa.record_batch(
            {
                "image": pa.FixedSizeListArray.from_arrays(pixels, _PIXELS),
                "label": np.arange(start, start + rows, dtype=np.int64),
            }
        )


def _write(store: LanceStore, count: int) -> dict[str, StoredFile]:
    schema = next(_rows(1)).schema
    source = Source(reader=pa.RecordBatchReader.from_batches(schema, _rows(count)), description="rows of the benchmark")
    version = store.create(_LOCATION, source, _WRITE)
    return {file.path: file for file in store.snapshot(_LOCATION, version, {}).files}


@contextmanager
def _cluster(folder: Path, mib: int) -> Iterator[Cluster]:
    """Start an Alluxio whose cache has room for the version, with room to spare."""
    cluster = Cluster.start(
        ClusterPlan(folder=folder, ports=Ports.free(), tier_bytes=max(2 * mib, 512) << 20, heap_bytes=512 << 20), _say
    )
    try:
        yield cluster
    finally:
        cluster.stop()


def _roads(folder: Path, cluster: Cluster, count: int) -> list[Road]:
    _say("write the rows")
    far = LanceStore.at(cluster.uri.replace("/?", "/bench/tables?"), folder / "node" / "data")
    near = LanceStore.local(folder / "local" / "data")
    known, here = _write(far, count), _write(near, count)
    far.warm(_LOCATION, 1)
    return [
        Road("short circuit", far, known, frozenset({Way.SHORT_CIRCUIT, Way.JOINED})),
        Road("proxy, cached", far, None, frozenset({Way.ENDPOINT})),
        Road("local folder", near, here, frozenset({Way.LOCAL})),
    ]


def _load(road: Road) -> float:
    """Load the version once, from opening it to sealed memory, and return the seconds."""
    begun = time.perf_counter()
    reader = road.store.open(_LOCATION, 1, road.known)
    plan = make_plan(reader.schema, reader.num_rows, label="bench")
    columns = load(reader, plan, _Room())
    taken = time.perf_counter() - begun
    ways = bytes_by_way(reader.ways)
    reader.close()
    for column in columns:
        column.close()
    if not set(ways) <= road.ways:
        raise Internal(f"{road.title}: read by {', '.join(ways)}, so the number would be of something else")
    return taken


def measure(folder: Path, mib: int, rounds: int) -> dict[str, Any]:
    """Measure in a folder, and return what the JSON file has."""
    count = (mib << 20) // (_PIXELS + 8)
    with _cluster(folder / "alluxio", mib) as cluster:
        roads = _roads(folder, cluster, count)
        machine = describe(folder)
        taken: dict[str, list[float]] = {road.title: [] for road in roads}
        for each in range(rounds + 1):
            for shift in range(len(roads)):
                road = roads[(each + shift) % len(roads)]
                seconds = _load(road)
                # The first round brings caches of the system into the state of all others.
                if each:
                    taken[road.title].append(seconds)
            _say(f"round {each} of {rounds}")
    median = {title: statistics.median(all_) for title, all_ in taken.items()}
    ratios = {
        "short circuit over proxy": median["proxy, cached"] / median["short circuit"],
        "short circuit over local": median["local folder"] / median["short circuit"],
    }
    return {
        "machine": machine,
        "bytes": count * (_PIXELS + 8),
        "rounds": rounds,
        "seconds": taken,
        "ratios": ratios,
        "met": ratios["short circuit over proxy"] >= _LIMIT_PROXY
        and ratios["short circuit over local"] >= _LIMIT_LOCAL,
    }


def _table(found: Mapping[str, Any]) -> str:
    head = f"{'way':<16} {'median':>9} {'least':>9} {'most':>9} {'GiB/s':>7} {'x proxy':>8} {'x local':>8}"
    median = {title: statistics.median(taken) for title, taken in found["seconds"].items()}
    lines = [
        f"{title:<16} {median[title]:>8.2f}s {min(taken):>8.2f}s {max(taken):>8.2f}s "
        f"{found['bytes'] / 2**30 / median[title]:>7.2f} {median['proxy, cached'] / median[title]:>8.2f} "
        f"{median['local folder'] / median[title]:>8.2f}"
        for title, taken in found["seconds"].items()
    ]
    promise = f"promised: short circuit at least {_LIMIT_PROXY:g} x proxy and {_LIMIT_LOCAL:g} x local: "
    return "\n".join([head, "-" * len(head), *lines, promise + ("met" if found["met"] else "not met")])


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, print a table and write JSON; exit code 1 when the short circuit is slower than promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the version")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="al-bench-") as folder:
        found = measure(Path(folder), given.mib, given.rounds)
    _say(_table(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.exit(not found["met"])


if __name__ == "__main__":
    main()
