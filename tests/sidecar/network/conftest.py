"""Certificates that a test's own authority signs, and settings of a node that listens on the network."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from alluxio_lance.sidecar.settings import Settings


class Authority:
    """Signs certificates for this host, and writes them as PEM files."""

    def __init__(self, folder, name):
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = self._write("authority.pem", self._signed(self._name, self._key).public_bytes(Encoding.PEM))

    def sign(self, name):
        """Make a key and its certificate; returns the paths of the certificate and the key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._write(f"{name}.pem", certificate.public_bytes(Encoding.PEM)), self._write(f"{name}.key", private)

    def _signed(self, name, key):
        now = datetime.now(UTC)
        local = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=name == self._name, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(local), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name, data):
        path = self._folder / name
        path.write_bytes(data)
        return path


@pytest.fixture
def authority(tmp_path):
    """An authority."""
    return Authority(tmp_path / "ours", "ours")


@pytest.fixture
def stranger(tmp_path):
    """Another authority."""
    return Authority(tmp_path / "theirs", "theirs")


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """No token and no certificate of whoever runs the tests."""
    for name in ("TOKEN", "CA", "CERTIFICATE", "KEY", "LISTEN", "ADDRESS"):
        monkeypatch.delenv(f"ALLUXIO_LANCE_{name}", raising=False)


@pytest.fixture
def configured(tmp_path):
    """Make settings."""

    def configured(**options):
        return Settings(
            **{
                "root": tmp_path / "root",
                "run_dir": tmp_path / "run",
                "node": "n1",
                "memory_budget": "64MiB",
                **options,
            }
        )

    return configured
