"""save_model: a module, a state dict or a checkpoint as a version of a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any, Final

import torch
from torch import nn

from alluxio_lance.client.models.attaching import Content, attached
from alluxio_lance.client.models.saving import save
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.models.checkpoints import read_checkpoint
from alluxio_lance.frameworks.torch.models.parts import parts_of
from alluxio_lance.frameworks.torch.models.ranks import on_first_rank
from alluxio_lance.manager import Bump, OnProgress
from alluxio_lance.values import Version
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import File

__all__ = ["Content", "save_model"]

_CONFIG: Final = "config.json"


def save_model(
    uri: str,
    model: nn.Module | Mapping[str, torch.Tensor] | str | PathLike[str],
    *,
    files: Mapping[str, Content] | None = None,
    metadata: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    version: str | None = None,
    bump: Bump | None = None,
    message: str = "",
    activate: bool = True,
    address: str | None = None,
    request_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> Version:
    """Save a model as a new version; the model is registered when there is none of its name.

    Of a later version only the pieces of tensors are written that have changed. Tensors that share their memory are
    stored once and are one tensor again when they are loaded. Tensors on a device are fetched one by one.

    In a ``torch.distributed`` job every rank calls it; rank 0 saves, and all get the version. The model is a whole one on
    rank 0: unshard it first.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``.
    model
        A module; a state dict; or a path: a ``.pt`` or ``.pth`` checkpoint, which is read with ``weights_only=True``, a
        ``.safetensors`` or ``.npz`` file, or a folder with safetensors files and what belongs to them.
    files
        What belongs to it, by path in the version: bytes, the path of a local file, or an object that is written as JSON.
        Of a folder, these take the place of files of the same path. The ``config.json`` of a module that has a
        ``config`` with ``to_dict`` is added.
    metadata, provenance, version, bump, message, activate, request_id, on_progress
        As in `ResourceManager.update_resource`.
    metrics
        What was measured on it; gates see them. They are attached when the version is there.
    address
        The sidecar, on this node or over the network; by default as in `load_model`.

    Raises
    ------
    InvalidArgument
        When an entry cannot be saved (sparse, nested, on the meta device, no tensor; the message names it), or a
        checkpoint holds more than tensors. Nothing was changed.
    """

    def at_once() -> Version:
        parts = _with_files(_parts(model), files or {})
        return save(
            uri,
            parts.tensors,
            parts.files,
            parts.notes,
            version=version,
            bump=bump,
            message=message,
            metadata=metadata,
            provenance=provenance,
            metrics=metrics,
            activate=activate,
            address=address,
            request_id=request_id,
            on_progress=on_progress,
        )

    return on_first_rank(at_once)


def _parts(model: Any) -> Parts:
    if isinstance(model, nn.Module):
        plain = _unwrapped(model)
        _refuse_sharded(plain)
        return replace(parts_of(plain.state_dict()), files=_config(plain))
    if isinstance(model, Mapping):
        return parts_of(model)
    if isinstance(model, str | PathLike):
        return read_checkpoint(model)
    raise InvalidArgument(f"{type(model).__name__} is no module, state dict or path of a checkpoint")


def _unwrapped(module: nn.Module) -> nn.Module:
    """Take off what torch puts around a module, and what would prefix every name."""
    while True:
        # torch.compile has no public name for what it wraps.
        inner = module.__dict__.get("_modules", {}).get("_orig_mod")
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if inner is None:
            return module
        module = inner


def _refuse_sharded(module: nn.Module) -> None:
    # Only rank 0 would ask for its tensors, and wait for ever for the others to send theirs. Not imported: it is slow.
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp and any(isinstance(each, fsdp.FullyShardedDataParallel) for each in module.modules()):
        raise InvalidArgument(
            "the module is sharded over the ranks (FullyShardedDataParallel): bring it together on every rank with "
            "torch.distributed.checkpoint.state_dict.get_model_state_dict and the option full_state_dict, and save that"
        )


def _config(module: nn.Module) -> tuple[File, ...]:
    to_dict = getattr(getattr(module, "config", None), "to_dict", None)
    return (attached(_CONFIG, to_dict()),) if callable(to_dict) else ()


def _with_files(parts: Parts, files: Mapping[str, Content]) -> Parts:
    kept = [file for file in parts.files if file.path not in files]
    return replace(parts, files=(*kept, *(attached(path, content) for path, content in files.items())))
