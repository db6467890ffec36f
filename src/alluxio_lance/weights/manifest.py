"""The manifest of a model: the SHA-256 of every tensor and file, noted as they go by, and checked against their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from alluxio_lance.errors import Corrupt, Internal, InvalidArgument
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.rows import OWN_FOLDER, File, Notes, Tensor
from alluxio_lance.weights.strict_json import read_json

__all__ = ["MANIFEST", "SIGNATURE", "Manifest", "TensorHash", "check_manifest", "with_manifest"]

MANIFEST: Final = f"{OWN_FOLDER}manifest.json"
SIGNATURE: Final = f"{OWN_FOLDER}signature.json"
_OWN: Final = frozenset({MANIFEST, SIGNATURE})
_FORMAT: Final = 1
_HEX_DIGITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHash:
    """What the manifest says of a tensor."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str
    """Of all its bytes, 64 hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What belongs to a model, by hash. Files below ``.alluxio-lance/`` are not in it."""

    tensors: Mapping[str, TensorHash]
    files: Mapping[str, str]
    notes: str

    def to_json(self) -> bytes:
        """Write it; the same manifest is the same bytes, which is what a signature is over."""
        tensors = {
            name: {"dtype": each.dtype, "shape": list(each.shape), "sha256": each.sha256}
            for name, each in self.tensors.items()
        }
        record = {"format": _FORMAT, "tensors": tensors, "files": dict(self.files), "notes": self.notes}
        return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes | memoryview) -> Manifest:
        """Read one of somebody else's.

        Raises
        ------
        Corrupt
            When it is none, or not in the one form that `to_json` writes.
        """
        text = bytes(text)
        try:
            record = read_json(text)
            found = cls(
                tensors={str(name): _tensor_hash(each) for name, each in record["tensors"].items()},
                files={str(path): _digest(each) for path, each in record["files"].items()},
                notes=_digest(record["notes"]),
            )
            # Two texts with one meaning could be signed apart, and one with a name twice read differently by others.
            as_written = record["format"] == _FORMAT and found.to_json() == text
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(
                f"the manifest of the model is none ({type(error).__name__}: {error}): save it anew"
            ) from error
        if not as_written:
            raise Corrupt(
                f"the manifest of the model is not as this release writes it, format {_FORMAT}: it was edited, "
                "or a later release wrote it"
            )
        return found

    def check_tensor(self, spec: TensorSpec, data: memoryview) -> None:
        """Compare a tensor with what is said of it.

        Raises
        ------
        Corrupt
            When it is not named, or has another type, shape or bytes.
        """
        said = self.tensors.get(spec.name)
        if said is None:
            _fail(f"tensor {spec.name!r}", "is not in the manifest: it was added after that was made")
        if (said.dtype, said.shape) != (spec.dtype, tuple(spec.shape)):
            _fail(
                f"tensor {spec.name!r}",
                f"is {spec.dtype} {list(spec.shape)}, and in the manifest {said.dtype} {list(said.shape)}",
            )
        _compare(f"tensor {spec.name!r}", said.sha256, data)

    def check_file(self, path: str, data: memoryview) -> None:
        """Compare a file with what is said of it; as `check_tensor`."""
        said = self.files.get(path)
        if said is None:
            _fail(f"file {path!r}", "is not in the manifest: it was added after that was made")
        _compare(f"file {path!r}", said, data)


def _tensor_hash(record: Any) -> TensorHash:
    if set(record) != {"dtype", "shape", "sha256"} or not isinstance(record["dtype"], str):
        raise ValueError("a tensor is described by dtype, shape and sha256")
    if not all(type(length) is int for length in record["shape"]):
        raise ValueError("a shape is a list of integers")
    return TensorHash(dtype=record["dtype"], shape=tuple(record["shape"]), sha256=_digest(record["sha256"]))


def _digest(found: Any) -> str:
    if not isinstance(found, str) or len(found) != _HEX_DIGITS or set(found) - set("0123456789abcdef"):
        raise ValueError("a hash has 64 hexadecimal digits")
    return found


def _notes_hash(notes: Notes) -> str:
    # Written and read once: keys that are numbers are sorted as such only the first time.
    return hashlib.sha256(Notes.from_json(notes.to_json()).to_json()).hexdigest()


def _compare(what: str, said: str, data: memoryview) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != said:
        _fail(what, "has other bytes than its manifest says", expected=said, found=found)


