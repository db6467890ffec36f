"""Signatures of models: Ed25519 over the manifest, which has the hash of every tensor and file.

A signature says who made these bytes; not under which name or as which version they are served. Keys are PEM files as
OpenSSL writes and reads them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.saving import save
from alluxio_lance.client.models.verifying import check_bytes, manifest_of, parts_of
from alluxio_lance.errors import AlreadyExists, Conflict, Corrupt, InvalidArgument, NotFound, Unavailable
from alluxio_lance.manager import OnProgress, ResourceManager
from alluxio_lance.values import Version
from alluxio_lance.weights.manifest import MANIFEST, SIGNATURE
from alluxio_lance.weights.strict_json import read_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["Verified", "make_key", "sign_active", "signed_by", "signer", "verify"]

_FORMAT: Final = 1
_ALGORITHM: Final = "ed25519"
_KEY_BYTES: Final = 32
_KEYS: Final = frozenset({"format", "algorithm", "public_key", "signature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was compared with the manifest, and found to be so."""

    tensors: int
    files: int
    num_bytes: int
    """Bytes of the tensors."""
    signed_by: str | None
    """The fingerprint of the key whose signature it has, ``SHA256:…``; None when it has none."""
    trusted: bool
    """Whether that key is the one that was given."""


def make_key(path: Path) -> tuple[Path, str]:
    """Make a key pair: the private key in a file that its owner alone can read, the public one beside it, ``.pub``.

    Returns
    -------
    tuple
        The path of the public key and its fingerprint.

    Raises
    ------
    AlreadyExists
        When one of the two is there: a key that is overwritten is lost.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - optional

    public_path = path.with_name(f"{path.name}.pub")
    for each in (path, public_path):
        if os.path.lexists(each):
            raise AlreadyExists(f"{each} is there already: a key is never overwritten, choose another name")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    # The private one last: a process that is killed between the two leaves no key that nobody can verify.
    _create(public_path, public, 0o644)
    try:
        _create(path, private, 0o600)
    except BaseException:
        public_path.unlink()
        raise
    return public_path, _fingerprint(key.public_key())


def _create(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError as error:
        raise AlreadyExists(f"{path} is there already: a key is never overwritten, choose another name") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        # Half a key is none, and would be in the way of the next attempt.
        path.unlink()
        raise


def signer(path: Path) -> Callable[[bytes], bytes]:
    """Return what makes the signature file of a manifest, with the private key of a file.

    Raises
    ------
    NotFound
        When there is no such file.
    InvalidArgument
        When it is no private key of Ed25519, or one behind a password.
    """
    return partial(_sign, _private_key(path))


def _sign(key: Ed25519PrivateKey, manifest: bytes) -> bytes:
    record = {
        "format": _FORMAT,
        "algorithm": _ALGORITHM,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "signature": base64.b64encode(key.sign(manifest)).decode(),
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def sign_active(
    model: MappedModel,
    sign: Callable[[bytes], bytes],
    manager: ResourceManager,
    *,
    message: str = "",
    activate: bool = True,
    on_progress: OnProgress | None = None,
) -> Version:
    """Make of the active version of a model another one, a patch, that has a signature and is the same besides.

    It is verified first; metadata, provenance and metrics come along. The new version becomes active only when it
    continues from the one that was signed: nothing that somebody else saves meanwhile is replaced by older bytes.

    Parameters
    ----------
    model
        The active version, mapped with all parts.
    sign
        Of `signer`.

    Raises
    ------
    Conflict
        When another version became active meanwhile; a version that was made already is kept aside.
    Corrupt
        As `verify`.
    PolicyDenied
        When a gate on activation says no; the version is there.
    """
    layout = model.layout
    verify(model, on_progress=on_progress)
    before = manager.find_version(layout.type, layout.name)
    if before.semver != layout.semver:
        raise Conflict(f"{before.uri} became active meanwhile: sign that one")
    tensors, files = parts_of(model)
    made = save(
        f"alluxio://{layout.type}/{layout.name}",
        tensors,
        files,
        model.notes,
        bump="patch",
        message=message or f"signed {layout.semver}",
        provenance=before.provenance,
        metrics=before.metrics,
        activate=False,
        sign=sign,
        manager=manager,
        on_progress=on_progress,
    )
    if not activate:
        return made
    events = manager.history(layout.type, layout.name)
    continued = next((event.before for event in reversed(events) if event.operation == made.operation), None)
    if continued != str(before):
        raise Conflict(
            f"another version of {layout.type}/{layout.name} became active while {layout.semver} was signed: "
            f"{made.semver} is kept aside, sign again"
        )
    return manager.activate_resource(layout.type, layout.name, made.semver, message=made.message)


def signed_by(model: MappedModel) -> str | None:
    """Return the fingerprint of the key that a version says it is signed by, unchecked; None when it has no signature.

    Raises
    ------
    Corrupt
        When its signature is none.
    """
    written = model.files.get(SIGNATURE)
    return None if written is None else _digest(_read_signature(model.uri, written)[0])


def verify(model: MappedModel, public_key: Path | None = None, *, on_progress: OnProgress | None = None) -> Verified:
    """Compare every byte of a model with its manifest, and its signature with the manifest and a key.

    Parameters
    ----------
    public_key
        The file of the key that must have signed it. Without one a signature is still checked, with the key that it
        brings along: that says that it fits, not whose it is.

    Raises
    ------
    Corrupt
        With the first thing that is not as it should be.
    """
    expected = None if public_key is None else _public_key(public_key)
    files = model.files
    key = _signing_key(model.uri, manifest_of(model), files.get(SIGNATURE), expected)
    check_bytes(model, on_progress=on_progress)
    return Verified(
        tensors=len(model.tensors),
        files=len(files.keys() - {MANIFEST, SIGNATURE}),
        num_bytes=sum(placed.size for placed in model.tensors.values()),
        signed_by=None if key is None else _fingerprint(key),
        trusted=expected is not None,
    )


def _signing_key(
    uri: str, manifest: memoryview, written: memoryview | None, expected: Ed25519PublicKey | None
) -> Ed25519PublicKey | None:
    if written is None:
        if expected is not None:
            raise Corrupt(f"{uri} is not signed: a signature that it had was taken away, or it never had one")
        return None
    _serialization()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - optional

    raw, signature = _read_signature(uri, written)
    key = Ed25519PublicKey.from_public_bytes(raw)
    if expected is not None and key != expected:
        raise Corrupt(
            f"{uri} is signed by another key, {_fingerprint(key)}, than the one given, {_fingerprint(expected)}",
            expected=_fingerprint(expected),
            found=_fingerprint(key),
        )
    try:
        key.verify(signature, bytes(manifest))
    except InvalidSignature as error:
        raise Corrupt(f"the signature of {uri} is of another manifest: do not use this version") from error
    return key


def _read_signature(uri: str, written: memoryview) -> tuple[bytes, bytes]:
    """Return the public key and the signature."""
    try:
        record: Any = read_json(bytes(written))
        if set(record) != _KEYS or record["format"] != _FORMAT or record["algorithm"] != _ALGORITHM:
            raise ValueError("it has other fields than this release knows")
        key, signature = (base64.b64decode(record[name], validate=True) for name in ("public_key", "signature"))
        if len(key) != _KEY_BYTES:
            raise ValueError(f"a key has {_KEY_BYTES} bytes")
    except (ValueError, TypeError) as error:
        raise Corrupt(f"the signature of {uri} is none ({error}): do not use this version") from error
    return key, signature


def _fingerprint(key: Ed25519PublicKey) -> str:
    return _digest(key.public_bytes_raw())


def _digest(raw: bytes) -> str:
    return f"SHA256:{base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip('=')}"


def _private_key(path: Path) -> Ed25519PrivateKey:
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - optional

    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except TypeError as error:
        raise InvalidArgument(f"{path} is a key behind a password: give one without, in a file of mode 600") from error
    except ValueError as error:
        raise InvalidArgument(f"{path} is no private key in PEM: `alluxio-lance model key FILE` makes one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidArgument(f"{path} is no key of Ed25519: `alluxio-lance model key FILE` makes one")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - optional

    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise InvalidArgument(f"{path} is no public key in PEM: the one of a pair ends in .pub") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidArgument(f"{path} is no key of Ed25519: `alluxio-lance model key FILE` makes one")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no key {path}: `alluxio-lance model key FILE` makes one") from error


def _serialization() -> ModuleType:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - optional
    except ImportError as error:
        raise Unavailable(
            "signatures need the package cryptography: pip install 'alluxio-lance[signing]'", what="cryptography"
        ) from error
    return serialization
