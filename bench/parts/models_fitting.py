"""Which ways to hold a model fit into the memory of the machine, when many processes take them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alluxio_lance.bench.parts.models_loading import MLFLOW, TORCH

__all__ = ["fitting"]

_OWN_COPY: Final = (TORCH, MLFLOW)
"""The ways that give every process its own copy; those of the others is one mapping for all."""
_SPARE: Final = 0.8
"""Of the memory that is there: the interpreters and the sidecar need some, too."""


def fitting(ways: Sequence[str], model: int, processes: int, available: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ways that fit into so many bytes, and a sentence for each of the others."""
    need = {way: model * (processes if way in _OWN_COPY else 1) for way in ways}
    kept = tuple(way for way in ways if need[way] <= _SPARE * available)
    return kept, tuple(
        f"Memory with {way} is not measured: {processes} processes need {need[way] >> 20} MiB, and {available >> 20} MiB "
        "are free."
        for way in ways
        if way not in kept
    )
