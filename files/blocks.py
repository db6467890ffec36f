"""The block files of Alluxio's workers on this node, opened where they lie: reads that pass no server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.namespace import FileStatus

__all__ = ["LocalBlocks", "NotHere"]


class NotHere(Exception):
    """A file, or all of them, cannot be read from block files of this node; the text says why, for people."""


class LocalBlocks:
    """The folders in which workers of this node keep blocks. It may be pickled.

    Parameters
    ----------
    folders
        The folders that hold block files, named by their block's id.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)

    @classmethod
    def find(cls, address: AlluxioAddress) -> Self:
        """Ask the worker of this node, at its web port, where its blocks lie.

        Raises
        ------
        NotHere
            When no worker answers there, it belongs to another cluster, or its folders cannot be read by this user.
        """
        raise NotImplementedError

    def open(self, file: FileStatus) -> list[int]:
        """Open all blocks of a file and return their descriptors, in the order of the bytes; the caller closes them.

        An open block stays readable when the worker drops it. Each has the size that it must have.

        Raises
        ------
        NotHere
            When a block is missing, of another size, or cannot be opened; then none is open.
        """
        raise NotImplementedError
