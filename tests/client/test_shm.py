"""The native module: joined mappings, gathers, ragged rows, bitmaps and the pool of blocks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from alluxio_lance.sidecar._shm import Bitmap, Block, BlockPool, Mapping, Ragged, gather

PAGE = 4096
HUGE = 2 << 20


@pytest.fixture
def memfile() -> Iterator[Callable[[bytes], int]]:
    """Return a function that puts bytes into a memfd."""
    opened: list[int] = []

    def make(data: bytes) -> int:
        opened.append(os.memfd_create("test"))
        os.write(opened[-1], data)
        return opened[-1]

    yield make
    for descriptor in opened:
        os.close(descriptor)


def resident(address: int) -> bool:
    """Say whether the address still belongs to a mapping of a memfd."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = (line.split()[0].split("-") for line in lines if "memfd" in line)
    return any(int(start, 16) <= address < int(stop, 16) for start, stop in spans)


def test_pieces_are_joined_in_order(memfile):
    """Pieces of several files follow each other without a gap, and the last one may end anywhere."""
    one, two = memfile(b"a" * PAGE + b"b" * PAGE), memfile(b"c" * PAGE + b"d" * 10)
    mapping = Mapping([(one, PAGE, PAGE), (two, 0, PAGE), (two, PAGE, 3)])
    assert bytes(mapping) == b"b" * PAGE + b"c" * PAGE + b"ddd"
    assert len(mapping) == 2 * PAGE + 3


def test_large_joins_lie_where_huge_pages_can(memfile):
    """Address and file offset agree modulo 2 MiB once the range is that large."""
    file = memfile(b"x" * (HUGE + 2 * PAGE))
    mapping = Mapping([(file, PAGE, HUGE), (file, HUGE + PAGE, PAGE)], huge_pages=True)
    assert mapping.address % HUGE == PAGE
    assert bytes(mapping) == b"x" * (HUGE + PAGE)


def test_a_shared_mapping_cannot_be_written(memfile):
    """A read-only mapping gives only read-only buffers."""
    mapping = Mapping([(memfile(b"x" * PAGE), 0, PAGE)])
    assert mapping.readonly
    assert memoryview(mapping).readonly
    assert not np.frombuffer(mapping, np.uint8).flags.writeable


def test_a_writable_copy_keeps_its_writes_to_itself(memfile):
    """What is written into a copy-on-write mapping is in no other mapping and not in the file."""
    file = memfile(b"x" * PAGE)
    one, two = (Mapping([(file, 0, PAGE)], writable_copy=True) for _ in range(2))
    memoryview(one)[:3] = b"abc"
    assert bytes(one)[:4] == b"abcx"
    assert bytes(two)[:4] == os.pread(file, 4, 0) == b"xxxx"


@pytest.mark.parametrize(
    ("offset", "length", "more", "why"),
    [
        (1, PAGE, False, "no whole pages"),
        (0, PAGE + 1, True, "no whole pages"),
        (0, 3 * PAGE, False, "are not within"),
        (-PAGE, PAGE, False, "are not within"),
    ],
)
def test_pieces_that_cannot_be_joined_are_refused(memfile, offset, length, more, why):
    """Odd offsets, odd lengths before the last piece, and places beyond the file's end raise instead of crashing."""
    file = memfile(b"x" * 2 * PAGE)
    pieces = [(file, offset, length), *([(file, 0, PAGE)] if more else [])]
    with pytest.raises(ValueError, match=why):
        Mapping(pieces)


def test_a_piece_may_fill_its_last_page(memfile):
    """The rest of a file's last page reads as zeros, so that values can be joined in whole pages."""
    file = memfile(b"abc")
    assert bytes(Mapping([(file, 0, PAGE), (file, 0, 3)])) == b"abc" + bytes(PAGE - 3) + b"abc"


def test_a_bad_descriptor_is_an_os_error():
    """A descriptor that is not open raises, with its number."""
    with pytest.raises(OSError, match="descriptor 999999"):
        Mapping([(999_999, 0, PAGE)])


