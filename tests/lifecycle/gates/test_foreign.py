"""Gates that are foreign code: programs, functions, services."""

import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates import confined, python, sandbox
from alluxio_lance.lifecycle.gates.command import judge_command
from alluxio_lance.lifecycle.gates.python import judge_python
from alluxio_lance.lifecycle.gates.reporting import bounded, last_json_line, short
from alluxio_lance.lifecycle.gates.sandbox import Limits, NotStarted, run_confined
from alluxio_lance.lifecycle.gates.webhook import judge_webhook
from alluxio_lance.lifecycle.rules.document import CommandGate, PythonGate, WebhookGate

PYTHON = "/usr/bin/python3"


def command(*words, **changes):
    """Describe a gate that runs a program."""
    return CommandGate(name="c", on=("activate",), kind="command", command=words, **changes)


def shell(script, **changes):
    """Describe a gate that runs a script."""
    return command("sh", "-c", script, **changes)


VERDICTS = {
    "passes": ("exit 0", Verdict.PASSED, "sh passed"),
    "fails": ("echo no >&2; exit 3", Verdict.FAILED, "exit code 3"),
    "says why": (
        'echo log; echo \'{"summary": "two of three", "details": {"ok": 2}}\'; exit 1',
        Verdict.FAILED,
        "exit code 1: two of three",
    ),
    "is killed": ("kill -9 $$", Verdict.ERROR, "ended by SIGKILL"),
    "odd last line": ("echo '[1]'", Verdict.PASSED, "sh passed"),
}


BLIND = """
import json, sys
names = {"__name__": "confined"}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), names)
sys.meta_path.clear()
limits = {"files": 64, "file_size": 1 << 20, "cpu": 5, "memory": 1 << 30}
sys.exit(names["main"](limits, sys.argv[2:]))
"""


@pytest.mark.parametrize(("words", "code"), [(["sh", "-c", "exit 7"], 7), (["no-such-program"], confined.FAILED)])
def test_nothing_is_imported_once_rights_are_dropped(words, code):
    """The other user may not be able to read this Python, as where it lies in somebody's home: no fault of the program's."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", BLIND, confined.__file__, *words], check=False)
    assert done.returncode == code


@pytest.mark.parametrize("kind", VERDICTS)
def test_command(case, kind):
    """Exit code 0 passes, another one fails, anything else is an error; the program may say why."""
    script, verdict, words = VERDICTS[kind]
    said = judge_command(shell(script), case())
    assert (said.verdict, words in said.summary) == (verdict, True), said
    if kind == "says why":
        assert said.details["ok"] == 2
    if kind == "fails":
        assert said.details["errors"] == "no\n"


def test_command_gets_the_case(case):
    """The program reads the whole case as JSON."""
    said = judge_command(shell("cat"), case())
    given = json.loads(said.details["output"])
    assert (given["type"], given["from"], given["to"]) == ("datasets", "validation", "production")
    assert given["version"]["semver"] == "1.0.0"
    assert given["current"] is None


def test_command_is_alone(case, monkeypatch):
    """It has an empty folder of its own, a clean environment, and no file of the server's."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    script = "pwd; ls -A | wc -l; env; ls /proc/self/fd | wc -l"
    said = judge_command(shell(script, environment={"MODE": "strict"}), case())
    lines = said.details["output"].splitlines()
    assert not Path(lines[0]).exists()
    assert lines[1] == "0"
    assert "MODE=strict" in lines
    assert not any("secret" in line for line in lines)
    assert int(lines[-1]) == 4  # stdin, stdout, stderr, and the folder that ls reads


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_command_is_nobody(case):
    """Where the server is root it runs as nobody, without any way back."""
    said = judge_command(shell("id -un; grep NoNewPrivs /proc/self/status; cat /etc/shadow"), case())
    assert said.verdict is Verdict.FAILED
    assert said.details["output"].split() == ["nobody", "NoNewPrivs:", "1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_command_as_another_user(case):
    """The rule names the user."""
    assert judge_command(shell("id -un", user="daemon"), case()).details["output"] == "daemon\n"
    assert judge_command(shell("id -un", user="root"), case()).details["output"] == "root\n"


def test_command_without_the_right_to_change(monkeypatch):
    """A server that is not root runs it as itself, and cannot run it as somebody else."""
    monkeypatch.setattr(sandbox.os, "geteuid", lambda: 12345)
    assert sandbox._account(None) is None
    with pytest.raises(NotStarted, match="not root"):
        sandbox._account("daemon")


def test_command_of_an_unknown_user(case):
    """A user that is not there is an error."""
    said = judge_command(shell("true", user="nobody-at-all"), case())
    assert said.verdict is Verdict.ERROR
    assert "no user 'nobody-at-all'" in said.summary


def test_command_that_is_not_there(case):
    """A program that is not there is an error."""
    said = judge_command(command("/no/such/program"), case())
    assert said.verdict is Verdict.ERROR
    assert "could not be started: /no/such/program: [Errno 2]" in said.summary


def test_command_takes_too_long(case):
    """When the time is over the whole group goes, its children too."""
    begun = time.monotonic()
    said = judge_command(shell("sleep 77 & sleep 77", timeout="1s"), case())
    assert said.verdict is Verdict.ERROR
    assert "ended after 1 s" in said.summary
    assert time.monotonic() - begun < 10
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_sleeping(path)]
    assert left == []


