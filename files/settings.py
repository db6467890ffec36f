"""Which Alluxio plain files are in: an argument, ``ALLUXIO_LANCE_FILES``, ``alluxio-lance.toml``, else the one on this node."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.files.address import AlluxioAddress

__all__ = ["find_address"]

_PREFIX: Final = "ALLUXIO_LANCE_"
_FILE: Final = "alluxio-lance.toml"
_HERE: Final = "alluxio://localhost/"


def find_address(given: str | None = None) -> AlluxioAddress:
    """Find out where the Alluxio of plain files is.

    Asked in this order: ``given``, ``ALLUXIO_LANCE_FILES``, the key ``files`` in ``alluxio-lance.toml``, the Alluxio
    that the store of tables is in (``ALLUXIO_LANCE_STORE``, the key ``store``), and the usual ports of this node. The
    file is the one that ``ALLUXIO_LANCE_CONFIG`` names, else the one in the working folder, else the one in
    ``~/.config/alluxio-lance``. A folder in the address says nothing here: paths of files begin at the root.

    Raises
    ------
    InvalidArgument
        When an address, or the file, cannot be used; the sentence says where it was read.
    """
    text, source = _find(given)
    try:
        found = AlluxioAddress.parse(text, tables=False)
    except InvalidArgument as error:
        raise InvalidArgument(f"{source}: {error.message}") from None
    return replace(found, folder="/")


def _find(given: str | None) -> tuple[str, str]:
    if given:
        return given, "the address of Alluxio"
    if text := os.environ.get(f"{_PREFIX}FILES"):
        return text, f"{_PREFIX}FILES"
    path = _configuration()
    written = {} if path is None else _read(path)
    if text := _text(written, "files", path):
        return text, f"the key `files` of {path}"
    for text, source in (
        (os.environ.get(f"{_PREFIX}STORE", ""), f"{_PREFIX}STORE"),
        (_text(written, "store", path), f"the key `store` of {path}"),
    ):
        # A store elsewhere says nothing of files in Alluxio.
        if text:
            return (text, source) if text.startswith("alluxio://") else (_HERE, "the default")
    return _HERE, "the default"


def _configuration() -> Path | None:
    if named := os.environ.get(f"{_PREFIX}CONFIG"):
        path = Path(named).expanduser()
        if not path.is_file():
            raise InvalidArgument(f"{_PREFIX}CONFIG names {path}, and there is no such file - correct or unset it")
        return path
    candidates = (Path(_FILE), Path("~/.config/alluxio-lance").expanduser() / _FILE)
    return next((path.absolute() for path in candidates if path.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is no TOML: {error}") from None


def _text(written: dict[str, Any], key: str, path: Path | None) -> str:
    value = written.get(key, "")
    if not isinstance(value, str):
        raise InvalidArgument(f"the key `{key}` of {path} is no text: give alluxio://HOST[:19998]/")
    return value
