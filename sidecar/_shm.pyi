"""The typed face of the native module: joined mappings, gathers, blocks of memory that are reused."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
from _typeshed import ReadableBuffer, WriteableBuffer

_Indices = npt.NDArray[np.int64]
# Before Python 3.12 numpy's stubs do not say that an array is a buffer.
_Readable = ReadableBuffer | npt.NDArray[Any]
_Writable = WriteableBuffer | npt.NDArray[Any]

@final
class Mapping:
    """Pieces of files, mapped back to back into one range of addresses; a buffer of bytes.

    The memory stays mapped for as long as the object or any view of it lives.

    Parameters
    ----------
    pieces
        ``(descriptor, offset, length)`` in bytes. Offsets are multiples of the file's page (4 KiB, or 2 MiB on
        hugetlbfs), and so is every length but the last. A piece may go on to the end of its file's last page.
    writable_copy
        False: a read-only view of the shared pages. True: writable, and what is written stays in this mapping
        (copy on write).
    huge_pages
        Advise the kernel to use transparent huge pages.

    Raises
    ------
    ValueError
        When a piece is not within its file, or not made of whole pages.
    OSError
        When the kernel refuses: a bad descriptor, or too many mappings (ENOMEM, ``vm.max_map_count``).
    """

    def __new__(
        cls, pieces: Iterable[tuple[int, int, int]], *, writable_copy: bool = False, huge_pages: bool = False
    ) -> Mapping: ...
    @property
    def address(self) -> int:
        """Where it begins."""
    @property
    def readonly(self) -> bool:
        """Whether its buffer is."""
    def __len__(self) -> int:
        """Bytes in all pieces."""
    def populate(self, start: int = 0, stop: int | None = None) -> None:
        """Fill this process' page tables now instead of at first touch; the interpreter runs on meanwhile.

        Parameters
        ----------
        start, stop
            Bytes, widened to whole pages; all of them by default.
        """
    def __buffer__(self, flags: int, /) -> memoryview: ...

def read_indices(indices: list[int], target: _Indices) -> bool:
    """Write a list of plain integers into an array; False, with any content, when one is no ``int`` of 64 bits.

    Raises
    ------
    ValueError
        When the array is not as long as the list.
    """

def resolve(indices: _Indices, rows: int, target: _Indices) -> bool:
    """Write the rows that the indices name, negative ones counted from the end, and say whether they follow each other.

    ``target`` may be ``indices`` itself.

    Raises
    ------
    IndexError
        When an index is not in ``[-rows, rows)``; nothing was written.
    ValueError
        When the target is not as long as the indices.
    """

def gather(
    source: _Readable, rows: int, item_bytes: int, indices: _Indices, target: _Writable, *, threads: int = 1
) -> None:
    """Copy the rows that ``indices`` name, one after another, into ``target``; negative indices count from the end.

    The interpreter runs on meanwhile. Source and target do not overlap.

    Parameters
    ----------
    threads
        How many may copy, this one included; fewer do where one would have less than a megabyte to copy, or another
        gather of this process keeps the others busy. They are made when first needed, anew after a fork.

    Raises
    ------
    IndexError
        When an index is not in ``[-rows, rows)``; nothing was copied.
    ValueError
        When source or target are too small, or there is no thread.
    """

class Ragged:
    """Rows of different lengths: per shard 64-bit offsets and the values that they point into.

    Parameters
    ----------
    shards
        ``(offsets, values)`` of each shard.
    shard_rows
        Rows of every shard but the last.
    rows
        Rows in all.
    item_bytes
        Bytes of one value, the unit of the offsets.
    """

    rows: int
    item_bytes: int
    def __new__(
        cls, shards: Sequence[tuple[_Readable, _Readable]], shard_rows: int, rows: int, item_bytes: int
    ) -> Ragged: ...
    def measure(self, indices: _Indices, offsets: _Indices) -> int:
        """Write the ``len(indices) + 1`` offsets of the rows laid end to end, and return the number of their values.

        Raises
        ------
        IndexError
            When an index is not in ``[-rows, rows)``.
        ValueError
            When a shard's offsets are out of order or point beyond its values.
        """
    def gather(self, indices: _Indices, target: _Writable) -> None:
        """Copy the rows' values end to end into a target as large as `measure` said."""

class Bitmap:
    """Which rows are present: per shard a bitmap, least significant bit first, or None where all are."""

    rows: int
    def __new__(cls, shards: Sequence[_Readable | None], shard_rows: int, rows: int) -> Bitmap: ...
    def gather(self, indices: _Indices, target: _Writable) -> None:
        """Write one byte per index: 1 present, 0 null. `IndexError` as in `gather`."""

