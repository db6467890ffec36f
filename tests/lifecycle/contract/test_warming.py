"""The cache below, on both managers: warm, cool, explain on tables in a folder, where there is none."""

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotActive, NotFound, Restoring
from alluxio_lance.ways import Way


def table(n, start=0):
    """Make n rows."""
    return pa.table({"id": pa.array(range(start, start + n), pa.int64())})


@pytest.fixture
def two(manager):
    """A resource with an old version of 5 rows and an active one of 10."""
    old = manager.register_resource("datasets", "a", table(5))
    manager.update_resource("datasets", "a", table(5, 5))
    return old


def test_in_a_folder_all_is_there(manager, two):
    """Nothing is to load, and nothing is pinned."""
    told = []
    share = manager.warm_resource("datasets", "a", on_progress=told.append)
    assert (share.percent, share.cached_bytes, share.pinned) == (100, share.bytes, False)
    assert share.bytes > two.num_bytes
    older = manager.warm_resource("datasets", "a", "1.0.0")
    assert older.bytes < share.bytes
    assert all(progress.step == "cache" for progress in told)


def test_in_a_folder_every_file_is_local(manager, two):
    """With its size and a reason, by path; there is no share of a cache that is not there."""
    found = manager.explain_resource("datasets", "a")
    assert found.share is None
    assert [file.path for file in found.files] == sorted(file.path for file in found.files)
    assert {(file.way, file.cached_percent) for file in found.files} == {(Way.LOCAL, None)}
    assert all(file.why for file in found.files)
    assert sum(file.bytes for file in found.files) >= manager.find_version("datasets", "a").num_bytes
    assert len(manager.explain_resource("datasets", "a", "1.0.0").files) < len(found.files)
    assert [version.cached_bytes for version in manager.storage("datasets", "a").versions] == [None, None]


def test_in_a_folder_nothing_is_freed(manager, two):
    """And the active version never is."""
    assert manager.cool_resource("datasets", "a", "1.0.0") == 0
    with pytest.raises(InvalidArgument, match="active"):
        manager.cool_resource("datasets", "a", "1.1.0")


def test_what_is_in_the_cold_tier_has_no_way(manager, two):
    """To explain it begins nothing; to warm it brings it back."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(Restoring, match="cold tier"):
        manager.explain_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").cold_bytes > 0
    assert manager.cool_resource("datasets", "a", "1.0.0") == 0


def test_what_is_not_there_has_no_cache(manager, two):
    """The same errors as for opening it."""
    for call in (manager.warm_resource, manager.cool_resource, manager.explain_resource):
        with pytest.raises(NotFound):
            call("datasets", "a", "9.9.9")
    manager.deprecate_resource("datasets", "a", "1.1.0")
    for call in (manager.warm_resource, manager.explain_resource):
        with pytest.raises(NotActive):
            call("datasets", "a")