def _fail(what: str, fault: str, **details: str) -> NoReturn:
    raise Corrupt(
        f"{what} of the model {fault}: do not use this version, go back to one that verifies", what=what, **details
    )


def with_manifest(
    tensors: Iterable[Tensor],
    files: Iterable[File] = (),
    notes: Notes | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> tuple[list[Tensor], list[File]]:
    """Have a model's parts hashed while they go by, and add the files that tell the hashes.

    An older manifest or signature among the files is left out. Nothing is read here and nothing twice: `source_of`
    takes the added files last.

    Parameters
    ----------
    sign
        Makes the signature file's bytes of the manifest's; see ``client.models.signing``.

    Raises
    ------
    InvalidArgument
        When there are other files below ``.alluxio-lance/``: no manifest would cover them.
    """
    made = _Making(notes or Notes(), sign)
    hashed = [made.tensor(tensor) for tensor in tensors]
    kept = [made.file(file) for file in files if file.path not in _OWN]
    kept.append(File(MANIFEST, made.manifest))
    if sign is not None:
        kept.append(File(SIGNATURE, made.signature))
    return hashed, kept


class _Making:
    """A manifest while it comes together."""

    def __init__(self, notes: Notes, sign: Callable[[bytes], bytes] | None) -> None:
        self._sign = sign
        self._tensors: dict[str, tuple[TensorSpec, _Hash]] = {}
        self._files: dict[str, _Hash] = {}
        self._notes = _notes_hash(notes)

    def tensor(self, tensor: Tensor) -> Tensor:
        made = _Hash()
        self._tensors[tensor.spec.name] = tensor.spec, made
        return Tensor(tensor.spec, tensor.data, made.add)

    def file(self, file: File) -> File:
        if file.path.startswith(OWN_FOLDER):
            raise InvalidArgument(
                f"a model cannot have the file {file.path[:200]!r}: the folder {OWN_FOLDER} is for its manifest and "
                "signature alone"
            )
        self._files[file.path] = made = _Hash()
        return File(file.path, file.data, made.add)

    def manifest(self) -> memoryview:
        return memoryview(self._json())

    def signature(self) -> memoryview:
        assert self._sign is not None
        return memoryview(self._sign(self._json()))

    def _json(self) -> bytes:
        tensors = {
            name: TensorHash(dtype=spec.dtype, shape=tuple(spec.shape), sha256=made.digest())
            for name, (spec, made) in self._tensors.items()
        }
        files = {path: made.digest() for path, made in self._files.items()}
        return Manifest(tensors=tensors, files=files, notes=self._notes).to_json()


class _Hash:
    """The SHA-256 of a part whose pieces come one by one."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: Any = None

    def add(self, piece: memoryview) -> None:
        if self._made is None:
            self._made = hashlib.sha256()
        self._made.update(piece)

    def digest(self) -> str:
        if self._made is None:
            raise Internal("the manifest of a model was asked for before all its parts were read - please report this")
        found: str = self._made.hexdigest()
        return found


def check_manifest(
    manifest: bytes | memoryview,
    tensors: Sequence[Tensor],
    files: Sequence[File],
    notes: Notes,
    *,
    partial: bool = False,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Compare every byte of a model with its manifest.

    Parameters
    ----------
    partial
        What is given is a part of the model: names that only the manifest has are no fault.

    Raises
    ------
    Corrupt
        With the first part that is not as the manifest says, missing, or not named in it.
    """
    said = Manifest.from_json(manifest)
    if said.notes != (found := _notes_hash(notes)):
        _fail("what is noted", "is not what its manifest says", expected=said.notes, found=found)
    covered = [file for file in files if file.path not in _OWN]
    for file in covered:
        if file.path.startswith(OWN_FOLDER):
            _fail(f"file {file.path!r}", "is one that no manifest covers")
    if not partial:
        _check_names("tensor", said.tensors.keys() - {tensor.spec.name for tensor in tensors})
        _check_names("file", said.files.keys() - {file.path for file in covered})
    done, total = 0, sum(tensor.spec.size for tensor in tensors)
    for tensor in tensors:
        said.check_tensor(tensor.spec, tensor.data())
        done += tensor.spec.size
        if on_progress is not None:
            on_progress(Progress(step="verify", bytes=done, total_bytes=total))
    for file in covered:
        said.check_file(file.path, file.data())
    return said


def _check_names(what: str, missing: Iterable[str]) -> None:
    if name := min(missing, default=None):
        _fail(f"{what} {name!r}", "is in the manifest and not in the version")
