"""Models as files again: a safetensors file, a folder, or an archive of numpy arrays; whole under its name, or not there.

What is made has another name, ``.NAME.RANDOM.tmp`` beside it, until every byte is on the disk: a process that is killed
leaves that one behind, and nothing under the name that was asked for.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress
from alluxio_lance.weights.elements import NUMPY_CODES
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.paths import check_paths
from alluxio_lance.weights.rows import Tensor

__all__ = ["MODEL_FILE", "export_file", "export_folder", "export_npz"]

MODEL_FILE: Final = "model.safetensors"
"""The file with all tensors in an exported folder, under the name that readers of such folders look for."""
_STEP: Final = 64 << 20
_NO_SENDFILE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NUMPY_TYPES: Final = {name: np.dtype(f"<{code}") for name, code in NUMPY_CODES.items()}


def export_file(
    descriptor: int, length: int, path: Path, *, overwrite: bool = False, on_progress: OnProgress | None = None
) -> None:
    """Write the safetensors file of a mapped model, byte for byte.

    Parameters
    ----------
    descriptor, length
        The memory with its tensors, and its bytes.
    overwrite
        Replace what is there under this name.

    Raises
    ------
    AlreadyExists
        When something is there, and shall not be replaced.
    """
    with _new(path, overwrite=overwrite) as temporary:
        _write(temporary, lambda target: _copy(descriptor, length, target, on_progress))


def export_folder(
    descriptor: int | None,
    length: int,
    files: Mapping[str, memoryview],
    path: Path,
    *,
    on_progress: OnProgress | None = None,
) -> None:
    """Write a folder with the model's files and, unless the descriptor is None, ``model.safetensors``.

    Raises
    ------
    AlreadyExists
        When something is there: a folder is not replaced.
    InvalidArgument
        When a file has the name of the tensors' file.
    """
    names = [*files, *([] if descriptor is None else [MODEL_FILE])]
    check_paths(names)
    with _new(path, overwrite=False) as temporary:
        temporary.mkdir()
        for name, data in files.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, partial(_put, data))
        if descriptor is not None:
            _write(temporary / MODEL_FILE, lambda target: _copy(descriptor, length, target, on_progress))
        for folder, _, _ in os.walk(temporary):
            _sync(Path(folder))


def export_npz(
    tensors: Iterable[Tensor],
    path: Path,
    views: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> None:
    """Write an archive of numpy arrays, without compression.

    Parameters
    ----------
    views
        As in `Notes`: what is noted as ``complex128`` becomes that again.

    Raises
    ------
    AlreadyExists
        When something is there, and shall not be replaced.
    InvalidArgument
        When numpy has no such element type, or a name cannot stand in an archive.
    """
    wanted = [(tensor, _numpy_head(tensor.spec, (views or {}).get(tensor.spec.name))) for tensor in tensors]
    check_paths(f"{tensor.spec.name}.npy" for tensor, _ in wanted)
    total, done = sum(tensor.spec.size for tensor, _ in wanted), 0
    with _new(path, overwrite=overwrite) as temporary:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
            for tensor, head in wanted:
                with archive.open(f"{tensor.spec.name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, head)
                    member.write(tensor.data())
                done += tensor.spec.size
                if on_progress is not None:
                    on_progress(Progress(step="export", bytes=done, total_bytes=total))
        _sync(temporary)


def _numpy_head(spec: TensorSpec, view: str | None) -> dict[str, Any]:
    if view == "complex128" and spec.dtype == "F64" and spec.shape[-1:] == (2,):
        return {"descr": "<c16", "fortran_order": False, "shape": spec.shape[:-1]}
    if spec.dtype not in _NUMPY_TYPES:
        raise InvalidArgument(f"tensor {spec.name!r} is {spec.dtype}, which numpy does not have: export safetensors")
    return {"descr": _NUMPY_TYPES[spec.dtype].str, "fortran_order": False, "shape": spec.shape}


@contextmanager
def _new(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a name beside ``path``; what the block makes under it becomes ``path``, or is removed when it fails."""
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}: make it first")
    if os.path.lexists(path) and (path.is_dir() or not overwrite):
        advice = "choose another name" if path.is_dir() else "choose another name, or overwrite it"
        raise AlreadyExists(f"{path} is there already: {advice}")
    # A name may have 255 bytes, of which characters take up to four.
    short = os.fsdecode(os.fsencode(path.name)[:200])
    temporary = path.with_name(f".{short}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        # A file or folder that came there meanwhile: only what was to be overwritten is.
        if overwrite or not os.path.lexists(path):
            temporary.rename(path)
        else:
            raise AlreadyExists(f"{path} is there already: somebody made it meanwhile")
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _write(path: Path, put: Callable[[int], None]) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        put(target)
        os.fsync(target)
    finally:
        os.close(target)


def _put(data: memoryview, target: int) -> None:
    written = 0
    while written < len(data):
        written += os.write(target, data[written : written + _STEP])


def _copy(source: int, length: int, target: int, on_progress: OnProgress | None) -> None:
    done = 0
    while done < length:
        done += _step(source, target, done, min(_STEP, length - done))
        if on_progress is not None:
            on_progress(Progress(step="export", bytes=done, total_bytes=length))


def _step(source: int, target: int, offset: int, size: int) -> int:
    try:
        sent = os.sendfile(target, source, offset, size)
    except OSError as error:
        # Some kernels do not send memory of huge pages, some file systems take nothing that is sent.
        if error.errno not in _NO_SENDFILE:
            raise
        data = os.pread(source, size, offset)
        _put(memoryview(data), target)
        sent = len(data)
    if not sent:
        raise InvalidArgument(f"the memory of the model ends at byte {offset}, before its own length")
    return sent


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
