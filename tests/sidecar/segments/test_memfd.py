"""Sealed memory: pages, preallocation, seals, names, and what happens without memory."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from alluxio_lance.errors import Internal, NoSpace, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.sidecar import memfd as module
from alluxio_lance.sidecar.memfd import HUGE_PAGE, LARGE, Memfd, choose_pages, free_huge_bytes, round_up

MIB = 1 << 20


def _sealed(data: bytes, pages: Pages = Pages.SMALL, length: int = 4096) -> Memfd:
    memory = Memfd("alluxio-lance:test", len(data), pages)
    memory.write(0, data)
    memory.seal(length)
    return memory


def test_sealed_memory_cannot_be_changed_by_anybody():
    """Every way to change a sealed memfd is refused, with EPERM through a descriptor that may write; reading works."""
    with _sealed(b"hello") as memory:
        fd = os.open(f"/proc/self/fd/{memory.fd}", os.O_RDWR | os.O_CLOEXEC)
        for attempt in (
            lambda fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW),
            lambda fd: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
            lambda fd: os.pwrite(fd, b"x", 0),
            lambda fd: os.ftruncate(fd, 0),
            lambda fd: os.ftruncate(fd, 8192),
        ):
            with pytest.raises(PermissionError) as refusal:
                attempt(fd)
            assert refusal.value.errno == errno.EPERM
            with pytest.raises(OSError, match=r"Operation not permitted|Permission denied|Bad file|Invalid argument"):
                attempt(memory.fd)
        os.close(fd)
        assert os.pread(memory.fd, 5, 0) == b"hello"
        assert os.fstat(memory.fd).st_size == 4096


def test_a_sealed_descriptor_reads_only_and_goes_with_an_exec():
    """Kernels before 6.7 map sealed memory through no other one, and no program that is started shall inherit it."""
    with _sealed(b"hello") as memory:
        flags = fcntl.fcntl(memory.fd, fcntl.F_GETFL)
        assert flags & os.O_ACCMODE == os.O_RDONLY
        assert not os.get_inheritable(memory.fd)
        with mmap.mmap(memory.fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            assert mapping[:5] == b"hello"


def test_memory_is_there_before_the_first_write():
    """Preallocation takes the pages at once, and growth adds to them."""
    with Memfd("alluxio-lance:test", 5 * 4096) as memory:
        assert os.fstat(memory.fd).st_blocks * 512 == memory.allocated == 5 * 4096
        memory.ensure(4096)
        assert memory.allocated == 5 * 4096
        assert memory.write(7 * 4096, np.arange(4, dtype=np.int64)) == 32
        assert os.fstat(memory.fd).st_blocks * 512 == memory.allocated == 8 * 4096


def test_what_lies_beyond_the_sealed_length_is_given_back():
    """Sealing cuts the memfd to its length."""
    with Memfd("alluxio-lance:test", MIB) as memory:
        memory.seal(8192)
        assert os.fstat(memory.fd).st_blocks * 512 == 8192


def test_a_busy_writer_makes_sealing_fail_with_a_sentence(monkeypatch):
    """A writable mapping that stays is an error, not an unsealed segment; one that goes in time is waited for."""
    with Memfd("alluxio-lance:test", 4096) as memory:
        foreign = mmap.mmap(memory.fd, 4096)
        waits = iter([lambda: None, foreign.close])
        monkeypatch.setattr(module.time, "sleep", lambda _: next(waits)())
        memory.seal(4096)
    with Memfd("alluxio-lance:test", 4096) as memory, mmap.mmap(memory.fd, 4096):
        monkeypatch.setattr(module.time, "sleep", lambda _: None)
        with pytest.raises(Internal, match="keeps a writable mapping"):
            memory.seal(4096)


def test_a_second_seal_is_an_error_of_the_kernel():
    """Sealing twice is a fault of the caller and shows as the kernel's refusal."""
    with _sealed(b"x") as memory, pytest.raises(OSError, match="Invalid argument"):
        memory.seal(4096)


def test_closing_is_idempotent_and_a_closed_one_says_so():
    """A second close does nothing; using a closed one raises `Internal` with its name."""
    memory = Memfd("alluxio-lance:test", 0)
    memory.close()
    memory.close()
    with pytest.raises(Internal, match="alluxio-lance:test is closed"):
        memory.write(0, b"x")


