"""Paths of a model's files."""

import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.paths import check_paths

REFUSED = {
    "empty": [""],
    "reserved": ["__metadata__"],
    "absolute": ["/etc/passwd"],
    "two slashes": ["a//b"],
    "slash at the end": ["a/"],
    "the folder": ["."],
    "a dot inside": ["a/./b"],
    "up": [".."],
    "up and out": ["../a"],
    "in and out": ["a/../../b"],
    "up in the end": ["a/.."],
    "backslash": ["a\\b"],
    "Windows up": ["..\\a"],
    "NUL": ["a\0b"],
    "new line": ["a\nb"],
    "escape": ["\x1b[31m"],
    "right to left": ["a\u202eb"],
    "half a character": ["\ud800"],
    "a long part": ["a" * 256],
    "a long part of wide characters": ["ü" * 128],
    "long": ["/".join(["a" * 100] * 11)],
    "twice": ["a", "b", "a"],
    "a file that is a folder": ["a/b/c", "a/b"],
    "a folder that is a file": ["a", "a/b/c/d"],
}


@pytest.mark.parametrize("paths", REFUSED.values(), ids=REFUSED)
def test_paths_that_cannot_lie_in_one_folder_are_refused(paths):
    """Each with a sentence that can be printed."""
    with pytest.raises(InvalidArgument, match="a model cannot have") as refusal:
        check_paths(paths)
    assert refusal.value.message.isprintable()


def test_ordinary_paths_are_taken():
    """Folders, dots in names, spaces, other scripts."""
    check_paths(
        ["config.json", "1_Pooling/config.json", "..a", ".git", "a b", "模型/词表.txt", "a" * 255, "a/b", "a/c"]
    )
