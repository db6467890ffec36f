"""The memory budget: what the host says, what is claimed, what is refused and in which words."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from alluxio_lance.errors import InvalidArgument, NoSpace
from alluxio_lance.sidecar.budget import Budget, Host

GIB = 1 << 30
MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1000 kB\nMemAvailable:    8388608 kB\n"


def _host(root: Path, files: dict[str, str]) -> Host:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Host(root)


V2 = {
    "proc/self/cgroup": "0::/pod/app\n",
    "sys/fs/cgroup/pod/app/memory.max": "max\n",
    "sys/fs/cgroup/pod/memory.max": str(4 * GIB),
    "sys/fs/cgroup/pod/memory.current": str(3 * GIB),
    "sys/fs/cgroup/pod/memory.stat": f"anon 5\ninactive_file {GIB}\n",
}
V1 = {
    "proc/self/cgroup": "4:memory:/docker/abc\n1:name=systemd:/\n0::/\n",
    # Inside a container only the root of its own hierarchy is mounted.
    "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB),
    "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
    "sys/fs/cgroup/memory/memory.stat": "cache 5\n",
}
UNLIMITED = {
    "proc/self/cgroup": "4:memory:/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
}


@pytest.mark.parametrize(
    ("files", "total", "available"),
    [
        ({}, 16 * GIB, 8 * GIB),
        (V2, 4 * GIB, 2 * GIB),
        (V1, 2 * GIB, GIB),
        (UNLIMITED, 16 * GIB, 8 * GIB),
        ({"proc/self/cgroup": "0::/\n"}, 16 * GIB, 8 * GIB),
        ({**V2, "sys/fs/cgroup/pod/memory.current": str(9 * GIB)}, 4 * GIB, 0),
    ],
    ids=["none", "version 2", "version 1", "version 1 without limit", "no controller", "over the limit"],
)
def test_the_tightest_limit_counts(tmp_path, files, total, available):
    """Cgroups of both versions and all levels, MemTotal and MemAvailable: the least one is what there is."""
    host = _host(tmp_path, files)
    assert host.total() == total
    assert host.available() == available


def test_this_machine_is_read():
    """The real files of this machine make a budget below its memory."""
    budget = Budget.detect()
    assert budget.limit > 0
    assert Host().available() <= Host().total()


@pytest.mark.parametrize(
    ("fraction", "huge", "limit"), [(0.25, 0, 4 * GIB), (0.25, GIB, 5 * GIB), (1.0, 0, 8 * GIB), (1.0, GIB, 9 * GIB)]
)
def test_the_budget_is_a_share_of_what_is_free(tmp_path, fraction, huge, limit):
    """A fraction of the memory, never more than is available, and the reserved huge pages on top."""
    assert Budget.detect(fraction, host=_host(tmp_path, {}), huge=huge).limit == limit


@pytest.mark.parametrize("fraction", [0, -1, 1.1])
def test_a_fraction_is_a_fraction(fraction):
    """Other numbers are refused."""
    with pytest.raises(InvalidArgument, match="above 0 and at most 1"):
        Budget.detect(fraction)


def test_wrong_settings_and_hosts_say_so(tmp_path):
    """A negative budget and a kernel that does not tell MemAvailable raise a sentence."""
    with pytest.raises(InvalidArgument, match="makes no sense"):
        Budget(-1)
    host = _host(tmp_path, {"proc/meminfo": "MemTotal: 5 kB\n"})
    with pytest.raises(InvalidArgument, match="does not tell MemAvailable"):
        host.available()


@pytest.mark.parametrize(
    ("limit", "free", "used", "need", "huge", "fits"),
    [
        (100, 1000, 0, 100, 0, True),
        (100, 1000, 1, 100, 0, False),
        (1000, 100, 0, 101, 0, False),
        (1000, 100, 0, 101, 1, True),
        (1000, 0, 0, 1000, 1000, True),
        (1000, 0, 1, 1000, 1000, False),
    ],
)
def test_a_claim_must_fit_the_budget_and_the_host(limit, free, used, need, huge, fits):
    """Bytes on reserved pages count against the budget, not against MemAvailable."""
    budget = Budget(limit, available=lambda: free)
    budget.reserve(used, huge=used)
    if fits:
        budget.reserve(need, huge=huge)
        assert budget.used == used + need
        budget.release(need)
    else:
        with pytest.raises(NoSpace):
            budget.reserve(need, huge=huge)
    assert budget.used == used


@pytest.mark.parametrize(
    ("number", "said"), [(5, "5 bytes"), (5 << 10, "5.0 KiB"), (3 << 19, "1.5 MiB"), (5 << 30, "5.0 GiB")]
)
def test_a_refusal_names_numbers_and_remedies(number, said):
    """The sentence has budget, need and use in readable units, the setting and the command; details have bytes."""
    budget = Budget(4, available=lambda: 7 << 20)
    budget.reserve(1)
    with pytest.raises(NoSpace) as refusal:
        budget.reserve(number)
    message = refusal.value.message
    for words in (said, "budget of 4 bytes", "1 bytes are used", "7.0 MiB free", "ALLUXIO_LANCE_MEMORY_BUDGET"):
        assert words in message
    assert "cache evict" not in message
    with pytest.raises(NoSpace, match="or make room with `alluxio-lance cache evict`"):
        budget.reserve(4)
    assert refusal.value.details == {"budget": 4, "need": number, "used": 1, "available": 7 << 20}


def test_claims_from_many_threads_add_up():
    """No claim is lost or counted twice."""
    budget = Budget(4000, available=lambda: 1 << 40)
    refused = []

    def claim() -> None:
        for _ in range(1000):
            try:
                budget.reserve(1)
            except NoSpace:
                refused.append(1)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.used == 4000
    assert len(refused) == 4000
