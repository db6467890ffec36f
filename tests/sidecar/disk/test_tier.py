"""The disk tier: what comes back, what is thrown away, what makes room for what, and that nobody waits."""

from __future__ import annotations

import errno
import os
import resource
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import AlreadyExists, NoSpace, PermissionDenied, Unavailable
from alluxio_lance.layout import ColumnKind, Pages
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.disk import reading, writing

ROWS = 5000


def _every_kind() -> pa.Table:
    nulls = np.arange(ROWS) % 7 == 0
    return pa.table(
        {
            "fixed": pa.array(np.arange(ROWS), mask=nulls),
            "image": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(ROWS * 12, dtype=np.uint8)), 12),
            "text": pa.array([f"row {number}" for number in range(ROWS)], mask=nulls),
            "ragged": pa.array([list(range(number % 5)) for number in range(ROWS)], pa.list_(pa.int32())),
            "null items": pa.array([[None, number] for number in range(ROWS)], pa.list_(pa.int64())),
            "choice": pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
            "struct": pa.array([{"a": number} for number in range(ROWS)]),
        }
    )


def _anonymous(columns):
    """Describe columns without the ids of their segments, which are those of one run."""
    return [
        replace(hot.column, segments=tuple(replace(segment, id=0) for segment in hot.column.segments))
        for hot in columns
    ]


# -- there and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [ROWS, 0])
def test_every_kind_of_column_comes_back_after_a_restart(versions, open_tier, read_column, memfds, rows):
    """With the same layout, the same values, ids of its own, and sealed."""
    table = _every_kind().slice(0, rows)
    tier = open_tier()
    kept = versions.keep(tier, table)
    tier.close()
    tier = open_tier()
    back = versions.back(tier, table)
    assert _anonymous(back) == _anonymous(kept)
    ids = [segment.id for hot in (*kept, *back) for segment in hot.column.segments]
    assert len(set(ids)) == len(ids)
    for one, other in zip(kept, back, strict=True):
        assert one.column.schema == other.column.schema
        if rows:
            assert read_column(other).equals(read_column(one))
        for descriptor in other.descriptors:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.pwrite(descriptor, b"x", 0)
    statistics = tier.statistics()
    assert (statistics.columns, statistics.hits, statistics.misses) == (7, 7, 0)
    assert statistics.dropped_writes == statistics.corrupt == 0


def test_the_files_are_standard_arrow_files(versions, open_tier, folder):
    """Anybody can open them."""
    table = pa.table({"x": np.arange(ROWS)})
    versions.keep(open_tier(), table)
    (first, second) = sorted(folder.glob("*/*.arrow"))
    read = [pa.ipc.open_file(pa.OSFile(str(path))).read_all() for path in (first, second)]
    assert pa.concat_tables(read).equals(table)


def test_what_determines_the_layout_is_part_of_the_key(versions, open_tier, table):
    """Another version, other shards, another type: none of it is found."""
    tier = open_tier()
    versions.keep(tier, table, "ab")
    plan = versions.plan(table)
    assert versions.back(tier, table, "cd") == []
    assert tier.load("ab" * 32, replace(plan, shard_rows=8192), versions.budget) == []
    narrower = table.set_column(0, "x", table["x"].cast(pa.int32()))
    assert [hot.column.name for hot in versions.back(tier, narrower)] == ["t"]


def test_huge_pages_come_back_as_such_or_as_small_ones(versions, open_tier, read_column, reserved_pages):
    """A segment that was laid out for huge pages lies on those that there are now."""
    versions.shard_bytes = 8 << 20
    table = pa.table({"x": pa.array(np.arange(1 << 21), pa.int64())})
    tier = open_tier()
    (kept,) = versions.keep(tier, table, prefer=Pages.HUGE)
    assert [segment.pages for segment in kept.column.segments] == [Pages.HUGE] * 2
    for prefer in (Pages.HUGE, Pages.SMALL):
        (back,) = versions.back(tier, table, prefer=prefer)
        assert [segment.pages for segment in back.column.segments] == [prefer] * 2
        assert read_column(back).equals(table["x"])


