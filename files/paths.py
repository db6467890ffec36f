"""The names of plain files: ``alluxio:///PATH``, with three slashes, or the path alone."""

from __future__ import annotations

import re
from typing import Final

from alluxio_lance.errors import InvalidArgument, InvalidURI

__all__ = ["absolute", "as_uri", "bucket_and_key", "check_name"]

_SCHEME: Final = "alluxio:"
_SERVER: Final = re.compile(r"[^/]*:\d+")
_TRAPS: Final = re.compile(r"[?\\]")
_UNUSABLE: Final = re.compile(r"[\0\ud800-\udfff]")
"""NUL, and what stands for bytes that are no UTF-8 in the names of a local disk."""
_DOORS: Final = (
    "give it to alluxio_lance.load_dataset or load_model, or to Dataset or load_model of alluxio.torch and alluxio.tf; "
    "a plain file has three slashes: alluxio:///FOLDER/FILE"
)


def absolute(name: str) -> str:
    """Return the path in the namespace that a URI or a path names, without needless slashes.

    Raises
    ------
    InvalidURI
        When it names a resource, a server, a place above the root, or is not absolute.
    """
    path = name
    if name.startswith(_SCHEME):
        path = name.removeprefix(_SCHEME)
        if path.startswith("//") and not path.startswith("///"):
            raise _no_file(name, path[2:].partition("/")[0])
    if not path.startswith("/") or _UNUSABLE.search(path):
        raise InvalidURI(f"{name!r} names no file in Alluxio: give alluxio:///FOLDER/FILE or /FOLDER/FILE", uri=name)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidURI(f"{name!r} has '..' in it, which Alluxio does not know: give the path itself", uri=name)
    return f"/{'/'.join(parts)}"


def as_uri(path: str) -> str:
    """Return ``alluxio:///PATH`` for an absolute path."""
    return f"alluxio://{path}"


def bucket_and_key(path: str) -> tuple[str, str]:
    """Split a path as the S3 service does; a file right below the root has no bucket: ``("", "FILE")``."""
    bucket, _, key = path.lstrip("/").partition("/")
    return (bucket, key) if key else ("", bucket)


def check_name(path: str) -> str:
    """Refuse a path that Alluxio takes for another one: it cuts at a ``?``, even a quoted one, and turns a backslash."""
    if found := _TRAPS.search(path):
        raise InvalidArgument(
            f"{path} has a {found[0]!r} in it, with which Alluxio's proxy takes another file: use another name, or a mount"
        )
    return path


def _no_file(name: str, host: str) -> InvalidURI:
    if not host or _SERVER.fullmatch(host):
        return InvalidURI(
            f"{name!r} names a server: give alluxio:///FOLDER/FILE, and the server by the setting `files` "
            "(ALLUXIO_LANCE_FILES, or alluxio-lance.toml)",
            uri=name,
        )
    return InvalidURI(f"{name!r} is a resource and no file: {_DOORS}", uri=name)
