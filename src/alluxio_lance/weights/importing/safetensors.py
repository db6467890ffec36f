"""Safetensors files: their tensors where they lie, their metadata as notes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.header import head_bytes, parse_head
from alluxio_lance.weights.importing.mapped import MappedFile
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import NOTES_KEY, Notes, Tensor

__all__ = ["read_safetensors"]

_FORMAT: Final = "format"


def read_safetensors(path: Path) -> Parts:
    """Make the parts of a model of one file; no byte of a tensor is read.

    Raises
    ------
    InvalidArgument
        When it is no safetensors file, or a damaged one.
    """
    file = MappedFile(path)
    head = parse_head(file.view(0, head_bytes(file.view(0, 8))), file.size, str(path))
    tensors = tuple(
        Tensor(placed.spec, partial(file.view, placed.offset, placed.offset + placed.size))
        for placed in head.tensors.values()
    )
    return Parts(tensors, (), _notes(dict(head.metadata), {tensor.spec.name for tensor in tensors}, path))


def _notes(metadata: dict[str, str], names: set[str], path: Path) -> Notes:
    written = metadata.pop(NOTES_KEY, None)
    metadata.pop(_FORMAT, None)
    notes = Notes() if written is None else Notes.from_json(written.encode())
    try:
        notes.check_names(names)
    except InvalidArgument as fault:
        raise InvalidArgument(f"{path}: {fault.message}") from fault
    if not metadata:
        return notes
    # What others wrote there, such as how an adapter was trained.
    extra: dict[str, Any] = {**notes.extra, "safetensors": metadata}
    return Notes(tied=notes.tied, views=notes.views, quantized=notes.quantized, extra=extra)
