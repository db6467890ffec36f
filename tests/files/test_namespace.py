"""The namespace of a real Alluxio."""

import pytest

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from alluxio_lance.files.namespace import Namespace
from alluxio_lance.storage.alluxio.cluster import Ports


@pytest.fixture
def namespace(cluster):
    """The namespace, empty again afterwards."""
    with Namespace("localhost", cluster.plan.ports.proxy) as found:
        found.make_folder("/t")
        yield found
        found.remove("/t")


def put(namespace, path, data):
    """Write a file through Alluxio."""
    with namespace._client.open(path, "w") as out:
        out.write(data)


def test_files_and_folders_are_listed_with_what_is_cached(namespace):
    """Names with blanks too; a file just written is wholly cached and safe below."""
    namespace.make_folder("/t/a b")
    namespace.make_folder("/t/a b")
    put(namespace, "/t/a b/f", b"x" * 1000)
    found = {each.path: each for each in namespace.list("/t", recursive=True)}
    assert set(found) == {"/t/a b", "/t/a b/f"}
    assert found["/t/a b"].is_folder
    file = namespace.status("/t/a b/f")
    assert (file.length, file.cached_percent, file.persisted, len(file.blocks)) == (1000, 100, True, 1)


def test_what_is_freed_leaves_the_cache_and_stays_below(namespace):
    """Reading it brings it back."""
    put(namespace, "/t/f", b"x" * 1000)
    namespace.free("/t/f")
    assert namespace.await_cached("/t/f", percent=0, patience=30)
    with namespace._client.open("/t/f", "r") as file:
        assert file.read() == b"x" * 1000
    assert namespace.await_cached("/t/f", percent=100, patience=30)


def test_a_pin_is_set_and_taken_off(namespace):
    """For a folder and all that is in it."""
    put(namespace, "/t/f", b"x")
    namespace.pin("/t", pinned=True)
    assert namespace.status("/t/f").pinned
    namespace.pin("/t", pinned=False)
    assert not namespace.status("/t/f").pinned


def test_files_move_and_go(namespace):
    """A missing one is no error for a removal."""
    put(namespace, "/t/f", b"x")
    namespace.rename("/t/f", "/t/g")
    assert not namespace.exists("/t/f")
    namespace.remove("/t/g")
    namespace.remove("/t/g")
    assert namespace.list("/t") == []


def test_only_an_empty_folder_is_removed_as_one(namespace):
    """What somebody puts into it at that moment stays: the refusal is Alluxio's own."""
    namespace.make_folder("/t/full")
    namespace.make_folder("/t/empty")
    put(namespace, "/t/full/f", b"x")
    assert not namespace.remove_empty("/t/full")
    assert namespace.status("/t/full/f").length == 1
    assert namespace.remove_empty("/t/empty")
    assert not namespace.exists("/t/empty")
    assert namespace.remove_empty("/t/empty")


def test_a_folder_of_the_disk_is_mounted_and_taken_out(namespace, tmp_path):
    """Its files are seen at once, and stay on the disk afterwards."""
    (tmp_path / "f").write_bytes(b"abc")
    namespace.mount("/t/m", str(tmp_path), {})
    assert namespace.status("/t/m/f").length == 3
    with pytest.raises(AlreadyExists):
        namespace.mount("/t/m", str(tmp_path), {})
    namespace.unmount("/t/m")
    assert (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda n: n.status("/t/nope"), NotFound),
        (lambda n: n.list("/t/nope"), NotFound),
        (lambda n: n.rename("/t/nope", "/t/x"), NotFound),
        (lambda n: n.free("/t/nope"), NotFound),
        (lambda n: n.unmount("/"), InvalidArgument),
    ],
)
def test_mistakes_are_told_with_their_path(namespace, call, error):
    """In the words of this project's errors."""
    with pytest.raises(error):
        call(namespace)


def test_a_proxy_that_is_down_is_told():
    """After a few tries."""
    with Namespace("localhost", Ports.free().proxy) as nowhere, pytest.raises(Unavailable, match="does not answer"):
        nowhere.check()
