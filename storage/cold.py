"""The cold tier by its address: a folder, or a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.storage.local import LocalRoot
from alluxio_lance.storage.place import Place

__all__ = ["open_cold"]


def open_cold(address: str | PathLike[str], options: Mapping[str, str] | None = None) -> Place:
    """Open the place of archived versions; nothing is created or reached before it is used.

    Raises
    ------
    InvalidArgument
        When the address or an option cannot be used.
    """
    text = fspath(address)
    if text.startswith("s3://"):
        from alluxio_lance.storage.s3 import S3Bucket  # noqa: PLC0415 - only who has a bucket pays for its client

        return S3Bucket.open(text, options or {})
    if "://" in text:
        raise InvalidArgument(f"the cold tier {text} is of no known kind: give a folder, or s3://BUCKET/PREFIX")
    if options:
        raise InvalidArgument(
            f"the cold tier {text} is a folder and takes no options, such as {next(iter(options))!r}: "
            "leave them out, or give s3://BUCKET/PREFIX"
        )
    return LocalRoot(Path(text).expanduser(), lazy=True)