def test_an_empty_mapping_is_an_empty_buffer():
    """No pieces, or pieces of no bytes, are an empty buffer that can be populated."""
    mapping = Mapping([(0, 0, 0)])
    mapping.populate()
    assert len(mapping) == 0
    assert bytes(mapping) == b""


def test_memory_goes_with_the_last_view(memfile):
    """The mapping stays while an array shows it, and is unmapped with the last one."""
    mapping = Mapping([(memfile(b"x" * PAGE), 0, PAGE)])
    address, view = mapping.address, np.frombuffer(mapping, np.uint8)
    del mapping
    assert resident(address)
    assert view[0] == ord("x")
    del view
    gc.collect()
    assert not resident(address)


def test_populate_fills_the_page_tables(memfile):
    """After populate the process has all pages mapped."""
    mapping = Mapping([(memfile(b"x" * 64 * PAGE), 0, 64 * PAGE)])
    mapping.populate()
    text = Path("/proc/self/smaps").read_text()
    part = text[text.index(f"{mapping.address:x}-") :]
    assert part[part.index("Rss:") :].split()[1] == str(64 * PAGE // 1024)


@pytest.mark.parametrize(
    ("start", "stop", "pages"),
    [
        (0, 1, 1),
        (PAGE - 1, PAGE + 1, 2),
        (3 * PAGE, 3 * PAGE, 0),
        (60 * PAGE, 1 << 40, 4),
        (1 << 40, None, 0),
        (5, 4, 0),
    ],
)
def test_populate_a_part(memfile, start, stop, pages):
    """The pages that the range touches, with as many around them as the kernel likes, and nothing without a range."""
    mapping = Mapping([(memfile(b"x" * 64 * PAGE), 0, 64 * PAGE)])
    mapping.populate(start, stop)
    text = Path("/proc/self/smaps").read_text()
    part = text[text.index(f"{mapping.address:x}-") :]
    found = int(part[part.index("Rss:") :].split()[1]) * 1024 // PAGE
    assert pages <= found <= (64 if pages else 0)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8, 16, 100, 512, 513, 5000])
@pytest.mark.parametrize("offset", [0, 1])
def test_gather_copies_rows_of_any_width(width, offset):
    """Rows come in the order of the indices, repeated ones too, negative ones from the end, at any alignment."""
    rng = np.random.default_rng(width)
    memory = rng.integers(0, 256, 50 * width + 1, np.uint8)
    source = memory[offset : offset + 50 * width]
    indices = rng.integers(-50, 50, 200)
    target = np.zeros(200 * width, np.uint8)
    gather(source, 50, width, indices, target)
    np.testing.assert_array_equal(target.reshape(200, width), source.reshape(50, width)[indices])


@pytest.mark.parametrize("bad", [50, -51, 2**62, -(2**62)])
def test_gather_checks_before_it_copies(bad):
    """An index outside raises IndexError naming it, and the target stays as it was."""
    target = np.zeros(2, np.uint8)
    with pytest.raises(IndexError, match=f"index {bad} is out of range for 50 rows"):
        gather(np.ones(50, np.uint8), 50, 1, np.array([0, bad]), target)
    assert not target.any()


@pytest.mark.parametrize(
    ("rows", "width", "room", "why"),
    [(11, 1, 9, "the source has 10 bytes, 11"), (10, 1, 1, "the target has 1 bytes, 2"), (-1, 1, 9, "cannot be")],
)
def test_gather_refuses_buffers_that_are_too_small(rows, width, room, why):
    """A source or target too small for what is asked raises before anything is read."""
    with pytest.raises(ValueError, match=why):
        gather(np.zeros(10, np.uint8), rows, width, np.array([0, 1]), np.zeros(room, np.uint8))


def test_gather_needs_a_writable_target():
    """A read-only target raises BufferError or ValueError rather than being written."""
    with pytest.raises((BufferError, ValueError)):
        gather(np.zeros(4, np.uint8), 4, 1, np.array([0]), bytes(4))


def test_gather_of_nothing():
    """No indices, and rows without bytes, copy nothing."""
    gather(b"", 0, 8, np.empty(0, np.int64), bytearray())
    gather(b"", 5, 0, np.array([4, -5]), bytearray())


