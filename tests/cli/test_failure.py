"""How the command ends."""

import json
from types import SimpleNamespace

import pytest
from typer import Abort
from typer.testing import CliRunner

from alluxio_lance.cli.app import application
from alluxio_lance.cli.session import Session
from alluxio_lance.errors import InvalidURI, Leased


@pytest.fixture
def failing(monkeypatch):
    """Let opening the manager raise."""

    def arrange(error):
        def manager(self):
            raise error

        monkeypatch.setattr(Session, "manager", manager)

    return arrange


def run(*words):
    """Run the command in this process."""
    return CliRunner().invoke(application, list(words))


@pytest.mark.parametrize(
    ("error", "code", "kind", "says"),
    [
        (Leased("held by two readers", holders=["a", "b"]), 3, "Leased", "held by two readers"),
        (InvalidURI("wrong\n  here\n  ^", place=2), 2, "InvalidURI", "\n  ^"),
        (ZeroDivisionError("by zero"), 1, "Internal", "please report it"),
        (PermissionError(13, "Permission denied", "/root"), 1, "Unavailable", "/root: Permission denied"),
    ],
)
def test_an_error_is_one_message_and_its_code(failing, error, code, kind, says):
    """No traceback, whatever it is; markup in it is not read as markup."""
    failing(error)
    result = run("list")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    result = run("list", "--json")
    record = json.loads(result.stderr)["error"]
    assert (record["kind"], record["exit_code"], result.exit_code) == (kind, code, code)
    assert record["details"] == getattr(error, "details", {"what": "the system"} if isinstance(error, OSError) else {})


def test_messages_are_printed_as_they_are(failing):
    """Brackets are no markup and long lines are not broken."""
    failing(Leased("[bold]x[/bold] " + "y" * 300))
    assert "[bold]x[/bold] " + "y" * 300 in run("list").stderr


def test_the_trace_comes_on_request(failing, monkeypatch):
    """ALLUXIO_LANCE_DEBUG=1 lets the exception through."""
    monkeypatch.setenv("ALLUXIO_LANCE_DEBUG", "1")
    failing(ZeroDivisionError("by zero"))
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(application, ["list"], catch_exceptions=False)


def test_ctrl_c_at_a_question_ends_with_130(failing):
    """On a line of its own; nothing was changed, and that is no failure of the system."""
    failing(Abort())
    result = run("list")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "\ninterrupted\n")


def test_ctrl_c_ends_with_130(failing):
    """And one word on stderr, none with ``--json``."""
    failing(KeyboardInterrupt())
    result = run("list")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    result = run("list", "--json")
    assert (result.exit_code, result.stderr) == (130, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lst"], "Did you mean 'list'?"),
        (["list", "--nope"], "No such option"),
        (["list", "--address", "x"], "--address stands before the command"),
        (["show"], "Missing argument"),
        (["update", "datasets/x", "--mode", "replace"], "'--mode': 'replace' is not one of"),
        (["--address", "/run/x", "--embedded", "y", "list"], "exclude each other"),
        (["--address", "here", "list"], "no address of a sidecar"),
    ],
)
def test_wrong_usage_is_code_2(words, says):
    """With the usage of the command, or a sentence."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    result = run(*words, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stderr)["error"]["exit_code"] == 2


def test_bench_hands_its_options_on(monkeypatch, tmp_path):
    """A stand-in takes the place of the benchmark, whose tests are elsewhere."""
    seen = {}
    results = SimpleNamespace(ok=True)
    monkeypatch.setattr("alluxio_lance.bench.main.run_all", lambda **options: seen.update(options) or results.ok)
    assert run("bench", "--quick", "--workers", "0", "--no-install", "--out", str(tmp_path)).exit_code == 0
    assert (seen["quick"], seen["workers"], seen["install"], seen["out"]) == (True, [0], False, tmp_path)
    assert run("bench").exit_code == 0
    assert (seen["workers"], seen["ways"], seen["only"], seen["install"]) == ((0, 2), None, None, True)
    assert run("bench", "--only", "growth", "--only", "tf").exit_code == 0
    assert seen["only"] == ["growth", "tf"]
    results.ok = False
    assert run("bench").exit_code == 1


def test_no_command_shows_the_help():
    """As wrong usage."""
    result = run()
    assert result.exit_code == 2
    assert "Usage" in result.stdout
    assert "register" in result.stdout


def test_the_version_is_printed():
    """And nothing else."""
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, "alluxio-lance 0.1.0\n")


def test_no_sidecar_says_how_to_start_one(tmp_path):
    """Exit code 1, with the command in the message."""
    result = run("--address", str(tmp_path / "run"), "list")
    assert result.exit_code == 1
    assert "alluxio-lance up" in result.stderr
