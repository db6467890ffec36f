"""The lines of a table: its main one, and its branches, which are tables of their own below ``tree``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["Line", "branch_location", "line_of"]

_BRANCH: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_ON_BRANCH: Final = re.compile(rf"(?P<root>.+)/tree/(?P<branch>{_BRANCH.pattern})")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of versions.

    Files are named relative to the main table wherever they lie, since a branch reads files of the main line too.
    """

    root: str
    """The location of the main table."""
    branch: str = ""
    """Empty on the main line."""

    @property
    def location(self) -> str:
        """The location of the line's own table."""
        return branch_location(self.root, self.branch)

    @property
    def prefix(self) -> str:
        """What stands before the paths of the line's own files."""
        return f"tree/{self.branch}/" if self.branch else ""

    def owns(self, path: str) -> bool:
        """Tell whether a file, named relative to the main table, lies in this line's own folder."""
        return path.startswith(self.prefix) if self.branch else not path.startswith("tree/")

    def describes(self, path: str) -> bool:
        """Tell whether a file of the line describes versions, rather than holding rows."""
        return path.startswith(tuple(f"{self.prefix}{folder}" for folder in ("_versions/", "_transactions/")))


def line_of(location: str) -> Line:
    """Read which line a location is."""
    on_branch = _ON_BRANCH.fullmatch(location)
    return Line(on_branch["root"], on_branch["branch"]) if on_branch else Line(location)


def branch_location(location: str, branch: str) -> str:
    """Return the location of a branch's own table; the empty branch is the table itself.

    Raises
    ------
    InvalidArgument
        When there can be no branch of that name.
    """
    if not branch:
        return location
    if not _BRANCH.fullmatch(branch):
        raise InvalidArgument(
            f"{branch!r} is no name of a branch: a letter, then up to 62 letters, digits or hyphens, such as new-labels"
        )
    return f"{location}/tree/{branch}"