def shards_of(rows: list[bytes], shard_rows: int) -> list[tuple[np.ndarray, bytes]]:
    """Cut rows into shards of offsets and values."""
    parts = [rows[start : start + shard_rows] for start in range(0, len(rows), shard_rows)]
    return [(np.cumsum([0, *map(len, part)]), b"".join(part)) for part in parts]


def test_ragged_rows_over_shards():
    """Rows of different lengths are laid end to end in the order of the indices, whichever shard they come from."""
    rows = [bytes([number]) * (number % 4) for number in range(10)]
    ragged = Ragged(shards_of(rows, 4), 4, 10, 1)
    indices = np.array([9, 0, 4, -1, 3, 7, 7])
    offsets = np.empty(8, np.int64)
    total = ragged.measure(indices, offsets)
    target = bytearray(total)
    ragged.gather(indices, target)
    wanted = [rows[index] for index in indices]
    assert bytes(target) == b"".join(wanted)
    assert offsets.tolist() == [0, *np.cumsum([len(row) for row in wanted])]


def test_ragged_counts_in_items():
    """Offsets count items, not bytes."""
    values = np.arange(6, dtype=np.int32)
    ragged = Ragged([(np.array([0, 2, 6]), values)], 2, 2, 4)
    offsets, target = np.empty(2, np.int64), np.empty(4, np.int32)
    assert ragged.measure(np.array([1]), offsets) == 4
    ragged.gather(np.array([1]), target)
    assert target.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("offsets", [[0, 3, 2], [0, 1, 9], [-1, 1, 2]])
def test_ragged_never_reads_where_bad_offsets_point(offsets):
    """Offsets out of order or beyond the values raise; a gather without measuring leaves such rows out."""
    ragged = Ragged([(np.array(offsets), b"abcd")], 2, 2, 1)
    with pytest.raises(ValueError, match="out of order"):
        ragged.measure(np.array([0, 1]), np.empty(3, np.int64))
    target = bytearray(4)
    ragged.gather(np.array([0, 1]), target)
    assert set(bytes(target)) <= set(b"abcd\0")


def test_ragged_writes_no_further_than_its_target():
    """A target that is too small is filled as far as whole rows go."""
    ragged = Ragged([(np.array([0, 2, 4]), b"abcd")], 2, 2, 1)
    target = bytearray(b"....")
    ragged.gather(np.array([0, 1]), memoryview(target)[:3])
    assert bytes(target) == b"ab.."


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Ragged([(np.array([0, 1]), b"a")], 4, 5, 1), "need 2 shards, 1 came"),
        (lambda: Ragged([(np.array([0]), b"a")], 4, 4, 1), "the offsets have 8 bytes, 40"),
        (lambda: Ragged([], 4, 0, 0), "items of 0 bytes"),
        (lambda: Ragged([], 0, 4, 1), "cannot be"),
        (lambda: Bitmap([b""], 16, 9), "the bits have 0 bytes, 2"),
        (lambda: Bitmap([], 16, 9), "need 1 shards, 0 came"),
    ],
)
def test_shards_that_do_not_fit_are_refused(make, why):
    """Too few shards, or shards too short for their rows, raise when they are given."""
    with pytest.raises(ValueError, match=why):
        make()


def test_ragged_offsets_must_have_room():
    """The array for the offsets has one place more than there are indices."""
    with pytest.raises(ValueError, match="need 2 offsets"):
        Ragged([(np.array([0, 1]), b"a")], 1, 1, 1).measure(np.array([0]), np.empty(1, np.int64))


