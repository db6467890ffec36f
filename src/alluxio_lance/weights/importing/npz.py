"""Archives of numpy, ``.npz``: one array in memory at a time, no pickle, no more bytes than their heads say."""

from __future__ import annotations

import errno
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

import numpy as np

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.elements import NUMPY_CODES
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import Notes, Tensor

__all__ = ["read_npz"]

_ELEMENTS: Final = {code: name for name, code in NUMPY_CODES.items()}
_COMPLEX: Final = "complex128"
"""Stored as pairs of F64, as the notes' views say."""
_COMPLEX_CODE: Final = "c16"
_MAGIC: Final = b"\x93NUMPY"
_LENGTHS: Final = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
"""Bytes that the length of the head takes, by the version of the format."""
_LONGEST_HEAD: Final = 10_000
# What numpy itself writes, and nothing else that Python could evaluate. Python 2 put an L behind its integers.
_HEAD: Final = re.compile(
    r"\{\s*'descr':\s*(?P<descr>'[^']*'|\[.*?\])\s*,\s*'fortran_order':\s*(?P<fortran>True|False)\s*,"
    r"\s*'shape':\s*\((?P<shape>[\dL,\s]*)\)\s*,?\s*\}\s*",
    re.ASCII | re.DOTALL,
)
_LENGTH: Final = re.compile(r"\s*(\d{1,19})L?\s*", re.ASCII)
_SUFFIX: Final = ".npy"
_COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_MOST_INFLATED: Final = 100
_HARMLESS: Final = 1 << 30
"""Bytes that an archive may always inflate to; beyond them ``_MOST_INFLATED`` times its own size."""


def read_npz(path: Path) -> Parts:
    """Make the tensors of a model of an archive's arrays.

    Raises
    ------
    InvalidArgument
        When it is none, is damaged, holds Python objects or texts, or inflates to a multiple of what arrays do.
    """
    with _archive(path) as archive:
        members = archive.infolist()
        _check_members(path, members)
        read = [_tensor(path, archive, member) for member in members]
    views = {tensor.spec.name: _COMPLEX for tensor, is_pair in read if is_pair}
    return Parts(tuple(tensor for tensor, _ in read), (), Notes(views=views))


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    # Encrypted members are a RuntimeError.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # Heads that lead to a place before the file.
        if error.errno != errno.EINVAL:
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InvalidArgument:
    return InvalidArgument(f"{path} is no archive of numpy arrays, or damaged: {error}")


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if not name.endswith(_SUFFIX) or name == _SUFFIX:
            raise InvalidArgument(f"{path} holds {name[:200]!r}: an archive of numpy arrays holds .npy files alone")
        if name in seen:
            raise InvalidArgument(f"{path} holds {name[:200]!r} twice")
        if member.compress_type not in _COMPRESSIONS:
            raise InvalidArgument(f"{path} holds {name[:200]!r} in a compression that numpy does not write")
        seen.add(name)
    inflated = sum(member.file_size for member in members)
    if inflated > max(_HARMLESS, _MOST_INFLATED * path.stat().st_size):
        raise InvalidArgument(
            f"{path} has {path.stat().st_size} bytes and would inflate to {inflated}: "
            "if this is meant, save it without compression, with numpy.savez"
        )


def _tensor(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[Tensor, bool]:
    """Return a tensor, and whether its last dimension is that of a complex number."""
    where = f"array {member.filename[:200]!r} of {path}"
    with archive.open(member) as file:
        head = _head(file, where)
        begin = file.tell()
    name = "F64" if head.is_pair else _ELEMENTS[head.code]
    shape = (*head.shape, 2) if head.is_pair else head.shape
    spec = TensorSpec(name=member.filename.removesuffix(_SUFFIX), dtype=name, shape=shape)
    if member.file_size - begin != spec.size:
        raise InvalidArgument(
            f"{where} has {member.file_size - begin} bytes, and by its shape {spec.size}: the archive is damaged"
        )
    return Tensor(spec, partial(_data, path, member.filename)), head.is_pair


@dataclass(frozen=True, slots=True)
class _Head:
    """What an array says of itself."""

    code: str
    big_endian: bool
    fortran: bool
    shape: tuple[int, ...]

    @property
    def is_pair(self) -> bool:
        return self.code == _COMPLEX_CODE


def _head(file: IO[bytes], where: str) -> _Head:
    magic = file.read(len(_MAGIC) + 2)
    width = _LENGTHS.get(magic[len(_MAGIC) :])
    if not magic.startswith(_MAGIC) or width is None:
        raise InvalidArgument(f"{where} is no array of numpy")
    size = int.from_bytes(file.read(width), "little")
    text = file.read(min(size, _LONGEST_HEAD)).decode("latin-1")
    match = _HEAD.fullmatch(text) if size <= _LONGEST_HEAD else None
    if match is None:
        raise InvalidArgument(f"{where} is no array of numpy: its head is not what numpy writes")
    descr = match["descr"].strip("'")
    code = descr.lstrip("<>|=")
    if code == "O":
        raise InvalidArgument(f"{where} holds Python objects, as a pickle: save numbers only")
    if code != _COMPLEX_CODE and code not in _ELEMENTS:
        raise InvalidArgument(
            f"{where} has the element type {descr[:40]!r}: tensors have {', '.join(_ELEMENTS)} and {_COMPLEX_CODE}"
        )
    return _Head(code, descr.startswith(">"), match["fortran"] == "True", _shape(match["shape"], where))


def _shape(text: str, where: str) -> tuple[int, ...]:
    lengths = text.split(",")
    if not lengths[-1].strip():
        lengths.pop()
    found = [_LENGTH.fullmatch(length) for length in lengths]
    if None in found:
        raise InvalidArgument(f"{where} has the shape ({text[:200]}), which is none")
    return tuple(int(match[1]) for match in found if match)


def _data(path: Path, name: str) -> memoryview:
    where = f"array {name[:200]!r} of {path}"
    with _archive(path) as archive, archive.open(name) as file:
        head = _head(file, where)
        dtype = np.dtype(f"{'>' if head.big_endian else '<'}{head.code}")
        data = np.empty(math.prod(head.shape), dtype)
        raw = data.view(np.uint8).data if data.size else memoryview(b"")
        read = 0
        while read < len(raw):
            if not (count := file.readinto(raw[read:])):  # type: ignore[attr-defined]  # ZipExtFile has it
                raise InvalidArgument(f"{where} ends too early: the archive is damaged")
            read += count
        # Only the read past the end compares the checksum.
        file.read(1)
    array = data.reshape(head.shape[::-1]).T if head.fortran else data
    flat = np.ascontiguousarray(array, dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")