def test_a_detached_descriptor_is_the_callers():
    """After `detach` closing the object leaves the descriptor open."""
    memory = _sealed(b"hello")
    fd = memory.detach()
    memory.close()
    assert os.pread(fd, 5, 0) == b"hello"
    os.close(fd)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("alluxio-lance:datasets/x@v3:image:0", "alluxio-lance:datasets/x@v3:image:0"),
        ("nul\0in it", "nulin it"),
        ("a" * 300 + "z", "a" * 123 + "..." + "a" * 122 + "z"),
        ("é" * 200 + ":0", "é" * 61 + "..." + "é" * 60 + ":0"),
    ],
)
def test_names_fit_the_kernel(name, shown):
    """A memfd is called what its segment is; too long names lose their middle, never half a character."""
    with Memfd(name, 0) as memory:
        assert str(Path(f"/proc/self/fd/{memory.fd}").readlink()) == f"/memfd:{shown} (deleted)"
        assert len(memory.name.encode()) <= 249


def test_a_lack_of_reserved_pages_is_no_space_and_leaves_nothing(memfds):
    """Reserved pages that are not there raise `NoSpace` before a byte is written; nothing stays open."""
    with pytest.raises(NoSpace, match="the kernel has no memory for alluxio-lance:test") as refusal:
        Memfd("alluxio-lance:test", free_huge_bytes() + 64 * HUGE_PAGE, Pages.HUGE)
    assert refusal.value.details["need"] == free_huge_bytes() + 64 * HUGE_PAGE
    assert memfds() == []


