"""A bucket of any S3 endpoint as the place of archived versions, reached with the client that Lance has inside."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from typing import IO, Any, Final, Self

import obstore
from blake3 import blake3
from obstore.exceptions import BaseError
from obstore.store import S3Store

from alluxio_lance.errors import Corrupt, InvalidArgument, Unavailable
from alluxio_lance.storage.place import CommitLock, LanceAddress, Look, Near, Patch, check_location, patched
from alluxio_lance.ways import Way

__all__ = ["S3Bucket"]

_ADDRESS: Final = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[^/].*?))?/?")
_CHUNK: Final = 16 << 20
"""Bytes per request: each one is tried again by itself when the connection breaks."""
_ENVIRONMENT: Final = {
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "allow_http": ("AWS_ALLOW_HTTP",),
    "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
    "retry_timeout": (),
}
"""The options, and the usual variables that stand in for those that are not given."""
_REGION: Final = "us-east-1"
"""What endpoints expect that have no regions."""
_RETRY_TIMEOUT: Final = 60.0
_RETRIES: Final = 10
_MANIFESTS: Final = "_versions/"
_BATCH: Final = 1000
"""Objects that S3 removes with one request."""
_NO_BUCKET: Final = "NoSuchBucket"
_ADVICE: Final = (
    (re.compile(_NO_BUCKET), "lies in a bucket that does not exist: create it, or correct the address"),
    (
        re.compile(r"status code: 40[13]\b|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"),
        "refuses access: check access_key_id and secret_access_key, and what they may do",
    ),
)
"""What to do by what the endpoint answered: the client has classes of errors for some requests only."""
_REACH: Final = "cannot be reached: check the endpoint and the network, then try again"
_LONGEST: Final = 300


class S3Bucket:
    """Tables below a prefix of a bucket.

    What may be tried again is tried again by the client, up to ten times within ``retry_timeout`` seconds, with
    exponential backoff and jitter. An object is there whole or not at all. What a process that was killed in an upload
    had sent is no object: a bucket's rule for incomplete uploads removes it.
    """

    def __init__(self, bucket: str, prefix: str, options: Mapping[str, str]) -> None:
        self._uri = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self._options = _checked(options)
        self._store = _client(bucket, prefix, self._options)

    @classmethod
    def open(cls, address: str, options: Mapping[str, str]) -> Self:
        """Open ``s3://BUCKET/PREFIX``; nothing is reached before it is used.

        Parameters
        ----------
        address
            The bucket, which has to exist, and optionally a prefix in it.
        options
            ``endpoint`` (URL; by default Amazon's), ``region``, ``access_key_id``, ``secret_access_key``,
            ``session_token``, ``allow_http`` (``true`` for an endpoint without TLS), ``virtual_hosted_style_request``
            (``true`` puts the bucket into the host name), ``retry_timeout`` (seconds). What is not given is taken from
            the usual variables, such as ``AWS_ACCESS_KEY_ID``.

        Raises
        ------
        InvalidArgument
            When the address or an option cannot be used.
        """
        parts = _ADDRESS.fullmatch(address)
        if parts is None:
            raise InvalidArgument(f"{address!r} is no bucket: give s3://BUCKET or s3://BUCKET/PREFIX")
        given = {key: value for key, names in _ENVIRONMENT.items() if (value := _from_environment(names))}
        return cls(parts["bucket"], parts["prefix"] or "", {**given, **options})

    @property
    def client(self) -> S3Store:
        """The client below, for what is no table."""
        return self._store

    def uri(self, location: str) -> str:
        """Return ``s3://BUCKET/PREFIX/LOCATION``."""
        check_location(location)
        return f"{self._uri}/{location}"

    def address(self, location: str) -> LanceAddress:
        """Return the table's URI and what Lance has to know of the endpoint."""
        check_location(location)
        said = {
            f"aws_{key}": value for key, value in self._options.items() if key not in ("allow_http", "retry_timeout")
        }
        said["allow_http"] = self._options.get("allow_http", "false")
        said["client_max_retries"] = str(_RETRIES)
        said["client_retry_timeout"] = str(max(1, round(float(self._options["retry_timeout"]))))
        return LanceAddress(self.uri(location), said)

    def commit_lock(self, location: str) -> CommitLock | None:
        """Return None: a conditional put succeeds once."""
        return None

    def guard_commits(self, guard: Callable[[str], None]) -> None:
        """Do nothing: of two commits the second is refused."""

    def files(self, location: str) -> dict[str, int]:
        """List the table's objects."""
        check_location(location)
        prefix = f"{location}/"
        with self._faults(location):
            found = obstore.list(self._store, location, chunk_size=1000)
            return {entry["path"].removeprefix(prefix): entry["size"] for page in found for entry in page}

    def read(self, location: str, path: str, offset: int, length: int) -> bytes:
        """Read bytes with one request."""
        with self._faults(location, path):
            data = bytes(obstore.get_range(self._store, _key(location, path), start=offset, length=length))
        if len(data) != length:
            raise Corrupt(
                f"{self._uri}/{location}/{path} ends before byte {offset + length}: bring it back from a backup",
                expected=offset + length,
                found=offset + len(data),
            )
        return data

    def stream(self, location: str, path: str, offset: int, length: int) -> Iterator[bytes]:
        """Read bytes with one request, piece by piece as they come."""
        with self._faults(location, path):
            found = obstore.get(self._store, _key(location, path), options={"range": (offset, offset + length)})
            for chunk in found.stream(min_chunk_size=1 << 20):
                yield bytes(chunk)

    def hash(self, location: str, path: str, patch: Patch | None, on_bytes: Callable[[int], None]) -> str:
        """Hash what the bucket returns now, not what it says of itself."""
        digest = blake3(max_threads=blake3.AUTO)
        offset = 0
        for chunk in self.chunks(location, path):
            digest.update(patched(patch, chunk, offset))
            offset += len(chunk)
            on_bytes(len(chunk))
        return digest.hexdigest()

    def chunks(self, location: str, path: str) -> Iterator[bytes]:
        """Read in requests of 16 MiB."""
        with self._faults(location, path):
            size = obstore.head(self._store, _key(location, path))["size"]
        for offset in range(0, size, _CHUNK):
            yield self.read(location, path, offset, min(_CHUNK, size - offset))

    def put(self, location: str, path: str, chunks: Iterable[bytes]) -> None:
        """Write an object: with one request, or in parts when it comes in pieces."""
        pieces = iter(chunks)
        first, second = next(pieces, b""), next(pieces, None)
        data = first if second is None else chain((first, second), pieces)
        with self._faults(location, path):
            obstore.put(self._store, _key(location, path), data, chunk_size=_CHUNK)

    def await_arrival(self, location: str, path: str) -> None:
        """Do nothing: an object is there whole or not at all."""

    def harden(self, location: str, paths: Iterable[str]) -> None:
        """Do nothing: what a bucket has acknowledged is safe."""

    def remove(self, location: str, paths: Iterable[str]) -> None:
        """Remove objects, in the order given between batches."""
        keys = [_key(location, path) for path in paths]
        with self._faults(location):
            for start in range(0, len(keys), _BATCH):
                obstore.delete(self._store, keys[start : start + _BATCH])

    def clear(self, location: str, owned: Callable[[str], bool]) -> int:
        """Return 0: the bucket's own rule removes what is incomplete."""
        return 0

    def drop(self, location: str) -> None:
        """Remove all objects, the manifests first."""
        paths = sorted(self.files(location), key=lambda path: (not path.startswith(_MANIFESTS), path))
        manifests = [path for path in paths if path.startswith(_MANIFESTS)]
        self.remove(location, manifests)
        self.remove(location, paths[len(manifests) :])

    def way(self) -> Way:
        """Return that the endpoint has them."""
        return Way.ENDPOINT

    def look(self, location: str, folder: str) -> Look:
        """Find all behind the endpoint."""
        found = Near(way=Way.ENDPOINT, why=f"it lies in {self._uri}/{location}")
        return lambda paths: dict.fromkeys(paths, found)

    def file_bytes(self) -> None:
        """Return None: any size is read the same way."""

    def cache(self) -> None:
        """Return None: files are read where they are kept."""

    def spool(self) -> IO[bytes]:
        """Open a file without a name on the local disk."""
        return tempfile.TemporaryFile()

    def free_bytes(self) -> int | None:
        """Return None: buckets do not tell."""
        return None

    @contextmanager
    def _faults(self, location: str, path: str = "") -> Iterator[None]:
        """Make ours of the client's errors."""
        where = f"{self._uri}/{location}/{path}".rstrip("/")
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and path and _NO_BUCKET not in text:
                raise Corrupt(
                    f"the object {where} is missing: bring it back from a backup", expected=where, found=None
                ) from error
            advice = next((advice for sign, advice in _ADVICE if sign.search(text)), _REACH)
            raise Unavailable(f"{where} {advice} ({_short(text)})", what=self._uri) from error


def _short(text: str) -> str:
    text = " ".join(text.partition("\n\nDebug source:")[0].split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _key(location: str, path: str) -> str:
    check_location(location)
    return f"{location}/{path}"


def _from_environment(names: Iterable[str]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


def _checked(options: Mapping[str, str]) -> dict[str, str]:
    """Check the options, and fill in what has a default."""
    for key, value in options.items():
        if key not in _ENVIRONMENT:
            raise InvalidArgument(
                f"the cold tier has no option {key!r}: the options of a bucket are {', '.join(sorted(_ENVIRONMENT))}",
                key=key,
            )
        if key in ("allow_http", "virtual_hosted_style_request") and value.lower() not in ("true", "false"):
            raise InvalidArgument(
                f"the cold tier's option {key} = {value!r} is not usable: give true or false", key=key
            )
    checked = {"region": _REGION, "retry_timeout": str(_RETRY_TIMEOUT), **options}
    if not re.fullmatch(r"\d+(\.\d+)?", checked["retry_timeout"]):
        raise InvalidArgument(
            f"the cold tier's option retry_timeout = {checked['retry_timeout']!r} is not usable: give seconds",
            key="retry_timeout",
        )
    endpoint = checked.get("endpoint", "https://")
    if not endpoint.startswith(("http://", "https://")):
        raise InvalidArgument(
            f"the cold tier's endpoint {endpoint!r} is no URL: give http://… or https://…", key="endpoint"
        )
    if endpoint.startswith("http://") and checked.get("allow_http", "false").lower() != "true":
        raise InvalidArgument(
            f"the cold tier's endpoint {endpoint} has no TLS: give https://…, or allow_http=true", key="endpoint"
        )
    return checked


def _client(bucket: str, prefix: str, options: Mapping[str, str]) -> S3Store:
    config: dict[str, Any] = {
        key: options[key] for key in ("endpoint", "region", "access_key_id", "secret_access_key") if key in options
    }
    if "session_token" in options:
        config["session_token"] = options["session_token"]
    config["virtual_hosted_style_request"] = options.get("virtual_hosted_style_request", "false").lower() == "true"
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,  # type: ignore[arg-type]  # a dict that was put together key by key
        client_options={
            "allow_http": options.get("allow_http", "false").lower() == "true",
            "connect_timeout": timedelta(seconds=10),
            "timeout": timedelta(minutes=2),
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=float(options["retry_timeout"])),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    )
