"""KEY=VALUE options."""

import io
from pathlib import Path

import pytest

from alluxio_lance.cli.pairs import json_object, json_pairs, metadata_from, text_pairs
from alluxio_lance.errors import InvalidArgument


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("k=1", 1),
        ("k=true", True),
        ("k=[64, 64]", [64, 64]),
        ('k={"a": null}', {"a": None}),
        ('k="1"', "1"),
        ("k=MIT", "MIT"),
        ("k=a=b", "a=b"),
        ("k=", ""),
    ],
)
def test_values_are_json_or_text(pair, value):
    """What reads as JSON is JSON, anything else is the text itself."""
    assert json_pairs("--metadata", [pair]) == {"k": value}


@pytest.mark.parametrize("pair", ["k", "=1", ""])
def test_a_pair_has_a_key_and_an_equals_sign(pair):
    """The message names the option."""
    with pytest.raises(InvalidArgument, match="--option"):
        json_pairs("--option", [pair])


def test_pairs_win_over_the_file(tmp_path):
    """And nothing given is None, which keeps the old metadata."""
    file = tmp_path / "m.json"
    file.write_text('{"a": 1, "b": 2}')
    assert metadata_from(["b=3"], file) == {"a": 1, "b": 3}
    assert metadata_from([], None) is None


@pytest.mark.parametrize(("text", "says"), [("[1]", "holds a list"), ("{", "cannot be read"), (None, "cannot be read")])
def test_a_file_holds_one_json_object(tmp_path, text, says):
    """Anything else is refused with the file's name."""
    file = tmp_path / "m.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidArgument, match=f"m.json.*{says}"):
        metadata_from([], file)


def test_text_stays_text():
    """A label that looks like a number is none."""
    assert text_pairs("label", ["n=1", "team=vision", "e="]) == {"n": "1", "team": "vision", "e": ""}


def test_a_hyphen_is_stdin(monkeypatch):
    """As everywhere."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"accuracy": 0.93}'))
    assert json_object("--file", Path("-")) == {"accuracy": 0.93}