def test_bitmap_over_shards():
    """Bits are read least significant first, and a shard without a bitmap has all rows."""
    bitmap = Bitmap([bytes([0b101]), None, bytes([0b0])], 3, 8)
    present = np.empty(9, np.uint8)
    bitmap.gather(np.array([0, 1, 2, 3, 4, 5, 6, 7, -8]), present)
    assert present.tolist() == [1, 0, 1, 1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("thing", [Bitmap([None], 4, 3), Ragged([(np.zeros(4, np.int64), b"")], 4, 3, 1)])
def test_shards_check_indices(thing):
    """An index outside raises IndexError."""
    with pytest.raises(IndexError, match="index 3 is out of range for 3 rows"):
        thing.gather(np.array([3]), bytearray(8))


@pytest.mark.parametrize("length", [0, 1, 4096, 5000, 100_000, HUGE, 3 * HUGE + 1])
def test_blocks_are_writable_and_aligned(length):
    """A block has the length asked for and begins on a page, large ones on a huge page."""
    block = BlockPool(1 << 30).block(length)
    view = np.frombuffer(block, np.uint8) if length else np.empty(0, np.uint8)
    view[:] = 7
    assert len(block) == len(view) == length
    assert block.address % (HUGE if length >= HUGE else PAGE) == 0


def test_blocks_come_back_with_their_last_view():
    """A block is reused once no view of it is left, and not before."""
    pool = BlockPool(1 << 20)
    block = pool.block(10_000)
    address, view = block.address, np.frombuffer(block, np.uint8)
    del block
    assert pool.block(10_000).address != address
    del view
    assert pool.block(10_100).address == address
    assert pool.statistics().reused == 1


def test_the_pool_keeps_no_more_than_its_limit():
    """What comes back beyond the limit is freed; clear frees the rest."""
    pool = BlockPool(8192)
    blocks = [pool.block(4096) for _ in range(20)]
    assert (pool.statistics().live_blocks, pool.statistics().live_bytes) == (20, 20 * 4096)
    del blocks
    after = pool.statistics()
    assert (after.live_blocks, after.cached_blocks, after.cached_bytes, after.fresh) == (0, 2, 8192, 20)
    pool.clear()
    assert pool.statistics().cached_bytes == 0


FORKING = """
import os
import numpy as np
from alluxio_lance.sidecar._shm import BlockPool

pool = BlockPool(1 << 20)
kept = pool.block(4096)
np.frombuffer(kept, np.uint8)[:] = 5
pool.block(8192)
pid = os.fork()
if pid == 0:
    assert np.frombuffer(kept, np.uint8).sum() == 5 * 4096
    before = pool.statistics()
    del kept
    after = pool.statistics()
    os._exit(before.cached_blocks + before.live_blocks + after.cached_blocks + after.live_blocks)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert (pool.statistics().live_blocks, pool.statistics().cached_blocks) == (1, 1)
"""


def test_a_forked_child_starts_an_empty_pool():
    """A child reuses nothing that it inherited and counts from zero; the parent's pool is untouched."""
    subprocess.run([sys.executable, "-P", "-c", FORKING], check=True)


def test_blocks_outlive_their_pool():
    """A block may be used after the pool's last reference is gone."""
    block = BlockPool(1 << 20).block(4096)
    gc.collect()
    np.frombuffer(block, np.uint8)[:] = 1
    assert bytes(block) == b"\1" * 4096


def test_blocks_come_from_pools_only():
    """A block cannot be made without a pool, nor an absurd one with it."""
    with pytest.raises(TypeError, match="BlockPool"):
        Block()
    with pytest.raises(MemoryError):
        BlockPool(0).block(1 << 60)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: gather(bytes(64), 2**62, 4, np.array([5]), bytearray(64)),
        lambda: gather(bytes(64), 2**32, 2**32, np.array([5]), bytearray(64)),
        lambda: Ragged([(bytes(64), bytes(64))], 2**62, 2**62, 1),
        lambda: Ragged([(bytes(64), bytes(64))], 2**62, 2**63 - 1, 1),
        lambda: Bitmap([bytes(64)], 2**63 - 1, 2**63 - 1),
    ],
)
def test_numbers_whose_product_wraps_are_refused(misuse):
    """More bytes than 64 bits count are not taken for a few."""
    with pytest.raises(ValueError, match=r"bytes|shards"):
        misuse()


def test_a_piece_whose_end_wraps_is_refused(memfile):
    """Its end is not taken for one before its beginning."""
    with pytest.raises(ValueError, match="are not within"):
        Mapping([(memfile(bytes(4096)), 2**62, 2**62)])
