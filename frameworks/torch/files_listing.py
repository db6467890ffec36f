"""The files of a folder in Alluxio as a list that is small in memory, and the label of each, the way torchvision finds it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.files.files import AlluxioFiles
from alluxio_lance.files.namespace import FileStatus
from alluxio_lance.files.paths import absolute, as_uri

__all__ = ["Labels", "Listing", "Samples", "list_folder"]

Labels = Literal["folder"] | Callable[[str], Any] | None
"""Where labels come from: the folder right below, a function of the path, or nowhere."""


class Listing:
    """Files in their order, a few dozen bytes each: as arrays, which forked workers share and others get quickly."""

    def __init__(self, files: Sequence[FileStatus]) -> None:
        names = [file.path.encode() for file in files]
        self._names = b"".join(names)
        self._name_ends = _ends(len(name) for name in names)
        self._blocks = np.array([block for file in files for block in file.blocks], np.int64)
        self._block_ends = _ends(len(file.blocks) for file in files)
        self._lengths = np.array([file.length for file in files], np.int64)
        self._block_bytes = np.array([file.block_bytes for file in files], np.int64)

    def __len__(self) -> int:
        return len(self._lengths)

    def path(self, index: int) -> str:
        """Name a file, absolute in the namespace."""
        return self._names[self._name_ends[index] : self._name_ends[index + 1]].decode()

    def __getitem__(self, index: int) -> FileStatus:
        """Return what reading a file needs to know of it, as of when the folder was listed."""
        return FileStatus(
            path=self.path(index),
            is_folder=False,
            length=int(self._lengths[index]),
            cached_percent=0,
            pinned=False,
            persisted=True,
            block_bytes=int(self._block_bytes[index]),
            blocks=tuple(self._blocks[self._block_ends[index] : self._block_ends[index + 1]].tolist()),
            under_path="",
        )

    def __eq__(self, other: object) -> bool:
        """Tell whether it has the same files with the same contents: who writes a file anew gives it other blocks."""
        if not isinstance(other, Listing):
            return NotImplemented
        return (
            self._names == other._names
            and np.array_equal(self._name_ends, other._name_ends)
            and np.array_equal(self._lengths, other._lengths)
            and np.array_equal(self._block_ends, other._block_ends)
            and np.array_equal(self._blocks, other._blocks)
        )

    __hash__ = None  # type: ignore[assignment]  # it is compared by contents


def _ends(lengths: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Files and their labels."""

    files: Listing
    targets: list[Any] | None
    """One for each file; None: there are no labels."""
    classes: list[str]


class Samples(Sequence[tuple[str, Any]]):
    """Pairs of path and label, made when somebody looks."""

    def __init__(self, listed: Labelled) -> None:
        self._listed = listed

    def __len__(self) -> int:
        return len(self._listed.files)

    @overload
    def __getitem__(self, place: int) -> tuple[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> tuple[str, Any] | list[tuple[str, Any]]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        at = range(len(self))[place]
        return self._listed.files.path(at), None if self._listed.targets is None else self._listed.targets[at]

    def __repr__(self) -> str:
        return repr([*self])


def list_folder(files: AlluxioFiles, folder: str, extensions: str | Sequence[str] | None, labels: Labels) -> Labelled:
    """List the files of a folder and of all folders below.

    Raises
    ------
    NotFound
        When there is no such folder, no file in it, or a class without one.
    InvalidArgument
        When ``labels`` is something else, or gives names of classes for some files and other values for others.
    """
    root = absolute(folder)
    start = len(root.rstrip("/"))
    # As for patterns: a leading dot hides, be it Alluxio's own folders, checkpoints of notebooks, or half an upload.
    found = [file for file in files.list(root, recursive=True) if "/." not in file.path[start:]]
    kept = [file for file in found if not file.is_folder and _fits(file.path, extensions)]
    if not kept:
        which = "no files" if extensions is None else f"no files that end with {_listed(extensions)}"
        raise NotFound(f"there are {which} in {as_uri(root)}")
    if labels == "folder":
        return _by_folder(root, found, kept)
    if labels is None:
        return Labelled(Listing(kept), None, [])
    if callable(labels):
        return _by_function(root, kept, labels)
    raise InvalidArgument(f"labels={labels!r} is no way to find labels: give 'folder', None or a function of the path")


def _fits(path: str, extensions: str | Sequence[str] | None) -> bool:
    if extensions is None:
        return True
    return path.lower().endswith(extensions if isinstance(extensions, str) else tuple(extensions))


def _listed(extensions: str | Sequence[str]) -> str:
    return extensions if isinstance(extensions, str) else ", ".join(extensions)


def _by_folder(root: str, found: Sequence[FileStatus], kept: Sequence[FileStatus]) -> Labelled:
    """Label each file with the folder right below the root; files that lie in none are left out."""
    start = len(root.rstrip("/")) + 1

    def first(path: str) -> str:
        return path[start:].partition("/")[0]

    classes = sorted(
        {first(file.path) for file in found if file.is_folder}
        | {first(file.path) for file in kept if "/" in file.path[start:]}
    )
    if not classes and kept:
        raise NotFound(
            f"there are no folders in {as_uri(root)} to take labels from: give labels=None, or a function of the path"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    inside = [file for file in kept if "/" in file.path[start:]]
    # The order of torchvision: class by class, folder by folder, name by name.
    inside.sort(key=lambda file: (first(file.path), *posixpath.split(file.path)))
    targets = np.array([numbers[first(file.path)] for file in inside], np.int64)
    if empty := [classes[number] for number in np.setdiff1d(np.arange(len(classes)), targets)]:
        raise NotFound(f"there are no files for the classes {', '.join(empty)} in {as_uri(root)}")
    return Labelled(Listing(inside), targets.tolist(), classes)


def _by_function(root: str, kept: Sequence[FileStatus], label: Callable[[str], Any]) -> Labelled:
    """Ask a function for the label of each file, by its path below the root."""
    start = len(root.rstrip("/")) + 1
    given = [label(file.path[start:]) for file in kept]
    named = [isinstance(each, str) for each in given]
    if not any(named):
        return Labelled(Listing(kept), given, [])
    if not all(named):
        path = kept[named.index(False)].path
        raise InvalidArgument(
            f"labels gives names of classes for some files and {given[named.index(False)]!r} for {path}: give one or the other"
        )
    classes = sorted(set(cast("list[str]", given)))
    numbers = {name: number for number, name in enumerate(classes)}
    return Labelled(Listing(kept), [numbers[each] for each in given], classes)
