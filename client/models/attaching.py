"""Files that a caller puts beside the tensors of a model: contents, local files, or objects to write as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.weights.importing.mapped import mapped_file
from alluxio_lance.weights.rows import File

__all__ = ["Content", "attached"]

Content = bytes | str | PathLike[str] | Mapping[str, Any]
"""What a file of a model is made of: bytes, the path of a local file, an object for JSON."""


def attached(path: str, content: Content) -> File:
    """Make a file of a model.

    Parameters
    ----------
    path
        In the version: relative, with slashes.

    Raises
    ------
    NotFound
        When there is no local file.
    InvalidArgument
        When an object cannot be written as JSON.
    """
    if isinstance(content, bytes):
        return File(path, lambda: memoryview(content))
    if isinstance(content, Mapping):
        try:
            text = json.dumps(content, indent=2, sort_keys=True).encode()
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"the file {path!r} cannot be written as JSON: {error}") from error
        return File(path, lambda: memoryview(text))
    local = Path(content)
    if not local.is_file():
        raise NotFound(f"there is no file {local} for {path!r}: give bytes, a path that exists, or an object for JSON")
    return mapped_file(local, path)
