"""Model servers under requests, as the benchmark measures them: for real in small, and what it would notice."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from alluxio_lance.bench.parts import models_served, models_serving
from alluxio_lance.bench.parts.models_serving import Answer, Asked, first_answer, mixed, percentile
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.errors import Corrupt

pytest.importorskip("sklearn")

EXPECTED = {"1.0.0": np.zeros((2, 3), np.float32), "1.1.0": np.array([[1, 2, 3], [4, 5, 6]], np.float32)}


def answer(version, logits, question=0, got=0.0, failure=""):
    """Make an answer of a server."""
    return Answer(0.0, 0.0, got, question, version, logits, failure)


@pytest.fixture
def _as_before() -> Iterator[None]:
    """Forget what the measurement imports: the tests of the examples begin without it."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    names = {file.stem for file in (Path(__file__).parents[2] / "examples" / "serving").glob("*.py")}
    for name in names & (set(sys.modules) - modules):
        del sys.modules[name]


@pytest.mark.torch
@pytest.mark.usefixtures("_as_before")
def test_a_server_is_measured(own_node, monkeypatch):
    """One activation and one rollback under requests: none fails, none is mixed, and both have their times."""
    monkeypatch.setenv("ALLUXIO_LANCE_ADDRESS", own_node.address.grpc)
    found = models_serving.probe({"kind": "PyTorch", "turns": 1, "pause_s": 0.1, "limit_s": 120})
    assert (found["failed"], found["mixed"]) == (0, 0)
    assert found["requests"] > 0
    (activation,), (rollback,) = found["changes"]["activation"], found["changes"]["rollback"]
    assert activation["from_call"] > activation["load"] > 0
    assert rollback["from_call"] >= rollback["from_return"] >= 0
    times, requests = models_served.groups({"PyTorch": found})
    assert times.lines[0].value.median == pytest.approx(1e3 * activation["from_call"])
    assert [line.value.median for line in requests.lines][1:] == [found["requests"], 0, 0]


def test_mixed_answers_are_counted():
    """An answer of the other version, to another question, or of a version that there is not, is one; a failure is none."""
    good = [answer("1.0.0", [0, 0, 0]), answer("1.1.0", [4, 5, 6], question=1)]
    bad = [answer("1.0.0", [1, 2, 3]), answer("1.1.0", [1, 2, 3], question=1), answer("2.0.0", [0, 0, 0])]
    assert mixed(good, EXPECTED) == 0
    assert mixed([*good, *bad, answer("", (), failure="status 500")], EXPECTED) == len(bad)


def test_the_first_new_answer_is_the_earliest_after_the_change():
    """Answers of the old version, and those before, do not count."""
    answers = [answer("1.1.0", (), got=1.0), answer("1.0.0", (), got=3.0), answer("1.1.0", (), got=5.0)]
    answers.append(answer("1.1.0", (), got=4.0))
    assert first_answer(answers, "1.1.0", 2.0) == 4.0
    assert first_answer(answers, "2.0.0", 2.0) is None


@pytest.mark.parametrize(
    ("values", "percent", "found"), [([5.0], 99, 5.0), (list(range(101)), 99, 99), ([1, 3], 50, 2)]
)
def test_percentiles(values, percent, found):
    """They lie between the values, and one value is all of them."""
    assert percentile(values, percent) == found


def test_a_mixed_answer_is_no_number(tmp_path, monkeypatch):
    """The part is refused with how many there were."""
    monkeypatch.setattr(models_served, "KINDS", {"PyTorch": ("json", "train", "server")})
    monkeypatch.setattr(Setting, "fresh", lambda *_: {"mixed": 3})
    setting = Setting(quick=True, repetitions=1, seed=0, work=tmp_path, limit_s=1, tell=lambda _: None)
    with pytest.raises(Corrupt, match="3 answers of the PyTorch server"):
        models_served.measure(setting, "")


def test_a_framework_that_is_not_there_is_a_note(tmp_path, monkeypatch):
    """The others are measured."""
    monkeypatch.setattr(models_served, "KINDS", {"Other": ("no_such_framework", "train", "server")})
    setting = Setting(quick=True, repetitions=1, seed=0, work=tmp_path, limit_s=1, tell=lambda _: None)
    assert models_served.measure(setting, "") == (
        {},
        ("A server of Other is not measured: no_such_framework is not installed.",),
    )


def test_failures_are_kept():
    """A refusal, a broken answer and a closed connection are failures, and the requests go on."""
    said = iter([(500, b"{}"), (200, b"no JSON"), (200, b"{}")])
    enough = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = next(said, (200, json.dumps({"version": "1.0.0", "logits": [[0, 0, 0]]}).encode()))
            if status == 200 and body.startswith(b'{"version'):
                enough.set()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        asked = Asked(server.server_port, [b"{}"], 200)
        with asked.asking():
            assert enough.wait(30)
        server.shutdown()
        thread.join()
    failures = [each.failure for each in asked.answers if each.failure]
    assert len(failures) == 3
    assert any(each == "status 500" for each in failures)
    assert mixed(asked.answers, EXPECTED) == 0
