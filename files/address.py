"""The address of an Alluxio, and of a folder in it."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

from alluxio_lance.errors import InvalidArgument

__all__ = ["AlluxioAddress"]

_SCHEME: Final = "alluxio"
_MASTER: Final = 19998
_PROXY: Final = 39999
_WORKER: Final = 30000
_USER: Final = re.compile(r"[!-+\-.0-~]+")
"""Alluxio's S3 service reads the user out of a header, between other words: printable, without comma and slash."""
_PORTS: Final = range(1, 1 << 16)
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GRAMMAR: Final = "alluxio://HOST[:19998]/FOLDER[/FOLDER…][?proxy=39999&worker=30000]"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlluxioAddress:
    """A folder of which Alluxio's namespace."""

    host: str
    master: int = _MASTER
    proxy: int = _PROXY
    worker: int = _WORKER
    """The web port of a worker on this node, which tells where its block files lie; there may be none."""
    folder: str
    """Absolute in the namespace. For tables at least one level deep: the first one is the bucket of the S3 service."""
    user: str
    """Who acts, as Alluxio knows users."""

    @classmethod
    def parse(cls, text: str, *, tables: bool = True) -> Self:
        """Read ``alluxio://HOST:19998/FOLDER?proxy=39999&worker=30000&user=NAME``.

        Parameters
        ----------
        tables
            Whether the folder is to hold tables; else it may be the whole namespace, and its names any.

        Raises
        ------
        InvalidArgument
            With the grammar.
        """
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise InvalidArgument(f"{text!r} is no address ({error}): give {_GRAMMAR}") from None
        folder = parts.path.strip("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = set(query) - {"proxy", "worker", "user"}
        try:
            master = parts.port or _MASTER
        except ValueError:
            raise InvalidArgument(f"{text!r} names no port behind the host: give {_GRAMMAR}") from None
        proxy, worker = (_port(text, query, name, usual) for name, usual in (("proxy", _PROXY), ("worker", _WORKER)))
        if wrong := [port for port in (master, proxy, worker) if port not in _PORTS]:
            raise InvalidArgument(
                f"{text!r} names the port {wrong[0]}, and there are 1 to {_PORTS[-1]}: give {_GRAMMAR}"
            )
        user = query.get("user") or getpass.getuser()
        if not _USER.fullmatch(user):
            raise InvalidArgument(
                f"Alluxio cannot be told the user {user!r}: give one of ASCII letters, without comma and slash, as in ?user=NAME"
            )
        if parts.scheme != _SCHEME or not parts.hostname or unknown:
            what = f"has the unknown option {min(unknown)!r}" if unknown else "is no store in Alluxio"
            raise InvalidArgument(f"{text!r} {what}: give {_GRAMMAR}")
        if tables and (not folder or not all(_PART.fullmatch(part) for part in folder.split("/"))):
            raise InvalidArgument(
                f"{text!r} names no folder for the tables: give one of letters, digits, '.', '_' and '-', as in {_GRAMMAR}"
            )
        return cls(
            host=parts.hostname,
            master=master,
            proxy=proxy,
            worker=worker,
            folder=f"/{folder}",
            user=user,
        )

    @property
    def s3(self) -> str:
        """The S3 service of the proxy."""
        return f"http://{self.host}:{self.proxy}/api/v1/s3"

    @property
    def authorization(self) -> str:
        """The header by which that service knows the user: it reads him out of the signature and does not verify it."""
        scope = f"{self.user}/20000101/us-east-1/s3/aws4_request"
        return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


def _port(text: str, query: Mapping[str, str], name: str, usual: int) -> int:
    said = query.get(name, str(usual))
    if not (said.isascii() and said.isdigit()):
        raise InvalidArgument(f"{text!r} has {name}={said}, which is no port: give {_GRAMMAR}")
    return int(said)
