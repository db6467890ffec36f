"""Which files of the disk tier were found right in this run of the sidecar, and whether they are still the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

__all__ = ["Checked", "Mark", "mark_of"]

Mark = tuple[int, int, int, int]
"""What changes when a file is another one, or is written: device, inode, size, and the time of its last change."""


def mark_of(facts: os.stat_result) -> Mark:
    """Return the mark of a file. Who may write it can set back its other time, but not this one."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_ctime_ns


class Checked:
    """The columns whose files were found right in this run, as they were then; safe to use from any thread."""

    def __init__(self) -> None:
        # One assignment or look-up each time, which the interpreter does as a whole.
        self._marks: dict[str, tuple[Mark, ...]] = {}

    def note(self, digest: str, marks: Iterable[Mark]) -> None:
        """Note that a column's files are right; the marks were taken before their bytes were looked at."""
        self._marks[digest] = tuple(marks)

    def has(self, digest: str, marks: Sequence[Mark]) -> bool:
        """Tell whether these very files were found right, and are unchanged."""
        return self._marks.get(digest) == tuple(marks)

    def knows(self, digest: str) -> bool:
        """Tell whether a column was found right in this run; its files may have changed since."""
        return digest in self._marks

    def forget(self, digest: str) -> None:
        """Forget a column that goes."""
        self._marks.pop(digest, None)
