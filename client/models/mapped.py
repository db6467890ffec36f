"""A model version in this process: its tensors and files, mapped from the sidecar's memory without a copy."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import numpy as np

from alluxio_lance.address import Address
from alluxio_lance.client.lease import Held
from alluxio_lance.client.opening import open_lease
from alluxio_lance.errors import Corrupt, InvalidArgument, NotFound, Unavailable
from alluxio_lance.layout import Column, ColumnKind, Layout, Pages, Segment
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar._shm import Mapping as MappedPieces
from alluxio_lance.weights.header import FileHead, Placed, parse_head
from alluxio_lance.weights.paths import check_paths
from alluxio_lance.weights.rows import NOTES_KEY, Notes

__all__ = ["FILES", "TENSORS", "MappedModel"]

TENSORS: Final = "tensors"
FILES: Final = "files"
"""The two columns of a hot model, each one safetensors file."""
_POPULATED: Final = 64 << 20
"""Up to so many bytes the page tables are filled at once: cheaper than a fault per page, and too little to wait for."""


class MappedModel:
    """One version of a model, whose bytes are the node's only copy until somebody writes into them.

    Tensors are mapped copy on write: what is written stays in this process. The memory and the lease on the version
    live for as long as anything that was handed out, whatever becomes of this object, of the sidecar or of the version;
    a forked child inherits both, and its end ends neither.

    On memory of reserved huge pages (``Pages.HUGE``) the first write into each 2 MiB takes a free huge page, and where
    none is free the kernel ends the process with SIGBUS. Whoever means to write opens with ``reserve``, and looks at
    `writes_may_fail`: what is to be written there must be copied first.

    Attributes
    ----------
    layout
        Names and places of everything.
    """

    def __init__(self, lease: Held, *, populate: bool | None = None, reserve: bool = False) -> None:
        self.layout: Final[Layout] = lease.layout
        hold = _Hold(lease)
        parts = {
            column.name: _Part(column, descriptor, hold, self.uri, reserve=reserve)
            for column, descriptor in zip(self.layout.columns, lease.descriptors.numbers, strict=True)
        }
        self.notes: Final = _notes(parts.get(TENSORS), self.uri)
        if FILES in parts:
            check_paths(parts[FILES].head.tensors)
        for part in parts.values():
            part.populate(populate)
        self._parts: Mapping[str, _Part] | None = parts

    @classmethod
    def open(
        cls,
        uri: str,
        parts: Sequence[str] = (TENSORS, FILES),
        address: str | None = None,
        *,
        timeout: float = 10.0,
        wait: bool = False,
        on_progress: OnProgress | None = None,
        populate: bool | None = None,
        reserve: bool = False,
    ) -> Self:
        """Make a version hot and map it; ``timeout``, ``wait``, ``on_progress`` and errors as in `open_lease`.

        Parameters
        ----------
        uri
            ``alluxio://models/NAME``, with a selector behind ``@`` for another version than the active one.
        parts
            ``tensors``, ``files`` or both: the other is not even loaded.
        populate
            Fill the page tables now; by default when a part is small.
        reserve
            Where the tensors lie on reserved huge pages, claim as many free ones, so that no write can fail; they are
            claimed for as long as the memory is mapped. With too few of them nothing is claimed.

        Raises
        ------
        InvalidArgument
            When it is a dataset, or a part is neither of the two.
        """
        if not parts or set(parts) - {TENSORS, FILES}:
            raise InvalidArgument(f"the parts of a model are {TENSORS!r} and {FILES!r}, not {list(parts)}")
        try:
            lease = open_lease(uri, parts, Address.find(address), timeout=timeout, wait=wait, on_progress=on_progress)
        except NotFound as error:
            # The version is there, and has other columns.
            if "columns" in error.details:
                raise _no_model(uri) from error
            raise
        try:
            if any(column.kind is not ColumnKind.FILE for column in lease.layout.columns):
                raise _no_model(uri)
            return cls(lease, populate=populate, reserve=reserve)
        except BaseException:
            lease.close()
            raise

    @property
    def uri(self) -> str:
        """The URI of exactly this version."""
        return self.layout.uri

    @property
    def tensors(self) -> Mapping[str, Placed]:
        """The tensors that have bytes, by name and in the order of their bytes; empty when only files were opened."""
        part = self._opened().get(TENSORS)
        return MappingProxyType(part.head.tensors) if part else {}

    @property
    def files(self) -> Mapping[str, memoryview]:
        """The files by path, read only; empty when only tensors were opened. They stay valid after `close`."""
        part = self._opened().get(FILES)
        return {path: part.data(placed) for path, placed in part.head.tensors.items()} if part else {}

    def data(self, name: str) -> memoryview:
        """Return the bytes of a tensor, writable and shared with nobody who could see a write; of a tied name, too.

        Raises
        ------
        NotFound
            When there is none of that name; the message has those that look like it.
        """
        part = self._opened().get(TENSORS)
        placed = part and part.head.tensors.get(self.notes.tied.get(name, name))
        if not part or not placed:
            near = get_close_matches(name, [*self.tensors, *self.notes.tied], 3, 0.4)
            advice = f" - did you mean {', '.join(map(repr, near))}?" if near else ""
            raise NotFound(f"{self.uri} has no tensor {name!r}{advice}")
        return part.data(placed)

    @property
    def descriptor(self) -> int:
        """The sealed memory with all tensors: ``/proc/self/fd/N`` is a safetensors file for as long as this is open.

        Raises
        ------
        InvalidArgument
            When only files were opened.
        """
        part = self._opened().get(TENSORS)
        if part is None:
            raise InvalidArgument(f"{self.uri} was opened without its tensors")
        return part.descriptor

    @property
    def writes_may_fail(self) -> bool:
        """Whether a write into a tensor may end the process: on reserved huge pages, of which none was claimed."""
        part = self._opened().get(TENSORS)
        return part is not None and part.unclaimed

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._parts is None

    def close(self) -> None:
        """Let go; a second call does nothing. What was handed out stays valid, and holds the lease until it dies."""
        self._parts = None

    def _opened(self) -> Mapping[str, _Part]:
        # Taken once by each caller: a close in another thread changes nothing for who has it.
        parts = self._parts
        if parts is None:
            raise Unavailable(f"{self.uri} was closed - open it again", what="lease")
        return parts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Hold:
    """Ends a lease when the last memory of it is gone, or the interpreter ends; the memory stays mapped for as long."""

    def __init__(self, lease: Held) -> None:
        # In a forked child this closes the child's copies of the descriptors only.
        weakref.finalize(self, lease.close)


class _Memory(np.ndarray[Any, np.dtype[np.uint8]]):
    """Mapped bytes that carry the hold. An array, since before Python 3.12 no class of Python's own gives a buffer."""

    hold: _Hold | None = None


