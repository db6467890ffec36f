"""How a client proves who it is, and whom it believes: the token and the certificates that the environment names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from alluxio_lance.address import RemoteAddress, is_loopback
from alluxio_lance.client.token import TOKEN, find_token
from alluxio_lance.errors import InvalidArgument

__all__ = ["Credentials", "Signed"]

_AUTHORITY: Final = "ALLUXIO_LANCE_CA"
_CERTIFICATE: Final = "ALLUXIO_LANCE_CERTIFICATE"
_KEY: Final = "ALLUXIO_LANCE_KEY"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the environment gives; nothing of it is ever shown."""

    token: str | None = field(default=None, repr=False)

    @classmethod
    def find(cls) -> Credentials:
        """Read ``ALLUXIO_LANCE_TOKEN``.

        Raises
        ------
        InvalidArgument
            When it cannot be a token.
        """
        return cls(find_token())

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The entries that go with every call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def open(self, address: RemoteAddress, options: tuple[tuple[str, int], ...]) -> grpc.Channel:
        """Open a channel over the network.

        Raises
        ------
        InvalidArgument
            When others could read the token on its way, or a certificate cannot be read.
        """
        if address.tls:
            return grpc.secure_channel(address.grpc, _certificates(), options=options)
        if self.token is not None and not is_loopback(address.host):
            raise InvalidArgument(
                f"{address} has no TLS, and the token would travel where others can read it - use "
                f"grpcs://, or unset {TOKEN}"
            )
        # A proxy would get the token of a call that stays on this host.
        return grpc.insecure_channel(address.grpc, options=(*options, ("grpc.enable_http_proxy", 0)))


class Signed(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Puts on every call who makes it: the session, the token."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._entries = tuple(entries)

    def _signed(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or ()), *self._entries])

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._signed(client_call_details), request_iterator)


def _certificates() -> grpc.ChannelCredentials:
    certificate, key = _read(_CERTIFICATE), _read(_KEY)
    if (certificate is None) is not (key is None):
        raise InvalidArgument(f"a certificate of the caller needs both {_CERTIFICATE} and {_KEY} - set both, or none")
    return grpc.ssl_channel_credentials(_read(_AUTHORITY), key, certificate)


def _read(variable: str) -> bytes | None:
    path = os.environ.get(variable)
    if not path:
        return None
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"{variable} names {path}, which cannot be read ({error.strerror}) - correct it"
        ) from error