# -- bad bytes ---------------------------------------------------------------------------------------------------------


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def _cut(path):
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("when", ["before the start", "after the start"])
@pytest.mark.parametrize(
    ("file", "damage", "counted"),
    [
        ("0.arrow", _flip, True),
        ("1.arrow", _cut, False),
        ("1.arrow", os.unlink, False),
        ("index.json", _flip, False),
        ("index.json", os.unlink, False),
    ],
    ids=["flipped bit", "cut segment", "lost segment", "flipped bit in the index", "lost index"],
)
def test_a_damaged_column_is_never_used(versions, open_tier, folder, read_column, table, when, file, damage, counted):
    """It goes, the other column stays, and what is written anew is used again."""
    tier = open_tier()
    versions.keep(tier, table)
    if when == "before the start":
        tier.close()
    (damaged,) = (each.parent for each in folder.glob("*/index.json") if '"column":"x"' in each.read_text())
    damage(damaged / file)
    if when == "before the start":
        tier = open_tier()
    back = versions.back(tier, table)
    # What was read at the start does not depend on the file any more.
    kept_in_mind = when == "after the start" and file == "index.json"
    assert [hot.column.name for hot in back] == (["x", "t"] if kept_in_mind else ["t"])
    assert read_column(back[-1]).equals(table["t"].cast(pa.large_string()))
    if not kept_in_mind:
        assert not damaged.exists()
        assert tier.statistics().corrupt == (counted or (when == "after the start" and damage is _cut))
        versions.keep(tier, table)
        assert len(versions.back(tier, table)) == 2


def test_only_what_a_death_left_is_removed_at_the_start(open_tier, folder):
    """Files of somebody else, in a folder that was meant for something else, too, stay."""
    digest = "0123456789abcdef" * 4
    for name in (f"new-{digest}", f"old-{digest}-3", digest, "mine", "new-thoughts"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.arrow").write_bytes(b"x")
    open_tier()
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "mine", "new-thoughts"]


def test_a_folder_has_one_sidecar(open_tier, folder):
    """The second one is told who has it; when the first one has ended it may."""
    first = open_tier()
    with pytest.raises(AlreadyExists, match=f"process {os.getpid()}.*disk_dir"):
        open_tier()
    first.close()
    open_tier()


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_can_write_is_refused(open_tier, folder, mode):
    """They could put other bytes there, with hashes that fit; who can only look is no danger, and nothing is changed."""
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionDenied, match=f"mode {mode:04o}.*disk_dir"):
        open_tier()
    folder.chmod(0o755)
    open_tier()
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_made_is_said(open_tier, tmp_path):
    """With the setting that helps."""
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="disk_dir"):
        open_tier(path=tmp_path / "file" / "disk")


# -- short of something ------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(monkeypatch):
    """Have the kernel refuse to open what is asked for under some names, until the list is empty."""
    names: list[str] = []
    plain = os.open

    def open(path, *arguments, **keywords):
        if any(name in str(path) for name in names):
            raise OSError(open.errno, os.strerror(open.errno))
        return plain(path, *arguments, **keywords)

    open.errno, open.names = errno.EMFILE, names
    monkeypatch.setattr(os, "open", open)
    return open


def _open_files(folder):
    return [name for fd in Path("/proc/self/fd").iterdir() if str(folder) in (name := os.path.realpath(fd))]


