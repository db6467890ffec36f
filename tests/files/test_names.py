"""The names of plain files, and where their Alluxio is."""

import pytest

from alluxio_lance.errors import InvalidArgument, InvalidURI
from alluxio_lance.files.paths import absolute
from alluxio_lance.files.settings import find_address


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("alluxio:///a/b.jpg", "/a/b.jpg"),
        ("/a/b.jpg", "/a/b.jpg"),
        ("alluxio:/a/b.jpg", "/a/b.jpg"),
        ("alluxio:////a//./b/", "/a/b"),
        ("/", "/"),
        ("alluxio:///a b/ü#%20.jpg", "/a b/ü#%20.jpg"),
    ],
)
def test_a_name_is_a_path(name, path):
    """Nothing in it is quoted."""
    assert absolute(name) == path


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("alluxio://datasets/cifar10", "is a resource and no file: give it to alluxio_lance.load_dataset.*alluxio:///"),
        ("alluxio://models/x@1.0", "is a resource"),
        ("alluxio://localhost:19998/a", "names a server.*setting `files`"),
        ("alluxio://", "names a server"),
        ("a/b.jpg", "names no file"),
        ("", "names no file"),
        ("file:///a", "names no file"),
        ("/a/../b", r"'\.\.'"),
        ("/a\0", "names no file"),
    ],
)
def test_another_name_is_told_its_door(name, sentence):
    """Resources have two slashes, files have three."""
    with pytest.raises(InvalidURI, match=sentence):
        absolute(name)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No setting at all."""
    for name in ("FILES", "STORE", "CONFIG"):
        monkeypatch.delenv(f"ALLUXIO_LANCE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "environment", "written", "expected"),
    [
        ("alluxio://a/x?proxy=1", {"FILES": "alluxio://b"}, 'files = "alluxio://c"', ("a", 1)),
        (None, {"FILES": "alluxio://b", "STORE": "alluxio://e"}, 'files = "alluxio://c"', ("b", 39999)),
        (None, {"STORE": "alluxio://e"}, 'files = "alluxio://c"\nstore = "alluxio://d/t"', ("c", 39999)),
        (None, {"STORE": "alluxio://e/t"}, 'store = "alluxio://d/t"', ("e", 39999)),
        (None, {}, 'store = "alluxio://d:5/t?proxy=7"', ("d", 7)),
        (None, {}, 'store = "/data"', ("localhost", 39999)),
        (None, {}, "", ("localhost", 39999)),
    ],
)
def test_the_nearest_setting_says_where_alluxio_is(nowhere, monkeypatch, given, environment, written, expected):
    """An argument, the variable, the key of files, the store of tables, this node."""
    for name, value in environment.items():
        monkeypatch.setenv(f"ALLUXIO_LANCE_{name}", value)
    (nowhere / "alluxio-lance.toml").write_text(written, encoding="utf-8")
    found = find_address(given)
    assert (found.host, found.proxy, found.folder) == (*expected, "/")


def test_the_file_is_looked_for_where_servers_look(nowhere, monkeypatch):
    """In the user's folder of settings; a file that is named has to be there."""
    place = nowhere / "home/.config/alluxio-lance"
    place.mkdir(parents=True)
    (place / "alluxio-lance.toml").write_text('files = "alluxio://f"', encoding="utf-8")
    assert find_address().host == "f"
    monkeypatch.setenv("ALLUXIO_LANCE_CONFIG", str(nowhere / "none.toml"))
    with pytest.raises(InvalidArgument, match="no such file"):
        find_address()


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("files = 3", "the key `files` of .* is no text"),
        ("files =", "is no TOML"),
        ('files = "alluxio://h/?proxy=99999"', "names the port 99999"),
        ('files = "alluxio://h/?worker=-1"', "worker=-1, which is no port"),
        ('files = "alluxio://[::1/"', "is no address"),
        ('files = "alluxio://h/?user=a%0d%0aX:1"', "cannot be told the user"),
        ('files = "alluxio://h/?user=a/b"', "cannot be told the user"),
        ('files = "alluxio://h/?user=%E2%82%AC"', "cannot be told the user"),
        ('files = "s3://x"', "the key `files` of .*: 's3://x' is no store in Alluxio"),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(nowhere, written, sentence):
    """So that one knows which file to mend."""
    (nowhere / "alluxio-lance.toml").write_text(written, encoding="utf-8")
    with pytest.raises(InvalidArgument, match=sentence):
        find_address()
