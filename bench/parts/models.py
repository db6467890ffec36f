"""A model of one size: loads, memory of many processes, what a fine-tune adds, and swaps under a watcher."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from alluxio.torch import save_model
from alluxio_lance.bench.parts import models_alluxio, models_mlflow, models_served
from alluxio_lance.bench.parts.models_alluxio import DOWNLOAD
from alluxio_lance.bench.parts.models_fitting import fitting
from alluxio_lance.bench.parts.models_holding import holding, pss
from alluxio_lance.bench.parts.models_loading import MLFLOW, MMAP, OURS, SAFETENSORS, TORCH, WAYS
from alluxio_lance.bench.parts.models_material import COLD, URI, fine_tuned, network, rows_for
from alluxio_lance.bench.parts.results import Found, Group, Line
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.results import Spread
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.steps import forget_pages
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.errors import Corrupt, Unavailable
from alluxio_lance.sidecar.budget import Host

__all__ = ["measure"]

_HELD: Final = tuple(WAYS)
"""The ways whose memory is measured."""
_STEPS: Final = {
    "total": "from the call to the first answer",
    "beyond_load": "of it, without the load by the sidecar",
    "call": "the call",
    "served": "from the call until the new version serves",
    "answer": "the first answer, which reads all weights",
}

_NOTES: Final = (
    (
        "Each load is the first of a process of its own; its imports are not in the time. The files of the others are in "
        "the page cache, but for the first load, where neither they nor the sidecar have anything in memory."
    ),
    (
        "Memory is PSS, which divides a page by the processes that map it; what the interpreters took before they loaded "
        "is not in it, and what the sidecar maps of the model is. The kernel counts no memory on reserved huge pages as "
        "PSS: where there are some, measure memory without them."
    ),
    (
        "After a write into one tensor by one process the others had the bytes they had before, else there would be no "
        "number."
    ),
    "A fine-tune that changes a little of every tensor changes every piece, and adds as much as a new model.",
    (
        "Swaps under a watcher are without other requests, on the local disk; the new version of an activation is in no "
        "memory before."
    ),
)

_FAR: Final = (
    "Alluxio runs on the same machine and has the bytes in its cache: alluxio-lance reads them by short circuit, the download "
    "comes through the proxy's S3 service in one stream, into a file on the disk."
)


def measure(setting: Setting) -> Found:
    """Measure everything on one sidecar."""
    size = setting.size or (64 << 20 if setting.quick else 512 << 20)
    processes, turns = (2, 2) if setting.quick else (8, 10)
    root = setting.work / "sidecar"
    again, first, memory = Rounds(), Rounds(), Rounds()
    with serving(root) as address:
        task, added = _prepare(setting, address, root / "data", size)
        pythons, notes = _pythons(setting, {**task, "rows": rows_for(size)})
        tasks = {way: {**task, "way": way} for way in pythons}
        _repeat(
            again,
            setting,
            {way: lambda way=way: _loaded(setting, tasks[way], address, pythons[way]) for way in pythons},  # type: ignore[misc]  # mypy cannot infer a lambda's default
        )
        _check_same(again)
        cold = {
            OURS: lambda: _first(setting, {**tasks[OURS], "uri": COLD}, address, root / "data"),
            **{
                way: lambda way=way: _first(setting, tasks[way], address, setting.work / "files")  # type: ignore[misc]  # as above
                for way in (SAFETENSORS, TORCH)
            },
        }
        _repeat(first, setting, cold)
        setting.tell(f"{processes} processes hold it")
        held, too_large = fitting(
            [way for way in _HELD if way in pythons], added["model"], processes, Host().available()
        )
        _repeat(
            memory,
            setting,
            {way: lambda way=way: _together(setting, tasks[way], address, processes, pythons[way]) for way in held},  # type: ignore[misc]  # as above
            once=True,
        )
        setting.tell("activations and rollbacks")
        swaps = setting.fresh("models_swapping", {"rows": rows_for(size), "turns": turns}, address)
        served, unserved = models_served.measure(setting, address)
    why_not = models_alluxio.absent()
    far = Rounds() if why_not else models_alluxio.measure(setting, size)
    if not why_not:
        _check_same(far)
    return Found(
        part="models",
        title=f"A model of {added['model'] >> 20} MiB in 200 tensors",
        settings={**setting.facts(), "bytes": added["model"], "processes": processes, "turns": turns},
        groups=(
            _beside(again, "total_ms", "load on a node that has it, and touch every page", SAFETENSORS),
            _beside(again, "total_ms", "the same numbers beside torch.load", TORCH),
            _beside(first, "total_ms", "first load on a node, from its disk, nothing of it in memory", TORCH),
            *([] if why_not else [_beside(far, "total_ms", "first load on a node, from Alluxio", DOWNLOAD)]),
            Group(
                title=f"memory that {processes} processes add by loading it",
                unit="times the model",
                lines=tuple(memory.line(way, "growth") for way in held),
            ),
            Group(
                title="bytes that a version adds to the store",
                unit="percent of the model",
                lines=(
                    Line(name="the first version", value=Spread.of([100 * added["first"] / added["model"]])),
                    Line(
                        name="a fine-tune of one layer, 1 %", value=Spread.of([100 * added["tuned"] / added["model"]])
                    ),
                ),
            ),
            *(_swapped(kind, swaps[kind]) for kind in ("activation", "rollback")),
            *models_served.groups(served),
        ),
        notes=(
            *_NOTES,
            *too_large,
            *notes,
            *([models_served.NOTE] if served else []),
            *unserved,
            f"Nothing was loaded from Alluxio: {why_not}" if why_not else _FAR,
        ),
        measurements={"again": again.numbers, "first": first.numbers, "memory": memory.numbers, "added": added}
        | {"alluxio": far.numbers, **swaps, "served": served},
    )


def _pythons(setting: Setting, task: Mapping[str, Any]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the Python of each way that there is, and a note on those that are not; mlflow has the model then."""
    ours = {way: Path(sys.executable) for way in WAYS if way != MLFLOW}
    try:
        python = models_mlflow.find(setting.venvs, install=setting.install, tell=setting.tell)
        setting.tell("save it with mlflow")
        setting.fresh("models_mlflow", task, python=python)
    except Unavailable as missing:
        return ours, (f"mlflow is not measured: {missing.message}.",)
    return {**ours, MLFLOW: python}, ()