@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """What a pool holds and has done, in this process; sizes in bytes."""

    live_blocks: int
    """Blocks that somebody uses."""
    live_bytes: int
    cached_blocks: int
    """Blocks that wait for their next use."""
    cached_bytes: int
    fresh: int
    """Blocks that came from the kernel."""
    reused: int
    """Blocks that came from the cache."""

@final
class BlockPool:
    """Memory blocks that come back when their last view dies, so that no batch pays for fresh pages.

    Safe across fork: the child drops the inherited cache and counts from zero.

    Parameters
    ----------
    limit_bytes
        Bytes kept for reuse at most; blocks that come back beyond it are freed.
    """

    def __new__(cls, limit_bytes: int) -> BlockPool: ...
    def block(self, length: int) -> Block:
        """Return a block of ``length`` bytes with any content, page-aligned (2 MiB and more: to 2 MiB).

        Raises
        ------
        MemoryError
            When there is no memory.
        """
    def clear(self) -> None:
        """Free what waits for reuse."""
    def statistics(self) -> PoolStatistics:
        """Count what there is."""

@final
class Block:
    """Writable bytes from a `BlockPool`; they go back when the last view of them dies."""

    def __init__(self, *unusable: Any) -> None: ...
    @property
    def address(self) -> int:
        """Where it begins."""
    def __len__(self) -> int:
        """Bytes."""
    def __buffer__(self, flags: int, /) -> memoryview: ...

@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaCounts:
    """What the slots of an arena are doing at this moment; sizes in bytes."""

    slots: int
    """Slots that have memory."""
    bytes: int
    huge_bytes: int
    """What of it lies on reserved huge pages."""
    filling: int
    """Slots that the process which claimed them has views of."""
    sent: int
    """Slots whose descriptor is on its way."""
    held: int
    """Slots that the process which received them has views of."""
    handed: int
    """Claims that found a slot."""
    refused: int
    """Claims that found none."""

@final
class Arena:
    """Slots of memory in files that several processes map; a word per slot says who has it, and nobody ever waits.

    Every process that takes part makes one from the same files. A forked child may use the inherited object.

    Parameters
    ----------
    table, small, huge
        Descriptors, which must stay open: the table of `table_bytes`, zeros at first; a file of ordinary pages, and one
        of 2 MiB pages or -1, both with ``slots * stride`` bytes.
    slots
        The most slots.
    stride
        The most bytes of a slot, a multiple of 2 MiB.
    limit
        The most bytes of all slots together.
    transparent
        Advise the kernel to use transparent huge pages for the ordinary file.

    Raises
    ------
    ValueError
        When a file is too short.
    OSError
        When the kernel refuses.
    """

    slots: int
    stride: int
    limit: int
    def __new__(
        cls, table: int, small: int, huge: int, *, slots: int, stride: int, limit: int, transparent: bool
    ) -> Arena: ...
    @staticmethod
    def table_bytes(slots: int) -> int:
        """Bytes of the table."""
    def claim(self, length: int) -> Slot | None:
        """Take a free slot of at least so many bytes, giving it memory where needed; None when that cannot be."""
    def receive(self, index: int, ticket: int, length: int) -> Slot:
        """Take over a slot that was sent.

        Raises
        ------
        LookupError
            When it was not sent under that ticket, or was taken back since.
        MemoryError
            When it has less memory than ``length``, or cannot be mapped.
        """
    def reclaim(self) -> int:
        """Take back what processes hold that have ended, and return from how many slots."""
    def forking(self, witness: Callable[[], bool]) -> None:
        """Begin a fork: slots that are let go from now on are kept until ``witness()`` says that the child has ended."""
    def forked(self, witness: Callable[[], bool]) -> None:
        """End it, in the parent: the slots that this process has now are kept likewise, those it gets later are not."""
    def counts(self) -> ArenaCounts:
        """Count."""

@final
class Slot:
    """Writable bytes of an arena; what this process holds of it goes back when the last view dies."""

    ticket: int
    sent: bool
    """Whether its descriptor has left, or arrived."""
    def __init__(self, *unusable: Any) -> None: ...
    @property
    def index(self) -> int:
        """Its place in the arena."""
    @property
    def address(self) -> int:
        """Where it begins in this process."""
    @property
    def mapped_bytes(self) -> int:
        """Whole pages mapped there, at least its length."""
    def send(self) -> bool:
        """Note that its descriptor leaves now; False when it may not: it left before, or belongs to another process."""
    def __len__(self) -> int:
        """Bytes that were asked for."""
    def __buffer__(self, flags: int, /) -> memoryview: ...
