"""Mounting Alluxio's namespace, so that scripts which want files find files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from alluxio_lance.files.mounts import Mount, mounts
from alluxio_lance.storage.alluxio.cluster.jars import class_path, java
from alluxio_lance.storage.alluxio.cluster.nodes import start, stop

__all__ = ["FuseMountManager"]

_MAIN: Final = "alluxio.fuse.AlluxioFuse"
_PATIENCE: Final = 60.0
"""Seconds until a mount must be there."""
_PAUSE: Final = 0.1
_ANSWER: Final = 5.0
"""Seconds for the master to take a connection."""
_HEAP: Final = "512m"


class FuseMountManager:
    """The FUSE mounts of this node.

    Parameters
    ----------
    host, port
        The master of Alluxio.
    logs
        The folder for the logs of the processes that serve mounts.
    """

    def __init__(self, host: str = "localhost", port: int = 19998, *, logs: Path) -> None:
        self._host = host
        self._port = port
        self._logs = logs

    # -- looking -------------------------------------------------------------------------------------------------------

    def list(self) -> list[Mount]:
        """List the mounts, stale ones too, whoever made them."""
        return mounts()

    def find(self, path: Path | None = None) -> Mount:
        """Find a living mount: the newest one, or the one at a path.

        Raises
        ------
        NotFound
            When there is none; the sentence says how to make one.
        """
        wanted = None if path is None else path.absolute()
        living = [each for each in self.list() if wanted in (None, each.path) and not each.is_stale]
        if not living:
            where = "" if wanted is None else f" at {wanted}"
            raise NotFound(f"Alluxio is not mounted{where}: `alluxio-lance mount FOLDER` mounts it")
        return living[-1]

    # -- changing ------------------------------------------------------------------------------------------------------

    def mount(self, path: Path, *, root: str = "/", options: Sequence[str] = ()) -> Mount:
        """Mount the namespace, or a folder of it, and wait until it is there.

        A stale mount at the place, whose process was killed, is cleared first. The process that serves the mount
        outlives this one; `unmount` ends it.

        Parameters
        ----------
        path
            An empty folder; it is made when it is missing.
        root
            The folder of the namespace to show.
        options
            FUSE's own, such as ``allow_other``.

        Raises
        ------
        AlreadyExists
            When a living mount is there.
        InvalidArgument
            When the place is no empty folder.
        Unavailable
            When FUSE, Java or Alluxio is missing; the sentence says which.
        """
        place = path.expanduser().absolute()
        _check_fuse()
        self._check_master()
        self._clear(place)
        _check_empty(place)
        program, jars = java(), class_path(lambda _: None)
        command = [program, f"-Xmx{_HEAP}", "-Duser.timezone=UTC", "-cp", jars]
        command += [f"-Dalluxio.master.hostname={self._host}", f"-Dalluxio.master.rpc.port={self._port}"]
        command += ["-Dalluxio.user.metrics.collection.enabled=false", "-Dalluxio.user.file.metadata.sync.interval=0"]
        command += ["-Dalluxio.user.file.writetype.default=CACHE_THROUGH", f"-Dalluxio.logs.dir={self._logs}"]
        command += [_MAIN, "-m", str(place), "-a", root]
        for option in options:
            command += ["-o", option]
        log = self._logs / f"fuse-{place.name}.out"
        node = start(command, log)
        deadline = time.monotonic() + _PATIENCE
        while not any(each.path == place and not each.is_stale for each in self.list()):
            if not node.is_alive or time.monotonic() > deadline:
                stop(node)
                self._clear(place)
                said = "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])
                raise Unavailable(
                    f"Alluxio could not be mounted at {place}; the end of {log} says\n{said}", what="fuse"
                )
            time.sleep(_PAUSE)
        return Mount(place)

    def unmount(self, path: Path) -> None:
        """Take a mount down, also a stale one; its process ends with it.

        Raises
        ------
        NotFound
            When nothing of Alluxio is mounted there.
        Unavailable
            When it is in use.
        """
        place = path.expanduser().absolute()
        if all(each.path != place for each in self.list()):
            raise NotFound(f"Alluxio is not mounted at {place}: see `alluxio-lance mount`")
        self._take_down(place, lazily=Mount(place).is_stale)

    def _check_master(self) -> None:
        """The mount's process would try for a minute, and fill its log before it says so."""
        try:
            socket.create_connection((self._host, self._port), _ANSWER).close()
        except OSError as error:
            raise Unavailable(
                f"no master of Alluxio answers at {self._host}:{self._port} ({error.strerror or error}): start it, or name "
                "the right one with --master HOST:PORT; it stands in the uri that `alluxio-lance alluxio status` prints",
                what="alluxio",
            ) from error

    def _clear(self, place: Path) -> None:
        for each in self.list():
            if each.path == place:
                if not each.is_stale:
                    raise AlreadyExists(f"Alluxio is mounted at {place} already")
                self._take_down(place, lazily=True)

    def _take_down(self, place: Path, *, lazily: bool) -> None:
        tool = shutil.which("fusermount") or shutil.which("fusermount3")
        if tool is None:
            raise Unavailable(_NO_FUSE, what="fuse")
        command = [tool, "-u", *(["-z"] if lazily else []), str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(
                f"{place} cannot be unmounted ({done.stderr.strip()}): end the programs that use it, then try again",
                what="fuse",
            )


_NO_FUSE: Final = "a mount needs FUSE 2: install it (Debian: apt install libfuse2 fuse3)"


def _check_fuse() -> None:
    if not Path("/dev/fuse").exists():
        raise Unavailable(
            "a mount needs /dev/fuse, which is not here: load the kernel's module fuse, or give the container the device",
            what="fuse",
        )
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Unavailable("a mount needs the right to open /dev/fuse: ask the administrator", what="fuse")
    if shutil.which("fusermount") is None:
        raise Unavailable(_NO_FUSE, what="fuse")


def _check_empty(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise InvalidArgument(f"{place} is not empty, and a mount would hide what is there: choose another folder")
    except OSError as error:
        raise InvalidArgument(f"{place} cannot be mounted on ({error.strerror}): choose another folder") from error
