"""What importers of paths share: which files a folder has, and errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, NotFound

__all__ = ["existing", "faults_of", "list_files", "regular_file"]


def existing(data: str | os.PathLike[str]) -> Path:
    """Return the path, absolute.

    Raises
    ------
    NotFound
        When nothing is there.
    InvalidArgument
        When it is no path, or cannot be read.
    """
    text = os.fspath(data)
    if "://" in text:
        raise InvalidArgument(f"{text!r} is a URI: give a local path")
    if not text or "\0" in text:
        raise InvalidArgument(f"{text!r} is no path")
    path = Path(text).expanduser().absolute()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as missing:
        raise NotFound(f"there is no file or folder {path}") from missing
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from error
    return path


def regular_file(path: Path) -> Path:
    """Return the path when it is a file with something in it that can be opened."""
    if not path.is_file():
        raise InvalidArgument(f"{path} is no file")
    with faults_of(path), path.open("rb") as file:
        if not file.read(1):
            raise InvalidArgument(f"{path} is empty")
    return path


def list_files(folder: Path) -> list[Path]:
    """List the regular files below a folder, sorted by path; hidden ones (``.x``, ``_x``, ``Thumbs.db``) are left out.

    Links to folders are not followed.
    """

    def unreadable(error: OSError) -> None:
        raise InvalidArgument(f"{error.filename} cannot be read: {error.strerror}") from error

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [path for name in names if not _hidden(name) and (path := Path(parent, name)).is_file()]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _hidden(name: str) -> bool:
    return name.startswith((".", "_")) or name == "Thumbs.db"


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong within."""
    try:
        yield
    except AlluxioLanceError:
        raise
    except PermissionError as error:
        raise InvalidArgument(f"{path} cannot be read: permission denied") from error
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise InvalidArgument(f"{path} cannot be read: {' '.join(str(error).split())}") from error