class _Part:
    """One of the two files."""

    def __init__(self, column: Column, descriptor: int, hold: _Hold, uri: str, *, reserve: bool) -> None:
        (segment,) = column.segments
        writable = column.name == TENSORS
        self.descriptor: Final = descriptor
        claimed = _claimed(segment, descriptor) if writable and reserve and segment.pages is Pages.HUGE else None
        self.unclaimed: Final = writable and segment.pages is Pages.HUGE and claimed is None
        self._mapping = claimed or _mapped(segment, descriptor, writable=writable, uri=uri)
        start = memoryview(self._mapping)
        self.head: Final[FileHead] = parse_head(start, len(start), f"the memory with the {column.name} of {uri}")
        memory = np.frombuffer(start, np.uint8).view(_Memory)
        memory.hold = hold
        self._bytes: Final = memory.data

    def data(self, placed: Placed) -> memoryview:
        """Cut out one tensor; it keeps the memory and the hold."""
        return self._bytes[placed.offset : placed.offset + placed.size]

    def populate(self, wanted: bool | None) -> None:
        """Fill the page tables, if it is wanted or cheap."""
        if isinstance(self._mapping, MappedPieces) and (
            wanted or (wanted is None and len(self._mapping) <= _POPULATED)
        ):
            self._mapping.populate()


def _claimed(segment: Segment, descriptor: int) -> mmap.mmap | None:
    """Map memory of reserved huge pages together with a claim on as many free ones; None when there are too few."""
    try:
        # Our own mappings come with MAP_NORESERVE: most of them are never written into. What is huge needs no populate.
        return mmap.mmap(descriptor, segment.data.length, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:
        return None


def _mapped(segment: Segment, descriptor: int, *, writable: bool, uri: str) -> MappedPieces:
    pieces = [(descriptor, segment.data.offset, segment.data.length)]
    try:
        return MappedPieces(pieces, writable_copy=writable, huge_pages=segment.pages is Pages.TRANSPARENT)
    except OSError as error:
        raise Unavailable(
            f"cannot map {segment.data.length} bytes of {uri} ({error.strerror}) - let go of other mappings, or raise "
            "`ulimit -v` or `sysctl vm.max_map_count`",
            what="memory",
        ) from error


def _notes(part: _Part | None, uri: str) -> Notes:
    if part is None:
        return Notes()
    notes = Notes.from_json(part.head.metadata.get(NOTES_KEY, "").encode())
    for alias, name in notes.tied.items():
        if alias in part.head.tensors or name not in part.head.tensors:
            raise Corrupt(f"the notes of {uri} tie {alias!r} to {name!r}, which its tensors do not allow: roll back")
    return notes


def _no_model(uri: str) -> InvalidArgument:
    return InvalidArgument(
        f"{uri} is a dataset and no model: open it with Dataset of alluxio.torch or alluxio.tf, load_model is for models"
    )
