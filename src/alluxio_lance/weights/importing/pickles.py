"""Pickles, told by their names and by their first bytes: reading one runs whatever code it brings."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["is_pickle", "refuse_pickle"]

_TORCH: Final = frozenset({".pt", ".pth", ".bin", ".ckpt"})
_SUFFIXES: Final = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})
"""Of names that mean a pickle whatever the bytes are; ``.bin`` means too much else for that."""
_START: Final = re.compile(rb"\x80[\x02-\x05]")
"""PROTO, with the versions since 2. Older pickles have no mark: those are told by their names alone."""
_ZIP: Final = b"PK\x03\x04"


def refuse_pickle(path: Path, name: str) -> None:
    """Refuse a file that is a pickle or holds one.

    Raises
    ------
    InvalidArgument
        With the call that reads those of PyTorch.
    """
    if not is_pickle(path):
        return
    suffix = path.suffix.lower()
    remedy = (
        "alluxio.torch.save_model(uri, path) reads what PyTorch wrote, with weights_only=True"
        if suffix in _TORCH
        else "save its arrays as .safetensors or .npz"
    )
    raise InvalidArgument(
        f"{name!r} is a pickle, and reading one can run any code: {remedy}; in a folder it can be excluded"
    )


def is_pickle(path: Path) -> bool:
    """Tell whether a file is a pickle or an archive with one, by its name or its bytes."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    with path.open("rb") as file:
        start = file.read(4)
    if start != _ZIP:
        return _START.match(start) is not None
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
