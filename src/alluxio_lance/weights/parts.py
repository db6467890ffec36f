"""The parts of a model, as importers make them and the store takes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from alluxio_lance.weights.rows import File, Notes, Tensor

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Tensors, files and notes; the bytes are read when it is their turn."""

    tensors: tuple[Tensor, ...] = ()
    files: tuple[File, ...] = ()
    notes: Notes = field(default_factory=Notes)
