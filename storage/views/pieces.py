"""A version cut into pieces: runs of fragments that are read at once, all from this node or all through the endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from alluxio_lance.storage.fragments import FragmentFiles
from alluxio_lance.storage.views.survey import Survey

__all__ = ["Piece", "cut"]

_NEAR_BYTES: Final = 64 << 20
"""Bytes of near files that are checked at once, ahead of what is read; a larger fragment is a piece of its own."""


@dataclass(slots=True, eq=False)
class Piece:
    """Fragments that are read together."""

    first: int
    """The number of the first one."""
    near: bool
    fragments: list[FragmentFiles] = field(default_factory=list)

    @property
    def stop(self) -> int:
        """The number behind the last one."""
        return self.first + len(self.fragments)

    @property
    def rows(self) -> int:
        """How many rows they have."""
        return sum(fragment.rows for fragment in self.fragments)

    @property
    def paths(self) -> list[str]:
        """All their files."""
        return [path for fragment in self.fragments for path in fragment.paths]


def cut(fragments: Sequence[FragmentFiles], survey: Survey, first: int = 0) -> list[Piece]:
    """Cut fragments of a version, the first of which has a number; what fell back since the survey counts as far."""
    pieces: list[Piece] = []
    size = 0
    for number, fragment in enumerate(fragments, first):
        near = survey.is_near(fragment.paths)
        bytes_ = sum(survey.ways[path].bytes for path in fragment.paths)
        if not pieces or pieces[-1].near != near or (near and size + bytes_ > _NEAR_BYTES):
            pieces.append(Piece(number, near))
            size = 0
        pieces[-1].fragments.append(fragment)
        size += bytes_
    return pieces
