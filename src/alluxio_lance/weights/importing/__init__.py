"""Models from paths, without a framework: safetensors files and folders of them, .npz, and files as they are.

Nothing is read before it is its turn, and no byte is executed: pickles are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.weights.importing.folder import read_folder
from alluxio_lance.weights.importing.mapped import mapped_file
from alluxio_lance.weights.importing.npz import read_npz
from alluxio_lance.weights.importing.pickles import refuse_pickle
from alluxio_lance.weights.importing.safetensors import read_safetensors
from alluxio_lance.weights.parts import Parts

__all__ = ["read_model"]


def read_model(path: str | PathLike[str], *, exclude: Sequence[str] = ()) -> Parts:
    """Make the parts of a model of a file or folder.

    Parameters
    ----------
    path
        A ``.safetensors`` file; a ``.npz`` file; a folder, whose safetensors files, or those that its index names,
        become the tensors and all else files; or one file of another kind (ONNX, GGUF), which is kept as it is.
    exclude
        Patterns of paths within a folder that are left out: ``optimizer.pt``, ``checkpoint-*``.

    Raises
    ------
    NotFound
        When there is no such path.
    InvalidArgument
        When it is or holds a pickle, is damaged, or is no model.
    """
    found = Path(path)
    if not found.exists():
        raise NotFound(f"there is no {found}: give a file or a folder that exists")
    if found.is_dir():
        return read_folder(found, exclude)
    if exclude:
        raise InvalidArgument(f"{found} is one file: what to leave out can be told of a folder alone")
    if not found.is_file():
        raise InvalidArgument(f"{found} is neither a file nor a folder")
    return _READERS.get(found.suffix.lower(), _as_it_is)(found)


def _as_it_is(path: Path) -> Parts:
    refuse_pickle(path, path.name)
    return Parts(files=(mapped_file(path, path.name),))


_READERS: Final[Mapping[str, Callable[[Path], Parts]]] = MappingProxyType(
    {".safetensors": read_safetensors, ".npz": read_npz}
)
