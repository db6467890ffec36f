"""Signatures: who signed which bytes, and every way in which that is not so."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
import sys

import pytest

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.saving import save
from alluxio_lance.client.models.signing import make_key, sign_active, signed_by, signer, verify
from alluxio_lance.errors import AlreadyExists, Conflict, Corrupt, InvalidArgument, NotFound, Unavailable
from alluxio_lance.manager import ResourceManager
from alluxio_lance.weights.header import TensorSpec
from alluxio_lance.weights.manifest import MANIFEST, SIGNATURE, with_manifest
from alluxio_lance.weights.rows import File, Notes, Tensor, source_of

SPEC = TensorSpec(name="w", dtype="U8", shape=(4,))
FILES = {"config.json": b"{}"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Give two private keys; their public ones lie beside them."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        make_key(folder / name)
    return folder


def stored(data=b"\0\1\2\3", files=FILES, sign=None):
    """Return the files of a model as they are stored."""
    tensors = [Tensor(SPEC, lambda: memoryview(data))]
    given = [File(path, lambda content=content: memoryview(content)) for path, content in files.items()]
    hashed, kept = with_manifest(tensors, given, Notes(), sign)
    rows = source_of(hashed, kept).reader.read_all().to_pylist()
    return {row["name"]: row["data"] for row in rows if row["kind"] == "file"}


@pytest.fixture
def make(make_lease):
    """Return a function that maps a model of one tensor and files."""
    return lambda files, data=b"\0\1\2\3": MappedModel(make_lease({SPEC: data}, files))


def test_a_signed_model_is_whose_it_says(make, keys):
    """With the right key it is trusted; without one the signature is checked, and nobody vouched for."""
    model = make(stored(sign=signer(keys / "mine")))
    verified = verify(model, keys / "mine.pub")
    assert (verified.tensors, verified.files, verified.num_bytes, verified.trusted) == (1, 1, 4, True)
    assert verified.signed_by == signed_by(model)
    assert (verify(model).signed_by, verify(model).trusted) == (verified.signed_by, False)


def test_an_unsigned_model_is_still_checked(make):
    """Against its manifest."""
    model = make(stored())
    assert (verify(model).signed_by, signed_by(model)) == (None, None)


def signature(keys, **change):
    """Return the files of a signed model whose signature was edited."""
    files = stored(sign=signer(keys / "mine"))
    return files | {SIGNATURE: json.dumps(json.loads(files[SIGNATURE]) | change).encode()}


def test_every_fraud_has_its_sentence(make, keys):
    """Bytes, files, manifest, signature and key, each exchanged for another."""
    mine, public = signer(keys / "mine"), keys / "mine.pub"
    signed = stored(sign=mine)
    remade = stored(b"\0\1\2\4")
    cases = [
        (signed, b"\0\1\2\4", public, "tensor 'w' of the model has other bytes"),
        (signed | {"config.json": b"[]"}, None, public, "file 'config.json' of the model has other bytes"),
        (signed | {"evil.py": b""}, None, public, "file 'evil.py' of the model is not in the manifest"),
        ({MANIFEST: signed[MANIFEST], SIGNATURE: signed[SIGNATURE]}, None, public, "is in the manifest and not in"),
        # A new manifest of the new bytes, under the old signature.
        (signed | {MANIFEST: remade[MANIFEST]}, b"\0\1\2\4", public, "is of another manifest"),
        (signed | {MANIFEST: remade[MANIFEST]}, b"\0\1\2\4", None, "is of another manifest"),
        # And a new signature by somebody else.
        (stored(b"\0\1\2\4", sign=signer(keys / "other")), b"\0\1\2\4", public, "is signed by another key, SHA256:"),
        (remade, b"\0\1\2\4", public, "is not signed"),
        (FILES, None, None, "has no manifest"),
        (signature(keys, signature=base64.b64encode(b"\0" * 64).decode()), None, None, "is of another manifest"),
        (signature(keys, signature=""), None, None, "is of another manifest"),
        (signature(keys, signature="no base64"), None, None, "the signature of .* is none"),
        (signature(keys, signature=7), None, None, "the signature of .* is none"),
        (signature(keys, public_key="AAAA"), None, None, "a key has 32 bytes"),
        (signature(keys, algorithm="none"), None, None, "other fields than this release knows"),
        (signature(keys, more=1), None, None, "other fields than this release knows"),
        (signed | {SIGNATURE: b"null"}, None, None, "the signature of .* is none"),
        (signed | {SIGNATURE: b"\xff"}, None, None, "the signature of .* is none"),
    ]
    for files, data, key, message in cases:
        with pytest.raises(Corrupt, match=message) as caught:
            verify(make(files, data or b"\0\1\2\3"), key)
        assert caught.value.exit_code == 1


def test_a_key_is_secret_and_never_overwritten(tmp_path):
    """Nor is the public one of another pair."""
    public, fingerprint = make_key(tmp_path / "key")
    assert fingerprint.startswith("SHA256:")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    before = (tmp_path / "key").read_bytes(), public.read_bytes()
    with pytest.raises(AlreadyExists, match="never overwritten"):
        make_key(tmp_path / "key")
    (tmp_path / "key").unlink()
    with pytest.raises(AlreadyExists, match=r"key\.pub is there already"):
        make_key(tmp_path / "key")
    assert (public.read_bytes(), (tmp_path / "key").exists()) == (before[1], False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"no key", "no private key in PEM"),
        (b"", "no private key in PEM"),
        ("public", "no private key in PEM"),
        ("rsa", "no key of Ed25519"),
        ("locked", "behind a password"),
    ],
)
def test_what_is_no_private_key_is_refused(tmp_path, keys, text, message):
    """With the command that makes one."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    def written(key, lock):
        return key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, lock)

    made = {
        "public": (keys / "mine.pub").read_bytes(),
        "rsa": written(ec.generate_private_key(ec.SECP256R1()), pem.NoEncryption()),
        "locked": written(ed25519.Ed25519PrivateKey.generate(), pem.BestAvailableEncryption(b"x")),
    }
    (tmp_path / "key").write_bytes(made.get(text, text))
    with pytest.raises(InvalidArgument, match=message):
        signer(tmp_path / "key")


