"""The way in over the network: a TCP port beside the Unix socket, with TLS wherever others could listen."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import structlog

from alluxio_lance.address import RemoteAddress, is_loopback
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.sidecar.settings import Settings

__all__ = ["listen"]

_log = structlog.get_logger(__name__)


def listen(server: grpc.Server, settings: Settings) -> RemoteAddress | None:
    """Let a server listen on ``settings.listen`` too.

    Returns
    -------
    RemoteAddress or None
        Where it can be reached, with the port that it got; None when nothing was asked for.

    Raises
    ------
    InvalidArgument
        When the certificates cannot be used, or others could read the tokens on their way.
    Unavailable
        When the port cannot be listened on.
    """
    if settings.listen is None:
        return None
    credentials = _credentials(settings)
    host, port = settings.listen
    if credentials is None and not is_loopback(host):
        raise InvalidArgument(
            f"listen = {host}:{port} can be reached from other hosts, and without TLS they could read the tokens of all "
            "callers - set tls_certificate and tls_key (ALLUXIO_LANCE_TLS_CERTIFICATE, ALLUXIO_LANCE_TLS_KEY), or listen "
            "on 127.0.0.1"
        )
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(target) if credentials is None else server.add_secure_port(target, credentials)
    except RuntimeError as error:
        raise Unavailable(
            f"{target} cannot be listened on ({error}) - free the port, or set another one (listen, ALLUXIO_LANCE_LISTEN)",
            what="listen",
        ) from error
    return RemoteAddress(host, bound, credentials is not None)


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    certificate, key, authority = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None:
        raise InvalidArgument(
            "TLS needs both tls_certificate and tls_key (ALLUXIO_LANCE_TLS_CERTIFICATE, ALLUXIO_LANCE_TLS_KEY) - set both"
        )
    files = _Files(certificate, key, authority)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.renewed,  # type: ignore[arg-type] # gRPC takes None for "no change"; its stubs do not know
        require_client_authentication=authority is not None,
    )


class _Files:
    """The certificates, read anew when a file has changed."""

    def __init__(self, certificate: Path, key: Path, authority: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._authority = authority
        self._seen: tuple[tuple[int, int], ...] = ()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read them.

        Raises
        ------
        InvalidArgument
            When they are no certificate with its key.
        """
        try:
            seen = self._stamps()
            _check(self._certificate, self._key, self._authority)
            pair = self._key.read_bytes(), self._certificate.read_bytes()
            authority = None if self._authority is None else self._authority.read_bytes()
        except (OSError, ValueError) as error:
            raise InvalidArgument(
                f"the certificate {self._certificate} with the key {self._key} cannot be used "
                f"({error.strerror if isinstance(error, OSError) else error}) - give PEM files that belong together, "
                "the key without a password"
            ) from error
        self._seen = seen
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Read them again if they have changed; gRPC asks before each handshake, and keeps what it has on None."""
        try:
            return None if self._stamps() == self._seen else self.read()
        except (OSError, InvalidArgument) as error:
            _log.warning("the renewed certificate is not taken", reason=str(error))
            return None

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        files = (self._certificate, self._key, *([self._authority] if self._authority else []))
        return tuple((facts.st_mtime_ns, facts.st_ino) for facts in (file.stat() for file in files))


def _check(certificate: Path, key: Path, authority: Path | None) -> None:
    """Let OpenSSL judge: what gRPC says about bad files is only in its log."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # An empty password instead of a question on the terminal.
    context.load_cert_chain(certificate, key, password="")
    if authority is not None:
        context.load_verify_locations(authority)
