"""The commands about the rules, on a folder."""

import json
import os
import pty
from pathlib import Path

import pytest

from alluxio_lance.cli.default_rules import DEFAULT_RULES
from alluxio_lance.lifecycle.rules import RuleSet, read_rules

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "rules.toml"


def test_the_built_in_document_says_what_no_document_means(embedded):
    """Word for word what `rules default` prints."""
    assert read_rules(DEFAULT_RULES) == RuleSet()
    assert embedded("rules", "default").stdout == DEFAULT_RULES
    assert embedded.json("rules", "default") == {"text": DEFAULT_RULES}


def test_the_commented_gates_of_the_built_in_document_are_sound():
    """Who removes the marks gets rules that hold."""
    lines = DEFAULT_RULES.splitlines()
    opened, inside = [], False
    for line in lines:
        inside = line.startswith("# [[") or (inside and line.startswith("# ") and " = " in line)
        opened.append(line[2:] if inside else line)
    rules = read_rules("\n".join(opened))
    assert [gate.name for gate in rules.gates] == ["good-enough", "four-eyes"]
    assert [policy.name for policy in rules.policies] == ["unread"]


def test_rules_are_set_shown_and_set_again(embedded, tmp_path):
    """The document comes out as it went in; its revision grows, and an old one is a conflict."""
    shown = embedded("rules", "show")
    assert "built-in rules hold" in shown.stderr
    assert embedded("rules", "set", EXAMPLE, "-m", "ours").stdout == "the rules have revision 1 now\n"
    shown = embedded("rules", "show")
    assert shown.stdout == EXAMPLE.read_text()
    assert shown.stderr.startswith("revision 1, ")
    record = embedded.json("rules", "show")
    assert (record["revision"], record["text"]) == (1, EXAMPLE.read_text())
    assert embedded("rules", "set", "-", "--revision", "1", "--json", input=DEFAULT_RULES).stdout
    assert "revision" in embedded("rules", "set", EXAMPLE, "--revision", "1", code=5).stderr


def test_a_document_with_faults_changes_nothing(embedded, tmp_path):
    """Every fault is named with its place, by check and by set alike."""
    file = tmp_path / "rules.toml"
    file.write_text('initial_stage = "nowhere"\n[[gates]]\nname = "g"\nkind = "oracle"\non = []\n')
    for verb in ("check", "set"):
        refused = embedded("rules", verb, file, code=2)
        assert "gates[0]" in refused.stderr
        assert refused.stdout == ""
    assert embedded.json("rules", "default")
    assert json.loads(embedded("rules", "show", "--json").stdout)["revision"] == 0
    assert "cannot be read" in embedded("rules", "check", tmp_path / "none", code=2).stderr


def test_check_says_what_the_rules_would_be(embedded):
    """Stages, gates, policies, roles; it needs no system."""
    text = embedded("rules", "check", EXAMPLE).stdout
    assert text.startswith("sound\n")
    for part in ("validation → production", "good-enough (expectation: * -> production)", "unread", "curator"):
        assert part in text
    assert embedded.json("rules", "check", EXAMPLE)["protected_tags"] == ["golden", "release-*"]


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Give a way to say what the editor does to the file."""

    def be(script):
        path = tmp_path / "editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", str(path))

    return be


def test_edit_sets_what_the_editor_saves(embedded, editor):
    """It begins with the built-in document; what is not changed is not set."""
    editor('sed -i \'s/grace = "7d"/grace = "1d"/\' "$1"')
    assert "revision 1" in embedded("rules", "edit", "-m", "shorter").stdout
    assert 'grace = "1d"' in embedded("rules", "show").stdout
    assert embedded("rules", "edit").stdout == "nothing was changed\n"


@pytest.mark.parametrize(
    ("script", "says"),
    [("exit 3", "ended with code 3"), ('echo nonsense > "$1"', "no TOML")],
)
def test_an_editor_that_fails_changes_nothing(embedded, editor, script, says):
    """Without a terminal a fault is an error at once."""
    editor(script)
    assert says in embedded("rules", "edit", code=2).stderr
    assert json.loads(embedded("rules", "show", "--json").stdout)["revision"] == 0


def test_an_editor_that_there_is_not(embedded, monkeypatch):
    """Says which variable to set."""
    monkeypatch.setenv("VISUAL", "/nope/editor --wait")
    assert "set EDITOR" in embedded("rules", "edit", code=2).stderr


@pytest.mark.parametrize(("answer", "code", "revision"), [(b"y\n", 0, 1), (b"n\n", 1, 0)])
def test_on_a_terminal_a_fault_may_be_mended(embedded, editor, process, tmp_path, answer, code, revision):
    """The first save has a fault, the second has none, if somebody wants a second."""
    once = tmp_path / "once"
    editor(f'if [ -e {once} ]; then echo "" > "$1"; else touch {once}; echo nonsense > "$1"; fi')
    master, slave = pty.openpty()
    try:
        os.write(master, answer)
        done = process(*embedded.options, "rules", "edit", stdin=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == code, done.stderr
    assert "no TOML" in done.stderr
    assert json.loads(embedded("rules", "show", "--json").stdout)["revision"] == revision


def test_rules_are_coloured_on_a_terminal(embedded):
    """And plain where they are piped."""
    coloured = embedded("rules", "default", env={"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": None}).stdout
    assert "\x1b[" in coloured
    assert "initial_stage" in coloured


def test_the_reader_is_a_part_of_the_server_side(embedded, monkeypatch):
    """Without it the sentence names the extra."""
    import sys

    monkeypatch.setitem(sys.modules, "alluxio_lance.lifecycle.rules", None)
    assert "pip install 'alluxio-lance[server]'" in embedded("rules", "check", EXAMPLE, code=1).stderr
