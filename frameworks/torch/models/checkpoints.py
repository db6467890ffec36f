"""Checkpoints on the disk as the parts of a model: pickles of torch by its own safe reader, all else as it is."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

import torch

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.frameworks.torch.models.parts import parts_of
from alluxio_lance.weights.importing import read_model
from alluxio_lance.weights.parts import Parts

__all__ = ["read_checkpoint"]

_PICKLES: Final = frozenset({".pt", ".pth", ".bin", ".ckpt"})
_ADVICE: Final = ("Weights only load failed", "`weights_only", "Check the documentation")
_USUAL: Final = ("state_dict", "model_state_dict", "model")


def read_checkpoint(path: str | PathLike[str]) -> Parts:
    """Read a ``.pt`` file with ``weights_only=True``, mapped; anything else as `weights.importing.read_model` does.

    Raises
    ------
    NotFound
        When there is no such path.
    InvalidArgument
        When it holds more than tensors; with torch's reason.
    """
    found = Path(path)
    if found.suffix.lower() not in _PICKLES or found.is_dir():
        return read_model(found)
    if not found.is_file():
        raise NotFound(f"there is no file {found}: give a checkpoint that exists")
    return parts_of(_state(found))


def _state(path: Path) -> Mapping[str, Any]:
    try:
        # The form before torch 1.6 cannot be mapped.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise InvalidArgument(
            f"{path} is refused: {_reason(error)} - save module.state_dict() with torch.save, or with safetensors"
        ) from error
    if not isinstance(loaded, Mapping):
        raise InvalidArgument(f"{path} holds a {type(loaded).__name__}: a checkpoint is a state dict")
    inner = next((key for key in _USUAL if isinstance(loaded.get(key), Mapping)), None)
    if inner is not None:
        raise InvalidArgument(
            f"{path} holds a training state with the model's under {inner!r}: load it with torch.load(…, weights_only=True), "
            f"and save [{inner!r}] of it"
        )
    return loaded


def _reason(error: Exception) -> str:
    """Take the fault out of torch's text, and leave out its advice to allow the code that the file brings."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    faults = [line for line in lines if not any(phrase in line for phrase in _ADVICE)]
    return (faults or lines or [type(error).__name__])[0].partition(" was not an allowed global by default")[0]