@pytest.mark.parametrize("why", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_column_that_cannot_be_opened_for_the_moment_stays(versions, open_tier, folder, table, refused, why):
    """It is missing this time, nothing of it stays open, and it comes back as soon as it can be opened."""
    tier = open_tier()
    versions.keep(tier, table)
    open_before = _open_files(folder)
    refused.errno = why
    refused.names.append("/1.arrow")
    assert versions.back(tier, table) == []
    assert _open_files(folder) == open_before
    refused.names.clear()
    assert len(versions.back(tier, table)) == 2
    statistics = tier.statistics()
    assert (statistics.columns, statistics.hits, statistics.misses, statistics.corrupt) == (2, 2, 2, 0)


def test_a_column_that_cannot_be_read_for_the_moment_stays(versions, open_tier, table, monkeypatch):
    """The same for a kernel without memory; a disk that fails is another thing."""
    tier = open_tier()
    versions.keep(tier, table)
    why = errno.ENOMEM

    def refuse(*_):
        raise OSError(why, os.strerror(why))

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", refuse)
        assert versions.back(tier, table) == []
    assert len(versions.back(tier, table)) == 2
    statistics = tier.statistics()
    assert (statistics.columns, statistics.hits, statistics.misses, statistics.corrupt) == (2, 2, 2, 0)
    why = errno.EIO
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", refuse)
        assert versions.back(tier, table) == []
    assert (tier.statistics().columns, tier.statistics().corrupt) == (0, 2)


@pytest.mark.parametrize("by", ["a removal", "a write"])
def test_what_cannot_be_removed_for_the_moment_is_removed_later(versions, open_tier, folder, table, refused, by):
    """Whatever comes next: until a restart nobody would count the room that it takes."""
    tier = open_tier()
    versions.keep(tier, table, "aa")
    versions.keep(tier, table.select(["x"]), "bb")
    refused.names.append("old-")
    tier.keep_only(("datasets", "x"), {"bb" * 32})
    assert len(list(folder.glob("old-*"))) == 2
    refused.names.clear()
    if by == "a removal":
        tier.keep_only(("datasets", "x"), ())
        left = 0
    else:
        versions.keep(tier, table.select(["t"]), "bb")
        left = 2
    assert len([path for path in folder.iterdir() if path.name != "lock"]) == left


# -- the budget --------------------------------------------------------------------------------------------------------


@pytest.fixture
def size(versions, open_tier, table) -> int:
    """What one version of the table takes on the disk."""
    with open_tier() as tier:
        versions.keep(tier, table, "00")
        used = tier.statistics().used_bytes
        tier.keep_only(("datasets", "x"), ())
        assert tier.statistics().used_bytes == 0
        return used


@pytest.mark.parametrize("by", ["load", "use"])
@pytest.mark.parametrize("restarted", [False, True])
def test_the_longest_unused_makes_room(versions, open_tier, folder, table, size, by, restarted):
    """Before anything is written, by the last use, in shared memory, too; a restart does not forget the order."""
    tier = open_tier(2 * size + 100)
    versions.keep(tier, table, "aa")
    versions.keep(tier, table, "bb")
    if by == "load":
        versions.back(tier, table, "aa")
    else:
        tier.use("aa" * 32)
    if restarted:
        tier.close()
        tier = open_tier(2 * size + 100)
    versions.keep(tier, table, "cc")
    assert tier.statistics().used_bytes == 2 * size
    assert sum(path.stat().st_size for path in folder.glob("*/*.arrow")) <= 2 * size
    assert [versions.has(tier, table, content) for content in ("aa", "bb", "cc")] == [True, False, True]


def test_a_version_larger_than_the_budget_is_not_kept(versions, open_tier, table, size):
    """And nothing goes for its sake."""
    tier = open_tier(size + 100)
    versions.keep(tier, table, "aa")
    versions.keep(tier, table.append_column("y", table["x"]), "bb")
    statistics = tier.statistics()
    assert (statistics.columns, statistics.dropped_writes) == (2, 3)
    assert versions.has(tier, table, "aa")


def test_columns_of_a_version_never_push_each_other_out(versions, open_tier, table, size):
    """Of a version that comes column by column, what does not fit is not kept."""
    tier = open_tier(size + 100)
    versions.keep(tier, table, "aa")
    versions.keep(tier, table.rename_columns(["y", "z"]), "aa")
    assert versions.has(tier, table, "aa")
    assert tier.statistics().dropped_writes == 2


def test_a_smaller_budget_holds_from_the_start(versions, open_tier, folder, table, size):
    """What is too much goes at once, and it is a share of what is free and what the tier has."""
    tier = open_tier()
    versions.keep(tier, table, "aa")
    versions.keep(tier, table, "bb")
    tier.close()
    tier = open_tier(size)
    assert tier.statistics().used_bytes == size
    assert versions.has(tier, table, "bb")
    assert len(list(folder.glob("*/index.json"))) == 2


def test_what_was_purged_is_removed(versions, open_tier, folder, table):
    """Versions of the same resource that are known stay, those of other resources as well."""
    tier = open_tier()
    for content in ("aa", "bb"):
        versions.keep(tier, table, content)
    tier.keep_only(("datasets", "other"), ())
    tier.keep_only(("datasets", "x"), {"bb" * 32})
    assert [versions.has(tier, table, content) for content in ("aa", "bb")] == [False, True]
    assert tier.owners() == {("datasets", "x")}
    assert len(list(folder.iterdir())) == 3


# -- in the background -------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(monkeypatch):
    """A writer that stops at its first flush until the event is set."""
    go_on, reached = threading.Event(), threading.Event()
    flush = writing.flush

    def wait(path):
        reached.set()
        assert go_on.wait(20)
        flush(path)

    monkeypatch.setattr(writing, "flush", wait)
    wait.reached, wait.go_on = reached, go_on
    yield wait
    go_on.set()


def test_a_disk_that_cannot_keep_up_drops_what_is_offered(versions, open_tier, table, stopped):
    """The offer returns at once, nothing is held for it, and later ones are kept again."""
    tier = open_tier()
    hot = versions.load(table)
    versions.offer(tier, table, hot, "00")
    assert stopped.reached.wait(20)
    for number in range(1, 78):
        versions.offer(tier, table, hot, f"{number:02}")
    assert tier.statistics().dropped_writes == 2 * 13
    stopped.go_on.set()
    assert tier.settle()
    assert tier.statistics().columns == 2 * 65
    versions.keep(tier, table, "ff")
    assert versions.has(tier, table, "ff")


def test_memory_that_was_freed_is_not_held_for_the_disk(versions, open_tier, table, stopped, memfds):
    """Neither for what waits to be written, nor while a flush takes its time."""
    tier = open_tier()
    for content in ("aa", "bb"):
        versions.offer(tier, table, versions.load(table), content)
    assert stopped.reached.wait(20)
    versions.close()
    versions._hot.clear()
    assert memfds()
    tier.forget("aa")
    tier.forget("bb")
    # Neither what is copied already nor what is not begun.
    assert memfds() == []
    stopped.go_on.set()
    assert tier.settle()
    # What had been copied before is whole; the rest is not there.
    assert (tier.statistics().columns, tier.statistics().dropped_writes) == (1, 3)
    assert memfds() == []


def test_closing_ends_what_is_being_written(versions, open_tier, table, folder, stopped):
    """What is not whole by then is not there at the next start."""
    tier = open_tier()
    for content in ("aa", "bb"):
        versions.offer(tier, table, versions.load(table), content)
    assert stopped.reached.wait(20)
    closing = threading.Thread(target=tier.close)
    closing.start()
    stopped.go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    assert not list(folder.glob("new-*"))
    assert open_tier().statistics().columns == 1


def test_what_is_purged_while_it_is_written_does_not_stay(versions, open_tier, table, folder, stopped):
    """Neither what waits nor what is all but whole."""
    tier = open_tier()
    for content in ("aa", "bb"):
        versions.offer(tier, table, versions.load(table), content)
    assert stopped.reached.wait(20)
    tier.keep_only(("datasets", "x"), ())
    stopped.go_on.set()
    assert tier.settle()
    assert tier.statistics().columns == 0
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_full_disk_keeps_nothing_and_is_no_failure(versions, open_tier, folder):
    """What was half written goes, and the next that fits is kept."""
    table = pa.table({"x": np.arange(100_000)})
    tier = open_tier()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        hot = versions.load(pa.table({"x": np.arange(10)}))
        versions.offer(tier, pa.table({"x": np.arange(10)}), hot, "aa")
        assert tier.settle()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        large = versions.load(table)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        versions.offer(tier, table, large, "bb")
        assert tier.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tier.statistics().columns, tier.statistics().dropped_writes) == (1, 1)
    assert len([path for path in folder.iterdir() if path.name != "lock"]) == 1
    versions.keep(tier, table, "bb")
    assert versions.has(tier, table, "bb")