def _is_sleeping(path):
    try:
        return path.read_bytes() == b"sleep\x0077\x00"
    except OSError:
        return False


def test_command_that_closes_its_output(case):
    """A program that closes its output is waited for."""
    assert judge_command(shell("exec >&- 2>&-; sleep 0.2; exit 4"), case()).verdict is Verdict.FAILED


def test_command_takes_too_much_memory(case):
    """Memory has a limit."""
    said = judge_command(command(PYTHON, "-c", "x = bytearray(1 << 30)", memory="256MiB"), case())
    assert said.verdict is Verdict.FAILED
    assert "MemoryError" in said.details["errors"]


def test_command_limits(case):
    """Files, cores and processor time have limits too."""
    said = judge_command(shell("ulimit -n; ulimit -c; ulimit -t; ulimit -f", timeout="10s"), case())
    assert said.details["output"].split() == ["256", "0", "11", str((64 << 20) // 512)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_command_of_another_user_has_few_processes(case):
    """A fork bomb ends at a limit of that user's."""
    said = judge_command(shell("grep processes /proc/self/limits"), case())
    assert said.details["output"].split()[2:4] == ["256", "256"]


def test_command_talks_without_end(case):
    """Output is read, and only its end kept."""
    limits = Limits(seconds=30, memory=1 << 30, environment={})
    ran = run_confined(["sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x; echo end"], b"", limits)
    assert ran.output.endswith("xend\n")
    assert len(ran.output) == 64 << 10


def test_command_lets_a_child_live(case):
    """A child that left the group and holds the output open keeps nobody waiting."""
    begun = time.monotonic()
    said = judge_command(shell("setsid sleep 3 & exit 0"), case())
    assert said.verdict is Verdict.PASSED
    assert time.monotonic() - begun < 2.5


class Installed:
    """Stands for the entry points of installed packages, which a test cannot install."""

    def __init__(self, **functions):
        self._functions = functions

    def __call__(self, *, group, name=None):
        return [Entry(each, value) for each, value in self._functions.items() if name in (None, each)]


class Entry:
    def __init__(self, name, value):
        self.name = name
        self._value = value

    def load(self):
        return self._value


def raising(case, options):
    """Fail."""
    raise ValueError("boom")


def leaving(case, options):
    """Try to end the server."""
    sys.exit(1)


ANSWERS = {
    "true": (lambda *_: True, Verdict.PASSED, "g said yes"),
    "false": (lambda *_: False, Verdict.FAILED, "g said no"),
    "pair": (lambda *_: (False, "too old"), Verdict.FAILED, "too old"),
    "mapping": (
        lambda case, options: {"passed": case["version"]["num_rows"] >= options["least"], "summary": "enough"},
        Verdict.PASSED,
        "enough",
    ),
    "text": (lambda *_: "yes", Verdict.ERROR, "answered yes"),
    "mapping without passed": (lambda *_: {}, Verdict.ERROR, "'passed'"),
    "raises": (raising, Verdict.ERROR, "raised ValueError: boom"),
    "exits": (leaving, Verdict.ERROR, "SystemExit"),
    "no function": (3, Verdict.ERROR, "is no function"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_python(case, monkeypatch, kind):
    """A function answers; whatever it does else is an error, and the server lives."""
    function, verdict, words = ANSWERS[kind]
    monkeypatch.setattr(python, "entry_points", Installed(g=function))
    gate = PythonGate(name="p", on=("activate",), kind="python", function="g", options={"least": 3})
    said = judge_python(gate, case())
    assert (said.verdict, words in said.summary) == (verdict, True), said


def test_python_not_installed(case):
    """A function that is not installed here is an error that says which are."""
    gate = PythonGate(name="p", on=("activate",), kind="python", function="nope")
    said = judge_python(gate, case())
    assert said.verdict is Verdict.ERROR
    assert "no entry point 'nope' of the group alluxio_lance.gates" in said.summary


def test_python_takes_too_long(case, monkeypatch):
    """A function that does not come back blocks the gate and not the server."""
    import threading

    stop = threading.Event()
    monkeypatch.setattr(python, "entry_points", Installed(g=lambda *_: stop.wait(30)))
    gate = PythonGate(name="p", on=("activate",), kind="python", function="g", timeout="0.1s")
    said = judge_python(gate, case())
    stop.set()
    assert said.verdict is Verdict.ERROR
    assert "did not answer within 0.1 s" in said.summary


HOOK_ANSWERS = {
    "yes": (b'{"passed": true, "summary": "fine", "details": {"n": 1}}', Verdict.PASSED, "fine"),
    "no": (b'{"passed": false}', Verdict.FAILED, "the service said no"),
    "no JSON": (b"yes", Verdict.ERROR, "did not answer with"),
    "no answer": (b"{}", Verdict.ERROR, "did not answer with"),
    "odd truth": (b'{"passed": 1}', Verdict.ERROR, "did not answer with"),
    "odd details": (b'{"passed": true, "details": 3}', Verdict.PASSED, "said yes"),
}


@pytest.mark.parametrize("kind", HOOK_ANSWERS)
def test_webhook(case, service, kind):
    """Only a clear yes of the service is one."""
    answer, verdict, words = HOOK_ANSWERS[kind]
    service.will_answer(200, answer)
    gate = WebhookGate(name="w", on=("activate",), kind="webhook", url=service.url, allow_private=True)
    said = judge_webhook(gate, case())
    assert (said.verdict, words in said.summary) == (verdict, True), said
    assert json.loads(service.asked[0][2])["to"] == "production"


def test_webhook_unreachable(case, service):
    """A service that cannot be asked blocks."""
    service.will_answer(500)
    gate = WebhookGate(name="w", on=("activate",), kind="webhook", url=service.url, allow_private=True, retries=0)
    said = judge_webhook(gate, case())
    assert said.verdict is Verdict.ERROR
    assert "answered 500" in said.summary


def test_reports_are_bounded():
    """What foreign code says is cut to JSON that every database keeps."""
    deep = value = {}
    for _ in range(20):
        value["x"] = {}
        value = value["x"]
    assert len(str(bounded(deep))) < 1000
    assert bounded({"n": float("nan"), "t": "a\0b\ud800", "s": {1}, "big": 2**70, "no": None, "l": (1.5, True)}) == {
        "n": "nan",
        "t": "ab?",
        "s": [1],
        "big": str(2**70),
        "no": None,
        "l": [1.5, True],
    }
    assert len(bounded(["x"] * 1000)) == 100
    assert len(short("x" * 1000)) == 500
    assert last_json_line("") == {}
    assert last_json_line("[" * 100_000) == {}


def test_nobody_exists():
    """The user that programs run as by default is there."""
    assert pwd.getpwnam("nobody").pw_uid > 0


def test_a_gate_that_errs_blocks(case, monkeypatch, tmp_path):
    """A fault in a gate itself is reported, and blocks."""
    from alluxio_lance.lifecycle.gates import GateKeeper, keeper
    from alluxio_lance.lifecycle.rules.document import ApprovalGate

    monkeypatch.setitem(keeper.JUDGES, "approval", lambda *_: 1 / 0)
    gate = ApprovalGate(name="a", on=("activate",), kind="approval")
    result = GateKeeper(None, None, None).judge([gate], case())[0]
    assert (result.verdict, result.summary) == (Verdict.ERROR, "the gate erred: ZeroDivisionError: division by zero")
