"""Which fragments of a version can be read from files of this node, and why the others cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.place import Look
from alluxio_lance.storage.views.joining import room_for
from alluxio_lance.storage.views.table import Table
from alluxio_lance.ways import FileWay, Way

__all__ = ["AHEAD", "Survey"]

AHEAD: Final = min(4, max(2, os.cpu_count() or 1))
"""Pieces that are made ready at the same time, ahead of the one that is read."""
_AT_ONCE: Final = AHEAD + 1
"""Fragments whose joined files exist at the same time: the one that is read, and those ahead."""


class Survey:
    """The files of a version as they are found from this node; those that are near are held open until `close`.

    Parameters
    ----------
    table
        The version.
    look
        Finds its files.
    known
        What the catalog knows of files: without a hash none is read from this node.
    views
        The folder in which files would be joined.
    """

    def __init__(self, table: Table, look: Look, known: Mapping[str, StoredFile], views: Path) -> None:
        self._table = table
        self._known = known
        self._views = views
        self._found = look(path for fragment in table.fragments for path in fragment.paths)
        self.blocks: dict[str, tuple[int, ...]] = {}
        """By path, the descriptors of the files of fragments that are near."""
        self.ways: dict[str, FileWay] = {}
        self.damaged = {path for path, near in self._found.items() if near.damaged}
        """Files of which what is cached on this node cannot be right."""
        try:
            for fragment in table.fragments:
                self._judge(fragment.paths)
        except BaseException:
            for near in self._found.values():
                _close(near.blocks)
            raise

    def _judge(self, paths: Sequence[str]) -> None:
        """Decide on one fragment: it is read from one place, wherever each of its files lies."""
        faults = {path: fault for path in paths if (fault := self._fault(path)) is not None}
        if not faults:
            joined = sum(self._known[path].size for path in paths if len(self._found[path].blocks) > 1)
            full = room_for(_AT_ONCE * joined, self._views) if joined else None
            faults = {} if full is None else {path: full for path in paths if len(self._found[path].blocks) > 1}
        for path in paths:
            near = self._found[path]
            if near.way is Way.LOCAL or not faults:
                self._note(path, near.way, near.why)
                self.blocks[path] = near.blocks
            else:
                _close(near.blocks)
                # A file with a fault of its own keeps it, the others tell of one of those.
                wrong = path if path in faults else min(faults)
                self.fall_back([path], wrong, faults[wrong])

    def _fault(self, path: str) -> str | None:
        """Say why a file is not read from this node; None: it is."""
        near = self._found[path]
        if not near.blocks:
            return near.why
        if path not in self._known:
            return "the catalog knows no hash to check it by"
        if not self._table.line.owns(path):
            return "it lies with the main line, which a view of a branch does not reach"
        size = sum(os.fstat(block).st_size for block in near.blocks)
        if size != self._known[path].size:
            return f"its blocks have {size} bytes, not {self._known[path].size}"
        return None

    def _note(self, path: str, way: Way, why: str) -> None:
        self.ways[path] = FileWay(
            path=path,
            bytes=self._table.sizes.get(path, 0),
            way=way,
            why=why,
            cached_percent=self._found[path].cached_percent,
        )

    def is_near(self, paths: Sequence[str]) -> bool:
        """Tell whether files are all read from blocks of this node."""
        return bool(paths) and all(self.blocks.get(path) and self.ways[path].way is not Way.ENDPOINT for path in paths)

    @property
    def all_near(self) -> bool:
        """Whether nothing is read through the endpoint."""
        return all(self.is_near(fragment.paths) for fragment in self._table.fragments)

    def is_called_near(self, paths: Sequence[str]) -> bool:
        """Tell whether `ways` says of files that they are read from this node, open or not."""
        return any(self.ways[path].way is not Way.ENDPOINT for path in paths)

    def fall_back(self, paths: Sequence[str], wrong: str, why: str) -> None:
        """Note that a fragment that was near is read through the endpoint after all, because of one of its files."""
        for path in paths:
            self._note(path, Way.ENDPOINT, why if path == wrong else f"it is read together with {wrong}: {why}")

    def listed(self) -> tuple[FileWay, ...]:
        """Return the ways, sorted by path."""
        return tuple(self.ways[path] for path in sorted(self.ways))

    def close(self) -> None:
        """Close all files; a second call does nothing."""
        while self.blocks:
            _close(self.blocks.popitem()[1])


def _close(blocks: Sequence[int]) -> None:
    for block in blocks:
        with suppress(OSError):
            os.close(block)
