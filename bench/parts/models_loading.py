"""Ways to get a model into a process, each timed until every page of it was touched."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final

import torch
from safetensors.torch import load_file

from alluxio.torch import load_model

# Before any clock starts: what `load_model` would import by itself.
from alluxio_lance.client import channel  # noqa: F401
from alluxio_lance.layout import PAGE

__all__ = ["MLFLOW", "MMAP", "OURS", "SAFETENSORS", "TORCH", "WAYS", "State", "probe", "ready", "touch"]

State = dict[str, torch.Tensor]

OURS: Final = "alluxio-lance"
SAFETENSORS: Final = "safetensors.load_file"
TORCH: Final = "torch.load"
MMAP: Final = "torch.load, mmap"
MLFLOW: Final = "mlflow.pytorch.load_model"
_MLFLOW: Final = "mlflow.pytorch"

WAYS: Final[Mapping[str, Callable[[Mapping[str, Any]], State]]] = {
    OURS: lambda task: load_model(task["uri"]),
    SAFETENSORS: lambda task: load_file(task["safetensors"]),
    TORCH: lambda task: torch.load(task["torch"], weights_only=True),
    MMAP: lambda task: torch.load(task["torch"], weights_only=True, mmap=True),
    MLFLOW: lambda task: _by_mlflow(task["mlflow"]),
}
"""By name; a task has the URI and the paths of the files."""


def _by_mlflow(folder: str) -> State:
    """Load a module, and return what it has."""
    state: State = importlib.import_module(_MLFLOW).load_model(folder).state_dict()
    return state


def ready(way: str) -> None:
    """Import what a way needs beyond torch, so that it is not in its time."""
    if way == MLFLOW:
        importlib.import_module(_MLFLOW)


def touch(state: State) -> int:
    """Read a byte of each page of each tensor, and return their sum."""
    total = 0
    for name in sorted(state):
        total += int(state[name].reshape(-1).view(torch.uint8)[::PAGE].sum())
    return total


def probe(task: Mapping[str, Any]) -> dict[str, float]:
    """Load once, in a process that has never loaded anything."""
    ready(task["way"])
    begun = perf_counter()
    state = WAYS[task["way"]](task)
    loaded = perf_counter()
    total = touch(state)
    end = perf_counter()
    return {
        "total_ms": (end - begun) * 1e3,
        "load_ms": (loaded - begun) * 1e3,
        "touch_ms": (end - loaded) * 1e3,
        "sum": total,
    }