# -- loads that fail ---------------------------------------------------------------------------------------------------


def test_what_does_not_fit_into_memory_is_refused(versions, open_tier, table, memfds):
    """Nothing stays claimed or open, and the disk keeps it."""
    tier = open_tier()
    versions.keep(tier, table)
    small = Budget(4096, available=lambda: 1 << 40)
    open_before = len(memfds())
    with pytest.raises(NoSpace):
        tier.load("ab" * 32, versions.plan(table), small)
    assert (small.used, len(memfds())) == (0, open_before)
    assert len(versions.back(tier, table)) == 2


def test_a_kernel_without_memory_is_refused(versions, open_tier, table, memfds, monkeypatch):
    """The same where the budget would have had room."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "no space")

    tier = open_tier()
    versions.keep(tier, table)
    used, open_before = versions.budget.used, len(memfds())
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(NoSpace, match="the kernel has no memory"):
        versions.back(tier, table)
    assert (versions.budget.used, len(memfds())) == (used, open_before)


def test_a_kernel_that_took_more_than_was_claimed_may_be_refused(versions, open_tier, table, memfds, monkeypatch):
    """When all has been read, and the budget has no room for the rest."""
    plain = reading.Account.settle

    def settle(account, size):
        if size:
            raise NoSpace("the budget has no room for it", need=size)
        plain(account, size)

    tier = open_tier()
    versions.keep(tier, table)
    used, open_before = versions.budget.used, len(memfds())
    with monkeypatch.context() as patch:
        patch.setattr(reading.Account, "settle", settle)
        with pytest.raises(NoSpace):
            versions.back(tier, table)
    assert (versions.budget.used, len(memfds())) == (used, open_before)
    assert len(versions.back(tier, table)) == 2


def test_a_load_can_be_cancelled(versions, open_tier, table, memfds):
    """Nothing stays claimed or open."""
    tier = open_tier()
    versions.keep(tier, table)
    used, open_before = versions.budget.used, len(memfds())
    with pytest.raises(Unavailable, match="cancelled"):
        versions.back(tier, table, cancelled=lambda: True)
    assert (versions.budget.used, len(memfds())) == (used, open_before)


def test_progress_counts_bytes_to_the_end(versions, open_tier, table):
    """Under its own name."""
    told = []
    tier = open_tier()
    kept = versions.keep(tier, table)
    versions.back(tier, table, on_progress=told.append)
    length = sum(segment.length for hot in kept for segment in hot.column.segments)
    assert {progress.step for progress in told} == {"disk"}
    assert (told[-1].bytes, told[-1].total_bytes) == (length, length)


def test_what_was_found_can_be_read_while_it_is_evicted(versions, open_tier, table, read_column):
    """The files are open by then."""
    tier = open_tier()
    versions.keep(tier, table)

    def evict(_):
        tier.keep_only(("datasets", "x"), ())

    back = versions.back(tier, table, on_progress=evict)
    assert len(back) == 2
    assert tier.statistics().columns == 0


def test_kinds_that_the_data_decide_are_found_by_their_type(versions, open_tier, read_column):
    """A list with null items is planned as VARIABLE and kept as ARROW."""
    table = _every_kind().select(["null items"])
    tier = open_tier()
    versions.keep(tier, table)
    (back,) = versions.back(tier, table)
    assert back.column.kind is ColumnKind.ARROW
    assert read_column(back).equals(table["null items"])


def test_a_use_that_cannot_be_noted_is_no_error(versions, open_tier, table, folder):
    """A disk that went read-only is still read; here the folder is replaced by a file while it is read."""
    tier = open_tier()
    versions.keep(tier, table)

    def replace_folders(_):
        for column in folder.glob("?" * 64):
            if column.is_dir():
                column.rename(folder / f"gone-{column.name}")
                column.touch()

    assert len(versions.back(tier, table, on_progress=replace_folders)) == 2


def test_files_and_links_where_folders_belong_go(open_tier, folder, tmp_path):
    """At the next start, and not what a link leads to."""
    open_tier().close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    (folder / ("a" * 64)).touch()
    (folder / ("b" * 64)).symlink_to(tmp_path / "elsewhere")
    (folder / f"new-{'c' * 64}").touch()
    (folder / f"old-{'d' * 64}-1").symlink_to(tmp_path / "elsewhere")
    tier = open_tier()
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert (tmp_path / "elsewhere" / "mine").exists()
    assert tier.statistics().used_bytes == 0