def test_a_lack_of_descriptors_names_the_limit():
    """Without a free descriptor the error names the setting to raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(fd.name) for fd in Path("/proc/self/fd").iterdir())
    blockers = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    limit = max(highest, *blockers)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with pytest.raises(Unavailable, match="LimitNOFILE"):
            [blockers.append(Memfd("alluxio-lance:test", 0).detach()) for _ in range(limit)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in blockers:
            os.close(fd)


def test_other_faults_of_the_kernel_come_through():
    """An error that is neither memory nor descriptors is not dressed up as `NoSpace`."""
    with Memfd("alluxio-lance:test", 4096) as memory:
        memory.seal(4096)
        with pytest.raises(OSError, match="Bad file descriptor"):
            memory.write(8192, b"x")


@pytest.mark.parametrize(
    ("data", "prefer", "pool", "thp", "expected"),
    [
        (LARGE - 1, Pages.HUGE, 1 << 40, True, Pages.SMALL),
        (LARGE, Pages.HUGE, 1 << 40, True, Pages.HUGE),
        (LARGE, Pages.HUGE, LARGE, True, Pages.TRANSPARENT),
        (LARGE, Pages.HUGE, 0, False, Pages.SMALL),
        (LARGE, Pages.TRANSPARENT, 1 << 40, True, Pages.TRANSPARENT),
        (LARGE, Pages.TRANSPARENT, 1 << 40, False, Pages.SMALL),
        (LARGE, Pages.SMALL, 1 << 40, True, Pages.SMALL),
    ],
)
def test_pages_are_the_best_that_the_host_has(data, prefer, pool, thp, expected, monkeypatch):
    """Reserved pages come first, then transparent ones, then small ones; little data stays on small ones."""
    monkeypatch.setattr(module, "_transparent_allowed", lambda: thp)
    assert choose_pages(data, prefer, pool=pool) is expected


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("always within_size advise [never] deny force", False),
        ("always within_size [advise] never deny force", True),
        ("[always] within_size advise never deny force", True),
        ("always within_size advise never [deny] force", False),
        (None, False),
    ],
)
def test_the_switch_of_transparent_pages_is_read(tmp_path, text, allowed):
    """The bracketed word of shmem_enabled decides; a kernel without the file has none."""
    switch = tmp_path / "shmem_enabled"
    if text is not None:
        switch.write_text(text)
    assert module._transparent_allowed(switch) is allowed


def test_pages_with_a_claim_on_them_are_not_free(tmp_path):
    """Free pages that somebody has reserved by a mapping do not count; a host without a pool has 0 bytes."""
    assert free_huge_bytes(tmp_path) == 0
    (tmp_path / "free_hugepages").write_text("10\n")
    (tmp_path / "resv_hugepages").write_text("3\n")
    assert free_huge_bytes(tmp_path) == 7 * HUGE_PAGE


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("0::/pod/box", ("sys/fs/cgroup", "hugetlb.2MB.max", "hugetlb.2MB.current")),
        ("7:hugetlb:/pod/box", ("sys/fs/cgroup/hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.usage_in_bytes")),
    ],
)
def test_the_limit_of_a_container_for_huge_pages(tmp_path, line, files):
    """The least of what the cgroup and those above leave counts; none says so, and "max" is no limit."""
    assert module.huge_allowance(tmp_path) == sys.maxsize
    mount, limit, usage = files
    for folder, most, used in (("pod/box", "max", 0), ("pod", 20 * MIB, 6 * MIB), ("", 64 * MIB, 8 * MIB)):
        (tmp_path / mount / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / mount / folder / limit).write_text(f"{most}\n")
        (tmp_path / mount / folder / usage).write_text(f"{used}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"3:cpu:/other\n{line}\n")
    assert module.huge_allowance(tmp_path) == 14 * MIB
    (tmp_path / mount / "pod" / usage).write_text(f"{30 * MIB}\n")
    assert module.huge_allowance(tmp_path) == 0


def test_claimed_pages_are_cleared_by_another_thread(reserved_pages, memfds):
    """There are none before that; a write waits for what it needs, and a memory that is given up for nothing."""
    started, go = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as taker:
        taker.submit(lambda: (started.set(), go.wait(60)))
        assert started.wait(60)
        with Memfd("alluxio-lance:test", 3 * HUGE_PAGE, Pages.HUGE, claimed=True) as memory:
            assert os.fstat(memory.fd).st_blocks == 0
            memory.clear(taker)
            threading.Timer(0.05, go.set).start()
            memory.write(HUGE_PAGE, b"here")
            memory.seal(2 * HUGE_PAGE)
            assert os.fstat(memory.fd).st_blocks * 512 == 2 * HUGE_PAGE
            with mmap.mmap(memory.fd, 2 * HUGE_PAGE, prot=mmap.PROT_READ) as mapping:
                assert mapping[HUGE_PAGE : HUGE_PAGE + 5] == b"here\0"
        memory = Memfd("alluxio-lance:test", 3 * HUGE_PAGE, Pages.HUGE, claimed=True)
        memory.clear(taker)
        memory.close()
    assert memfds() == []


def test_reserved_pages_are_written_through_a_mapping_and_sealed(reserved_pages):
    """Memory on hugetlbfs, which knows no write, has the bytes, is sealed, and growth keeps what was written."""
    with Memfd("alluxio-lance:test", 10, Pages.HUGE) as memory:
        memory.write(3, b"first")
        memory.write(HUGE_PAGE, b"second")
        with pytest.raises(Internal, match="no whole huge pages"):
            memory.seal(4096)
        memory.seal(2 * HUGE_PAGE)
        assert os.fstat(memory.fd).st_blocks * 512 == 2 * HUGE_PAGE
        with mmap.mmap(memory.fd, 2 * HUGE_PAGE, prot=mmap.PROT_READ) as mapping:
            assert mapping[3:8] == b"first"
            assert mapping[HUGE_PAGE : HUGE_PAGE + 6] == b"second"
        with pytest.raises(PermissionError):
            mmap.mmap(memory.fd, 2 * HUGE_PAGE)


def test_transparent_pages_are_whole_and_sealed(transparent_pages):
    """Advised shared memory lies on huge pages where the kernel has them, and has the bytes."""
    with Memfd("alluxio-lance:test", 20 * MIB, Pages.TRANSPARENT) as memory:
        assert os.fstat(memory.fd).st_blocks * 512 == memory.allocated == 20 * MIB
        memory.write(5 * MIB + 1, b"here")
        memory.seal(round_up(19 * MIB + 1, 4096))
        assert os.pread(memory.fd, 4, 5 * MIB + 1) == b"here"
        with mmap.mmap(memory.fd, 0, prot=mmap.PROT_READ) as mapping, pytest.raises(TypeError):
            mapping[0] = 1
