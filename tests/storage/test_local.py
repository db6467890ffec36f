"""The local folder as a place: hashing, reading, removing, and names that a table may not have."""

from __future__ import annotations

import pytest
from blake3 import blake3

from alluxio_lance.errors import Corrupt
from alluxio_lance.storage import local
from alluxio_lance.storage.local import LocalRoot
from alluxio_lance.storage.place import Patch

DATA = bytes(range(256)) * 64


@pytest.fixture
def place(tmp_path):
    """A root with one table of one file."""
    root = LocalRoot(tmp_path / "new/root")
    path = root.root / "a/t.lance/data/deep/f"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return root


def test_a_root_is_made(place):
    """A missing root is created with its parents, and a table's files are listed with their sizes."""
    assert place.files("a/t.lance") == {"data/deep/f": len(DATA)}
    assert place.files("a/other.lance") == {}


@pytest.mark.parametrize("chunk", [1 << 20, 1000])
@pytest.mark.parametrize(("offset", "length"), [(0, 10), (995, 10), (500, 3000), (len(DATA) - 5, 5)])
def test_a_patch_replaces_bytes_in_the_hash_alone(place, monkeypatch, chunk, offset, length):
    """Wherever the patch lies with respect to the chunks that are read."""
    monkeypatch.setattr(local, "_CHUNK", chunk)
    patch = Patch(offset, b"\xaa" * length)
    heard = []
    found = place.hash("a/t.lance", "data/deep/f", patch, heard.append)
    assert found == blake3(DATA[:offset] + patch.data + DATA[offset + length :]).hexdigest()
    assert sum(heard) == len(DATA)
    assert place.hash("a/t.lance", "data/deep/f", None, heard.append) == blake3(DATA).hexdigest()


def test_missing_and_short_files_are_corrupt(place):
    """Both say which file."""
    assert place.read("a/t.lance", "data/deep/f", 2, 3) == DATA[2:5]
    with pytest.raises(Corrupt, match=r"deep/f ends before byte 16385"):
        place.read("a/t.lance", "data/deep/f", len(DATA) - 1, 2)
    with pytest.raises(Corrupt, match=r"deep/g is missing"):
        place.read("a/t.lance", "data/deep/g", 0, 1)


def test_removing_leaves_no_empty_folder(place):
    """Folders within the table go when they are empty, a missing file is no error, the table's own folder stays."""
    place.remove("a/t.lance", ["data/deep/f", "data/deep/f", "data/never"])
    assert list((place.root / "a/t.lance").iterdir()) == []


def test_hardening_forgives_files_that_went(place):
    """Lance renews its version hint by itself."""
    place.harden("a/t.lance", ["data/deep/f", "_versions/hint"])


def test_a_spool_has_no_name(place):
    """Nothing is left of it when its process dies."""
    with place.spool() as spool:
        spool.write(b"x")
        assert [path.name for path in place.root.iterdir()] == ["a"]
