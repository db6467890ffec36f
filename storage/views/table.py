"""A version as it was opened through the endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import lance

from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.fragments import FragmentFiles
from alluxio_lance.storage.lines import Line
from alluxio_lance.storage.opening import session
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.views.folder import View

__all__ = ["Manifest", "Table"]


_NEWEST: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The file that names all others of a version."""

    path: str
    """Relative to the line's own table."""
    data: bytes

    @classmethod
    def read(cls, place: Place, line: Line, version: int) -> Self:
        """Read what a view of a version begins with; the version need not be open for it.

        Raises
        ------
        AlluxioLanceError
            When it cannot be read, or has another name than Lance gives to new ones.
        """
        path = f"_versions/{_NEWEST - version:020d}.manifest"
        return cls(path, b"".join(place.chunks(line.root, f"{line.prefix}{path}")))

    def opened(self, view: View, where: str) -> lance.LanceDataset:
        """Open the version in a view that has nothing else: it is described then, and its files may follow.

        Raises
        ------
        AlluxioLanceError
            When Lance does not understand it; ``where`` names it.
        OSError
            When it cannot be written.
        """
        view.put(self.path, self.data)
        with lance_faults(where):
            return lance.dataset(view.uri, session=session())


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A version, and where its files lie."""

    place: Place
    line: Line
    described: lance.LanceDataset
    """What its manifest says. Only where it is what `whole` gives can its rows be read through it."""
    whole: Callable[[], lance.LanceDataset]
    """Opens it where all of its rows can be read; only the first time does that take long."""
    fragments: Sequence[FragmentFiles]
    """The files of its fragments, in order."""
    sizes: Mapping[str, int]
    """The bytes of these files, by path; of others too."""
    where: str
    """Names it in errors."""
