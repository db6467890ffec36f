"""Folders of a model: safetensors files that are one set of tensors, and what lies beside them, as files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.importing.mapped import mapped_file
from alluxio_lance.weights.importing.pickles import refuse_pickle
from alluxio_lance.weights.importing.safetensors import read_safetensors
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.paths import check_paths
from alluxio_lance.weights.rows import Notes, Tensor
from alluxio_lance.weights.strict_json import read_json

__all__ = ["read_folder"]

_SUFFIX: Final = ".safetensors"
_INDEX: Final = ".safetensors.index.json"
_LONGEST_INDEX: Final = 100_000_000
_NOTES_PARTS: Final = ("tied", "views", "quantized", "extra")


def read_folder(folder: Path, exclude: Sequence[str] = ()) -> Parts:
    """Make the parts of a model of a folder.

    The safetensors files directly in it are its tensors: those that its index names, if it has one, else all. All else
    is a file, safetensors files in folders below too. Names that begin with a dot are left out.

    Raises
    ------
    InvalidArgument
        When it holds a pickle, a link out of it, a special file, the same tensor twice, or other tensors than its index
        says.
    """
    root = folder.resolve()
    paths = dict(_walk(root, exclude))
    if not paths:
        raise InvalidArgument(f"{folder} holds no file of a model")
    check_paths(paths)
    index = _index(root, paths)
    shards = [name for name in paths if "/" not in name and name.endswith(_SUFFIX)] if index is None else index[1]
    read = {name: read_safetensors(paths[name]) for name in shards}
    tensors = _tensors(folder, read)
    left_out = set(shards)
    if index is not None:
        _check_index(folder, index[0], index[2], read)
        left_out.add(index[0])
    files = [(name, path) for name, path in paths.items() if name not in left_out]
    for name, path in files:
        refuse_pickle(path, name)
    return Parts(
        tensors, tuple(mapped_file(path, name) for name, path in files), _notes([each.notes for each in read.values()])
    )


def _walk(root: Path, exclude: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder that are not excluded, by their paths within it, in order."""
    for place, folders, names in os.walk(root, onerror=_raise):
        within = Path(place).relative_to(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if Path(place, name).is_symlink() and not _is_excluded((within / name).as_posix(), exclude):
                raise InvalidArgument(
                    f"{Path(place, name)} is a link to a folder: exclude it, or copy the model with `cp -rL` and save the copy"
                )
        for name in sorted(names):
            path = (within / name).as_posix()
            if not name.startswith(".") and not _is_excluded(path, exclude):
                yield path, _checked(root, Path(place, name))


def _is_excluded(path: str, exclude: Sequence[str]) -> bool:
    return any(fnmatchcase(path, each) for each in exclude)


def _raise(error: OSError) -> None:
    raise error


def _checked(root: Path, path: Path) -> Path:
    try:
        found = path.resolve(strict=True)
    # Before Python 3.13 links in a circle are a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise InvalidArgument(f"{path} is a link that leads nowhere: mend or exclude it") from error
    if not found.is_relative_to(root):
        raise InvalidArgument(f"{path} is a link out of the folder: copy the model with `cp -rL` and save the copy")
    if not stat.S_ISREG(found.stat().st_mode):
        raise InvalidArgument(f"{path} is no plain file: a model has files only")
    return found


def _index(root: Path, paths: Mapping[str, Path]) -> tuple[str, list[str], Mapping[str, str]] | None:
    """Return the name of the folder's index, the shards and where each tensor is; None when it has none."""
    found = [name for name in paths if "/" not in name and name.endswith(_INDEX)]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidArgument(f"{root} has the indexes {' and '.join(found)}: exclude all but one, with its shards")
    (name,) = found
    if paths[name].stat().st_size > _LONGEST_INDEX:
        raise InvalidArgument(f"{root / name} is no index: it has more than {_LONGEST_INDEX} bytes")
    try:
        record = read_json(paths[name].read_bytes())
        where: Any = record["weight_map"]
        shards = sorted({str(shard) for shard in where.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"{root / name} is no index of safetensors files ({error})") from error
    for shard in shards:
        if "/" in shard or not shard.endswith(_SUFFIX) or shard not in paths:
            raise InvalidArgument(f"{root / name} names the shard {shard[:200]!r}, which is not in the folder")
    return name, shards, where


def _tensors(folder: Path, read: Mapping[str, Parts]) -> tuple[Tensor, ...]:
    seen: dict[str, str] = {}
    for shard, parts in read.items():
        for tensor in parts.tensors:
            name = tensor.spec.name
            if name in seen:
                raise InvalidArgument(
                    f"tensor {name[:200]!r} is in {seen[name]} and in {shard} of {folder}: exclude one, or save two models"
                )
            seen[name] = shard
    return tuple(tensor for parts in read.values() for tensor in parts.tensors)


def _check_index(folder: Path, name: str, where: Mapping[str, str], read: Mapping[str, Parts]) -> None:
    there = {tensor.spec.name: shard for shard, parts in read.items() for tensor in parts.tensors}
    for tensor, shard in where.items():
        if there.get(tensor) != shard:
            raise InvalidArgument(f"{folder / name} says that tensor {tensor[:200]!r} is in {shard}, and it is not")
    for tensor, shard in there.items():
        if tensor not in where:
            raise InvalidArgument(f"{folder / name} does not name tensor {tensor[:200]!r}, which is in {shard}")


def _notes(found: Sequence[Notes]) -> Notes:
    """Join the notes of shards; what two say differently, the first says."""
    merged: dict[str, dict[str, Any]] = {part: {} for part in _NOTES_PARTS}
    for notes in reversed(found):
        for part, known in merged.items():
            known.update(getattr(notes, part))
    return Notes(**merged)
