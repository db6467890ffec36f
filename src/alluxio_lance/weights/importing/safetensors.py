"""Safetensors files: their tensors where they lie, their metadata as notes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.header import parse_head
from alluxio_lance.weights.importing.mapped import MappedFile
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import Notes, Tensor

__all__ = ["read_safetensors"]

_NOTES: Final = "alluxio_lance"
"""The key of the metadata under which an exported model has its notes."""
_FORMAT: Final = "format"


def read_safetensors(path: Path) -> Parts:
    """Make the parts of a model of one file; no byte of a tensor is read.

    Raises
    ------
    InvalidArgument
        When it is no safetensors file, or a damaged one.
    """
    file = MappedFile(path)
    head = parse_head(file.view(), file.size, str(path))
    tensors = tuple(
        Tensor(placed.spec, partial(file.view, placed.offset, placed.offset + placed.size))
        for placed in head.tensors.values()
    )
    return Parts(tensors, (), _notes(dict(head.metadata), {tensor.spec.name for tensor in tensors}, path))


def _notes(metadata: dict[str, str], names: set[str], path: Path) -> Notes:
    written = metadata.pop(_NOTES, None)
    metadata.pop(_FORMAT, None)
    notes = Notes() if written is None else Notes.from_json(written.encode())
    for alias, name in notes.tied.items():
        if not isinstance(name, str) or alias in names or name not in names:
            raise InvalidArgument(f"{path} says that its tensor {alias!r} is tied to {name!r}, which cannot be")
    if not metadata:
        return notes
    # What others wrote there, such as how an adapter was trained.
    extra: dict[str, Any] = {**notes.extra, "safetensors": metadata}
    return Notes(tied=notes.tied, views=notes.views, quantized=notes.quantized, extra=extra)