def test_what_is_no_public_key_is_refused(make, tmp_path, keys):
    """A private key, too: it shall not be given away."""
    model = make(stored())
    with pytest.raises(InvalidArgument, match=r"no public key in PEM: the one of a pair ends in \.pub"):
        verify(model, keys / "mine")
    with pytest.raises(NotFound, match="there is no key"):
        verify(model, tmp_path / "none")
    with pytest.raises(NotFound, match="there is no key"):
        signer(tmp_path / "none")


def test_openssl_verifies_what_we_sign(tmp_path, keys):
    """The signature is Ed25519 over the bytes of the manifest, the key a PEM: no program of ours is needed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl not found")
    files = stored(sign=signer(keys / "mine"))
    (tmp_path / "manifest").write_bytes(files[MANIFEST])
    (tmp_path / "signature").write_bytes(base64.b64decode(json.loads(files[SIGNATURE])["signature"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys / "mine.pub", "-rawin"]
    command += ["-in", tmp_path / "manifest", "-sigfile", tmp_path / "signature"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in found.stdout, found.stderr


def test_without_cryptography_the_sentence_says_what_to_install(make, keys, monkeypatch, tmp_path):
    """Bytes are verified without it; signatures are not."""
    signed, unsigned = make(stored(sign=signer(keys / "mine"))), make(stored())
    for name in ("cryptography.hazmat.primitives", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    assert verify(unsigned).tensors == 1
    for attempt in (
        lambda: verify(signed),
        lambda: signer(keys / "mine"),
        lambda: make_key(tmp_path / "key"),
        lambda: verify(unsigned, keys / "mine.pub"),
    ):
        with pytest.raises(Unavailable, match="alluxio-lance\\[signing\\]"):
            attempt()
    assert signed_by(signed).startswith("SHA256:")


@pytest.fixture
def manager(tmp_path):
    """Give a store with a model of one version, what is known of it included."""
    with ResourceManager.embedded(tmp_path / "root") as made:
        save_x(made, metadata={"by": "me"}, provenance={"data": "d"}, metrics={"accuracy": 0.9})
        yield made


def save_x(manager, data=b"\0\1\2\3", **options):
    """Save the model whose mapping `make` gives."""
    files = [File(path, lambda content=content: memoryview(content)) for path, content in FILES.items()]
    return save("alluxio://models/x", [Tensor(SPEC, lambda: memoryview(data))], files, manager=manager, **options)


def test_a_signed_version_is_the_same_besides(make, keys, manager):
    """With what is known of it, gates go on seeing; it is active unless that is not wanted."""
    made = sign_active(make(stored()), signer(keys / "mine"), manager)
    assert (made.semver, made.metadata, made.provenance) == ("1.0.1", {"by": "me"}, {"data": "d"})
    assert manager.find_version("models", "x").semver == "1.0.1"
    assert manager.find_version("models", "x").metrics == {"accuracy": 0.9}
    with pytest.raises(Conflict, match=r"x@v\d+ became active meanwhile"):
        sign_active(make(stored()), signer(keys / "mine"), manager)


def test_signing_replaces_nothing_that_comes_in_meanwhile(make, keys, manager, monkeypatch):
    """Neither before its own version is begun nor in its place."""
    look = manager.find_version

    def looked(*args):
        found = look(*args)
        save_x(manager, b"new!")
        return found

    monkeypatch.setattr(manager, "find_version", looked)
    with pytest.raises(Conflict, match=r"1\.1\.1 is kept aside, sign again"):
        sign_active(make(stored()), signer(keys / "mine"), manager)
    assert look("models", "x").semver == "1.1.0"


def test_half_a_key_is_taken_away(tmp_path, monkeypatch):
    """On a full disk: the next attempt finds its names free."""
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        make_key(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []
