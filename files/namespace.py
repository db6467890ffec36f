"""Alluxio's namespace over its proxy's REST service: PyPI's client where it has the call, the plain call where not."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import requests
from alluxio.client import Client, _check_response  # the second makes the same errors as the client's own calls
from alluxio.exceptions import AlluxioError, HTTPError
from alluxio.option import CreateDirectory, Delete, Free, Mount, SetAttribute

from alluxio_lance.errors import (
    AlreadyExists,
    Conflict,
    Corrupt,
    Internal,
    InvalidArgument,
    NoSpace,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from alluxio_lance.files.paths import check_name
from alluxio_lance.files.reasons import reason

__all__ = ["FileStatus", "Namespace"]

T = TypeVar("T")

_TIMEOUT: Final = 30.0
"""Seconds for one call: none of them moves data."""
_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.1
_MARGIN: Final = 1.0
"""Seconds between two looks at what the workers have told the master."""
_WHOLE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """A file or folder, as Alluxio knows it."""

    path: str
    """Absolute in the namespace."""
    is_folder: bool
    length: int
    """Bytes; 0 for a folder."""
    cached_percent: int
    """How much of it lies in the workers; an empty file is all there."""
    pinned: bool
    persisted: bool
    """Whether the under-store has it."""
    block_bytes: int
    """Bytes of a block."""
    blocks: tuple[int, ...]
    """The ids of its blocks, in the order of the bytes; also the names of the block files of a worker."""
    under_path: str
    """Where the under-store keeps it."""
    absent: tuple[int, ...] = ()
    """The offsets of the blocks that lie in no worker."""
    completed: bool = True
    """False while somebody writes it, or while nobody has noticed yet that its writer died; then it is listed as empty."""


class Namespace:
    """The files of one Alluxio.

    Parameters
    ----------
    host, port
        The proxy, by default of this machine.

    Notes
    -----
    Calls that only look, or that end the same when they are made twice, are tried again when the proxy does not
    answer; each error says which path and what to do.
    """

    def __init__(self, host: str = "localhost", port: int = 39999) -> None:
        self.where = f"the proxy of Alluxio at {host}:{port}"
        self._client = _Client(host, port, timeout=_TIMEOUT)
        # As for the bytes: through no HTTP proxy of the site, and without the passwords of ~/.netrc.
        self._client.session.trust_env = False

    # -- looking -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Find out whether the proxy answers.

        Raises
        ------
        Unavailable
            When it does not.
        """
        self.status("/")

    def status(self, path: str) -> FileStatus:
        """Look at one file or folder.

        Raises
        ------
        NotFound
            When there is none.
        """
        return _status(self._patiently(path, lambda: self._call(path, "get-status")))

    def exists(self, path: str) -> bool:
        """Tell whether there is a file or folder."""
        try:
            self.status(path)
        except NotFound:
            return False
        return True

    def list(self, path: str, *, recursive: bool = False) -> list[FileStatus]:
        """List what a folder holds, sorted by path; with ``recursive`` all that lies below."""
        wanted = {"recursive": recursive, "loadMetadataType": "ALWAYS"}
        found = self._patiently(path, lambda: self._call(path, "list-status", wanted))
        return sorted((_status(each) for each in found), key=lambda each: each.path)

    # -- the cache -----------------------------------------------------------------------------------------------------

    def free(self, path: str) -> None:
        """Let the workers drop a file, or all files of a folder; the under-store keeps them.

        A pinned one stays: take the pin off first. Visible in `status` with the workers' next heartbeat.
        """
        self._patiently(path, lambda: self._client.free(path, Free(recursive=True)))

    def pin(self, path: str, *, pinned: bool) -> None:
        """Keep the workers from dropping a file, or all files of a folder, or let them again."""
        self._patiently(path, lambda: self._client.set_attribute(path, SetAttribute(pinned=pinned, recursive=True)))

    def forget(self, path: str) -> None:
        """Forget a file with all that the workers hold of it; the under-store keeps it, where the next look finds it.

        Raises
        ------
        Conflict
            When the under-store does not have it yet.
        """
        if not self.status(path).persisted:
            raise Conflict(f"{path} is in Alluxio only: it cannot be read anew before it is in the under-store")
        self._patiently(path, lambda: self._call(path, "delete", {"alluxioOnly": True}, is_told=False))

    def await_cached(self, path: str, *, percent: int, patience: float) -> bool:
        """Wait until ``percent`` of a file is cached (0: until nothing is), and tell whether it came to that."""
        deadline = time.monotonic() + patience
        while True:
            now = self.status(path).cached_percent
            if (now >= percent) if percent else (now == 0):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(min(_MARGIN, patience / 20))

    # -- files ---------------------------------------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        """Make a folder with its parents; one that is there stays."""
        options = CreateDirectory(allow_exists=True, recursive=True)
        self._patiently(path, lambda: self._client.create_directory(path, options))

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; a missing one is no error."""
        try:
            self._patiently(path, lambda: self._client.delete(path, Delete(recursive=True)))
        except NotFound:
            return

    def remove_empty(self, path: str) -> bool:
        """Remove a folder if nothing is in it, and tell whether it is gone: Alluxio itself refuses one that is not empty."""
        try:
            self._patiently(path, lambda: self._client.delete(path, Delete(recursive=False)))
        except NotFound:
            return True
        except Conflict:
            return False
        return True

    def rename(self, path: str, to: str) -> None:
        """Give a file or folder another place."""
        with self._faults(path):
            self._client.rename(path, to)

    def mount(self, path: str, source: str, options: Mapping[str, str], *, read_only: bool = False) -> None:
        """Show an under-store, such as ``s3://bucket/prefix``, at a path.

        Raises
        ------
        AlreadyExists
            When something is mounted there.
        """
        with self._faults(path):
            self._client.mount(path, source, Mount(properties=dict(options), read_only=read_only))

    def unmount(self, path: str) -> None:
        """Take an under-store out of the namespace; its files stay where they are."""
        with self._faults(path):
            self._client.unmount(path)

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of connections."""
        self._client.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, path: str, name: str, body: Mapping[str, Any] | None = None, *, is_told: bool = True) -> Any:
        """Make a call that PyPI's client does not have, or whose answer it does not give whole."""
        url = self._client._paths_url(path, name)  # noqa: SLF001 - the client has no public way to the whole answer
        try:
            answer = self._client.session.post(url, json=dict(body or {}), timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise HTTPError(str(error)) from error
        _check_response(answer)
        return answer.json() if is_told else None

    def _patiently(self, path: str, call: Callable[[], T]) -> T:
        """Make a call that may be made twice, again while the proxy does not answer."""
        for attempt in range(1, _ATTEMPTS):
            try:
                with self._faults(path):
                    return call()
            except Unavailable:
                # With jitter: all nodes of a cluster ask again after its proxy was restarted.
                time.sleep(_FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        with self._faults(path):
            return call()

    @contextmanager
    def _faults(self, path: str) -> Iterator[None]:
        try:
            yield
        except AlluxioError as error:
            raise _ours(error, path, self.where) from error
        except (HTTPError, requests.RequestException) as error:
            raise Unavailable(
                f"{self.where} does not answer ({reason(error)}): is it up? See `alluxio-lance alluxio status`",
                what="alluxio",
            ) from error


class _Client(Client):  # type: ignore[misc]  # it carries no type information
    """PyPI's client, with names that have ``#``, ``%`` or ``;`` in them: it puts them into URLs as they are."""

    def _paths_url(self, path: str, action: str) -> str:
        url: str = super()._paths_url(quote(check_name(path)), action)
        return url


_KINDS: Final[dict[str, tuple[type[Exception], str]]] = {
    "NOT_FOUND": (NotFound, "there is no {path} in Alluxio: {why}"),
    "ALREADY_EXISTS": (AlreadyExists, "{path} is there in Alluxio already: {why}"),
    "PERMISSION_DENIED": (PermissionDenied, "Alluxio does not allow it on {path}: {why}"),
    "UNAUTHENTICATED": (PermissionDenied, "Alluxio does not know the caller, on {path}: {why}"),
    "RESOURCE_EXHAUSTED": (NoSpace, "Alluxio has no room for {path}: {why}"),
    "INVALID_ARGUMENT": (InvalidArgument, "Alluxio refuses it for {path}: {why}"),
    "FAILED_PRECONDITION": (Conflict, "Alluxio cannot do it to {path} now: {why}"),
    "DATA_LOSS": (Corrupt, "Alluxio lost bytes of {path}: {why}"),
}
_DOWN: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELED")


def _ours(error: AlluxioError, path: str, where: str) -> Exception:
    # The servers put the whole call before the reason.
    status, why = str(error.status), str(error.message).strip().rpartition("\n")[2]
    if status == "UNKNOWN" and "already exists" in why:
        status = "ALREADY_EXISTS"
    if status == "UNKNOWN" and why.endswith("does not exist"):
        status = "NOT_FOUND"
    if status == "UNIMPLEMENTED" or "UnsupportedOperation" in why:
        return Unavailable(
            f"{where} cannot do this to {path} in its edition (DORA has no free and no mount; see `alluxio-lance doctor`)",
            what="alluxio",
        )
    if status == "UNKNOWN" and "is pinned" in why:
        status = "FAILED_PRECONDITION"
    if status in _KINDS:
        kind, sentence = _KINDS[status]
        return kind(sentence.format(path=path, why=why))
    if status in _DOWN:
        return Unavailable(f"Alluxio behind {where} does not serve {path} now ({why}): try again", what="alluxio")
    return Internal(f"Alluxio answered {status} for {path}: {why}")


def _blocks(info: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = info.get("fileBlockInfos") or ()
    return found


def _status(info: Mapping[str, Any]) -> FileStatus:
    folder = bool(info["folder"])
    return FileStatus(
        path=info["path"],
        is_folder=folder,
        length=0 if folder else int(info["length"]),
        cached_percent=_WHOLE if not folder and not info["length"] else int(info["inAlluxioPercentage"]),
        pinned=bool(info["pinned"]),
        persisted=bool(info["persisted"]),
        block_bytes=int(info["blockSizeBytes"]),
        blocks=tuple(int(each) for each in info.get("blockIds") or ()),
        under_path=str(info.get("ufsPath") or ""),
        absent=tuple(int(each["offset"]) for each in _blocks(info) if not each["blockInfo"]["locations"]),
        completed=bool(info.get("completed", True)),
    )
