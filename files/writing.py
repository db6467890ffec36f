"""Writing a plain file so that it is there whole or not at all."""

from __future__ import annotations

import io
import tempfile
import uuid
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from alluxio_lance.errors import AlluxioLanceError, AlreadyExists, InvalidArgument, NotFound, Unavailable
from alluxio_lance.files.bodies import too_short
from alluxio_lance.files.namespace import Namespace
from alluxio_lance.files.process import Process

if TYPE_CHECKING:
    from alluxio_lance.files.files import AlluxioFiles

__all__ = ["SpooledWriter", "move_over", "write_whole"]


def write_whole(here: Process, path: str, data: BinaryIO, length: int) -> None:
    """Write beside the path, look whether all of it arrived, and give it the name."""
    folder, _, name = path.rpartition("/")
    if not name:
        raise InvalidArgument("the root of Alluxio is a folder: give alluxio:///FOLDER/FILE")
    if (found := data.seek(0, io.SEEK_END)) < length:
        # Before a byte is sent: of an upload that breaks off the proxy makes a file in its own time.
        raise too_short(path, found, length)
    part = f"{folder}/.{name}.{uuid.uuid4().hex[:12]}.part"
    try:
        try:
            here.endpoint.write(part, data, length)
        except NotFound:
            here.namespace.make_folder(folder)
            here.endpoint.write(part, data, length)
        found = here.namespace.status(part).length
        if found != length:
            raise Unavailable(f"of the {length} bytes for {path} Alluxio has {found}: write it again", what="alluxio")
        move_over(here.namespace, part, path)
    except AlluxioLanceError:
        with suppress(AlluxioLanceError):
            here.namespace.remove(part)
        raise


def move_over(namespace: Namespace, source: str, target: str) -> None:
    """Give a file another name; a file of that name goes, a folder is refused.

    Alluxio renames onto nothing that is there, and of a replacement in one step it knows nothing.
    """
    for _ in range(3):
        try:
            namespace.rename(source, target)
        except AlreadyExists:
            if namespace.status(target).is_folder:
                raise InvalidArgument(f"{target} is a folder in Alluxio: give another name") from None
            namespace.remove(target)
        else:
            return
    namespace.rename(source, target)


class SpooledWriter(io.BufferedRandom):
    """A file open for writing anywhere: it grows without a name on the local disk, and goes to Alluxio when it is closed.

    A ``with`` that an error ends writes nothing.
    """

    def __init__(self, files: AlluxioFiles, path: str) -> None:
        super().__init__(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - closed with this
        self._files = files
        self._path = path

    def close(self) -> None:
        """Write it to Alluxio; raises what `AlluxioFiles.write_from` raises, and then nothing is written."""
        if self.closed:
            return
        try:
            self._files.write_from(self._path, self, self.seek(0, io.SEEK_END))
        finally:
            super().close()

    def discard(self) -> None:
        """Close it and write nothing."""
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
