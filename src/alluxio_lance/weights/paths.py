"""The paths of a model's files: relative, in parts that any file system takes, and never out of the folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["METADATA", "check_paths"]

METADATA: Final = "__metadata__"
"""No tensor has this name in a safetensors file, and files lie there as tensors."""

_LONGEST_PART: Final = 255
_LONGEST: Final = 1024


def check_paths(paths: Iterable[str]) -> None:
    """Refuse paths that cannot lie side by side in one folder.

    Raises
    ------
    InvalidArgument
        When a path is absolute, leaves the folder, has a part that is no name, comes twice, or is also a folder.
    """
    seen: set[str] = set()
    for path in paths:
        if fault := _fault(path):
            raise InvalidArgument(f"a model cannot have the file {path[:200]!r}: {fault}")
        if path in seen:
            raise InvalidArgument(f"a model cannot have the file {path!r} twice")
        seen.add(path)
    for path in seen:
        parts = path.split("/")
        for end in range(1, len(parts)):
            if (folder := "/".join(parts[:end])) in seen:
                raise InvalidArgument(f"a model cannot have a file {folder!r} and a file {path!r} below it")


def _fault(path: str) -> str | None:
    if not path or path.startswith("/"):
        return "paths are relative and not empty"
    if path == METADATA:
        return "the safetensors format keeps this name for itself"
    if not path.isprintable() or "\\" in path:
        return "paths have no backslash and no control character"
    if len(path.encode()) > _LONGEST:
        return f"paths have at most {_LONGEST} bytes"
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return "paths have no empty part, no '.' and no '..'"
        if len(part.encode()) > _LONGEST_PART:
            return f"names have at most {_LONGEST_PART} bytes"
    return None