def _prepare(setting: Setting, address: str, data: Path, size: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Write the model in all forms, and as two versions; returns what the ways need, and the bytes in the store."""
    files = setting.work / "files"
    files.mkdir()
    task = {"uri": URI, "safetensors": str(files / "model.safetensors"), "torch": str(files / "model.pt")}
    task["mlflow"] = str(files / "mlflow")
    setting.tell("make the model")
    model = network(size, setting.seed)
    before = _bytes_below(data)
    setting.tell("save it")
    save_model(URI, model, address=address)
    between = _bytes_below(data)
    state = fine_tuned(model).state_dict()
    setting.tell("save its fine-tune")
    save_model(URI, state, address=address)
    after = _bytes_below(data)
    save_file(state, task["safetensors"])
    torch.save(state, task["torch"])
    weights = sum(tensor.nbytes for tensor in state.values())
    del model, state
    gc.collect()
    return task, {"model": weights, "first": between - before, "tuned": after - between}


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _repeat(
    into: Rounds, setting: Setting, ways: Mapping[str, Callable[[], Mapping[str, float]]], *, once: bool = False
) -> None:
    into.run(ways, 1 if once else setting.repetitions, setting.seed, setting.tell)


def _loaded(
    setting: Setting, task: Mapping[str, Any], address: str, python: Path = Path(sys.executable)
) -> dict[str, float]:
    return setting.fresh("models_loading", task, address, python)


def _check_same(rounds: Rounds) -> None:
    """Refuse numbers of ways that did not read the same bytes."""
    sums = {way: found["sum"] for way, found in rounds.numbers.items()}
    if len({one for each in sums.values() for one in each}) != 1:
        raise Corrupt("the ways did not load the same weights", expected="one sum of bytes", found=sums)


def _first(setting: Setting, task: Mapping[str, Any], address: str, folder: Path) -> dict[str, float]:
    """Load what is on the disk only."""
    if task["way"] == OURS:
        with RemoteCache.connect(address) as cache:
            cache.evict(task["uri"])
    forget_pages(folder)
    return _loaded(setting, task, address)


def _together(setting: Setting, task: Mapping[str, Any], address: str, count: int, python: Path) -> dict[str, float]:
    """Let processes load it, add up what that takes, and let one of them write."""
    with ExitStack() as keep:
        holders = [keep.enter_context(holding(task, address, setting.limit_s, python)) for _ in range(count)]

        def all_(word: str) -> list[int]:
            for holder in holders:
                holder.begin(word)
            return [holder.end() for holder in holders]

        before = sum(all_("pss"))
        sums = all_("load")
        after = sum(all_("pss")) + (_sidecar_shares(address) if task["way"] == OURS else 0)
        holders[0].do("write")
        now = [holder.do("sum") for holder in holders]
    if len(set(sums)) != 1 or now[1:] != sums[1:] or now[0] == sums[0]:
        raise Corrupt(f"{task['way']}: processes see each other's writes, or not their own", expected=sums, found=now)
    model = Path(task["torch"]).stat().st_size
    return {"growth": (after - before) / model, "bytes": after - before}


def _sidecar_shares(address: str) -> int:
    with RemoteCache.connect(address) as cache:
        return pss(cache.statistics().pid, "Pss_Shmem")


def _beside(rounds: Rounds, number: str, title: str, against: str) -> Group:
    return Group(
        title=title,
        unit="milliseconds",
        against=f"as fast as {against}",
        lines=tuple(
            rounds.line(way, number, against=None if way == against else (against, number), inverse=True)
            for way in (OURS, SAFETENSORS, MMAP, TORCH, MLFLOW, DOWNLOAD)
            if way in rounds.numbers
        ),
    )


def _swapped(kind: str, turns: Sequence[Mapping[str, float]]) -> Group:
    full = [{**turn, "beyond_load": turn["total"] - turn["load"]} for turn in turns]
    steps = {name: title for name, title in _STEPS.items() if kind == "activation" or name != "beyond_load"}
    return Group(
        title=f"{kind} under a watcher",
        unit="milliseconds",
        lines=tuple(
            Line(name=title, value=Spread.of([1e3 * turn[step] for turn in full])) for step, title in steps.items()
        ),
    )
