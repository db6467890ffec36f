"""docs/cli.md beside the command: what one names, the other has."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from alluxio_lance.cli.app import application
from alluxio_lance.sidecar.settings import Settings

TEXT = (Path(__file__).parent.parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")
TREE = get_command(application)


def commands(command, path=()):
    """Yield every command below one, with the words that lead to it."""
    for name, below in getattr(command, "commands", {}).items():
        yield (*path, name), below
        yield from commands(below, (*path, name))


COMMANDS = dict(commands(TREE))


@pytest.mark.parametrize("words", [words for words in COMMANDS if words != ("cache",)], ids=" ".join)
def test_every_command_is_documented(words):
    """Its words stand in backticks, alone or before its arguments."""
    assert re.search(rf"`{' '.join(words)}[ `]", TEXT)


def test_every_option_that_is_named_exists():
    """In one of the commands, under this name."""
    known = {name for command in (TREE, *COMMANDS.values()) for each in command.params for name in each.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    assert named - known == set()


def test_every_setting_is_documented():
    """And none that there is not."""
    table = TEXT.partition("| key | default | meaning |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(Settings.model_fields)
