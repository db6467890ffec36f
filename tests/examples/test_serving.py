"""The example servers, run for real: trained twice, promoted, asked by several threads, and switched while they ask."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import monotonic, perf_counter, sleep
from types import SimpleNamespace

import numpy as np
import pytest

from alluxio_lance.client.models.versioning import version_model
from alluxio_lance.client.models.watching import WatcherStatistics
from alluxio_lance.errors import PolicyDenied
from alluxio_lance.manager import ResourceManager

FOLDER = Path(__file__).parents[2] / "examples" / "serving"
NAME = "serving/digits"
URI = f"alluxio://models/{NAME}"
GATE = """
[[gates]]
name = "good-enough"
kind = "expectation"
types = ["models"]
on = ["experiment -> validation"]
require = ["metrics.accuracy >= 0.9"]
"""
THREADS = 4
RATE = 200
"""Requests per second of all threads together, at most."""
BETWEEN = 25
"""Answers that each thread gets of one version before the next change."""
LIMIT = 60


class Torch:
    """PyTorch's training and server, and what a version of it says by itself."""

    train, server = "train", "server"

    def __init__(self, example):
        self._example = example

    def answer(self, uri, at):
        """Load a version here and ask it."""
        from alluxio.torch import load_model

        model = self._example("digits").Digits()
        load_model(uri, into=model, address=at)
        return self._example(self.server).predict(model, PIXELS)


class Keras:
    """The same of Keras."""

    train, server = "keras_train", "keras_server"

    def __init__(self, example):
        self._example = example

    def answer(self, uri, at):
        """Load a version here and ask it, without a graph."""
        from alluxio.tf import load_model

        return load_model(uri, compile=False, address=at)(PIXELS).numpy()


@pytest.fixture(params=[pytest.param(Torch, marks=pytest.mark.torch), pytest.param(Keras, marks=pytest.mark.tf)])
def framework(request, example):
    """Give each framework in turn."""
    pytest.importorskip({Torch: "torch", Keras: "tensorflow"}[request.param])
    return request.param(example)


@pytest.fixture(scope="module")
def example():
    """Import the example's files by name; they find each other as scripts in one folder do."""
    before = set(sys.modules)
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert not names & before
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(FOLDER))
        for name in names & (set(sys.modules) - before):
            del sys.modules[name]


@contextmanager
def served(server, at):
    """Run a server on a free port, and give it with what it said first."""
    command = [sys.executable, "-P", FOLDER / f"{server}.py", URI, "--port", "0"]
    environment = {**os.environ, "ALLUXIO_LANCE_ADDRESS": at, "PYTHONPATH": str(FOLDER), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline().split()
        yield process, said[0], int(said[-1])
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0


def ask(connection, method, path, body=None):
    """Send a request and return the status and the JSON of the answer."""
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


class Asker(threading.Thread):
    """Asks one question at a steady pace, on one connection; each answer is kept with its moment."""

    def __init__(self, port, over):
        super().__init__()
        self._port, self._over = port, over
        self.answers = []
        self.failure = None

    def run(self):
        """Ask until told to stop; a failure ends it."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT)
        try:
            while not self._over.wait(THREADS / RATE):
                status, answer = ask(connection, "POST", "/predict", QUESTION)
                assert status == 200, answer
                self.answers.append((perf_counter(), answer["version"], answer["logits"]))
        except Exception as error:  # noqa: BLE001 - the test shows whatever it is
            self.failure = error
        finally:
            connection.close()


PIXELS = (np.arange(128, dtype=np.float32) % 17).reshape(2, 64)
QUESTION = json.dumps({"pixels": PIXELS.tolist()})


def test_the_server_switches_between_requests(own_node, example, framework, record_property):
    """No request fails and none mixes two versions, through activations and rollbacks; how fast is reported.

    A version with too low an accuracy is not promoted, a good one is, by the same gate.
    """
    at, train = own_node.at, example(framework.train)
    worse = train.save(URI, epochs=1, seed=0, address=at)
    assert 0.2 < worse.metrics["accuracy"] < 0.9
    better = train.save(URI, epochs=10, seed=1, activate=False, address=at)
    assert better.metrics["accuracy"] > 0.9
    with (
        served(framework.server, at) as (process, first, port),
        ResourceManager.connect(own_node.address.grpc) as manager,
    ):
        assert first == "1.0.0"
        over, begun = threading.Event(), perf_counter()
        askers = [Asker(port, over) for _ in range(THREADS)]
        for asker in askers:
            asker.start()
        manager.set_rules(GATE)
        with pytest.raises(PolicyDenied, match="good-enough"):
            version_model(f"{URI}@1.0.0", promote="validation", address=at)
        changes = []
        for turn in range(4):
            changed = perf_counter()
            if turn % 2:
                manager.rollback_resource("models", NAME)
            else:
                manager.activate_resource("models", NAME, "1.1.0")
            semver = "1.0.0" if turn % 2 else "1.1.0"
            assert process.stdout.readline().split()[-1] == semver
            changes.append((changed, semver))
            wait_for_answers(askers, semver)
        over.set()
        for asker in askers:
            asker.join()
        seconds = perf_counter() - begun
    assert [asker.failure for asker in askers] == [None] * THREADS
    with_tag = version_model(f"{URI}@1.1.0", promote="validation", tag="golden", address=at)
    assert (with_tag.stage, with_tag.tags) == ("validation", ("golden",))
    answers = sorted(answer for asker in askers for answer in asker.answers)
    check(answers, framework, at)
    report(answers, changes, seconds, record_property)


def wait_for_answers(askers, semver):
    """Let each thread get some answers of a version; only they come from here on."""
    end = monotonic() + LIMIT
    begun = [len(asker.answers) for asker in askers]
    for asker, before in zip(askers, begun, strict=True):
        while sum(version == semver for _, version, _ in asker.answers[before:]) < BETWEEN:
            assert asker.failure is None, asker.failure
            assert monotonic() < end
            sleep(0.01)


def check(answers, framework, at):
    """Compare each answer with what its version says, computed here."""
    expected = {semver: framework.answer(f"{URI}@{semver}", at) for semver in ("1.0.0", "1.1.0")}
    assert not np.allclose(*expected.values(), atol=0.1)
    assert {version for _, version, _ in answers} == set(expected)
    for _, version, logits in answers:
        assert np.allclose(logits, expected[version], atol=1e-4)


def report(answers, changes, seconds, record_property):
    """Say how many requests came per second, and how long after each change its version first answered."""
    waits = [
        (next(at for at, version, _ in answers if at > changed and version == semver) - changed) * 1e3
        for changed, semver in changes
    ]
    record_property("requests_per_second", len(answers) / seconds)
    record_property("milliseconds_to_first_answer", waits)
    print(f"{len(answers) / seconds:.0f} requests/s; first answers after {', '.join(f'{ms:.0f}' for ms in waits)} ms")  # noqa: T201 - for -s


@pytest.fixture
def quiet_server(example):
    """Serve in this process with a stand-in for the watcher, and give the port."""

    class Watcher:
        def use(self):
            return nullcontext(SimpleNamespace(model=None, layout=SimpleNamespace(semver="1.0.0")))

        def statistics(self):
            return WatcherStatistics(semver="1.0.0", wanted="1.0.0", swaps=0, failures=0, error="")

    with example("web").Server(0, Watcher(), lambda _, pixels: pixels[:, :10]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/", None, 404, "GET /version"),
        ("POST", "/other", b"{}", 404, "POST /predict"),
        ("POST", "/predict", b"no JSON", 400, "64 numbers"),
        ("POST", "/predict", b'{"pixels": [[1, 2]]}', 400, "64 numbers"),
        ("POST", "/predict", b'{"pixels": "x"}', 400, "64 numbers"),
        ("POST", "/predict", b"[]", 400, "64 numbers"),
        ("POST", "/predict", b'{"pixels": [1%s]}' % (b"0" * 400), 400, "64 numbers"),
        ("POST", "/predict", b"", 413, "1048576 bytes"),
    ],
)
def test_bad_requests_get_a_sentence(quiet_server, method, path, body, status, said):
    """Wrong paths and wrong bodies are answered, and the next request is, too."""
    connection = http.client.HTTPConnection("127.0.0.1", quiet_server, timeout=LIMIT)
    found, answer = ask(connection, method, path, body)
    assert (found, said in answer["error"]) == (status, True), answer
    assert ask(connection, "GET", "/version")[1]["semver"] == "1.0.0"
    assert ask(connection, "POST", "/predict", QUESTION)[1]["version"] == "1.0.0"
    connection.close()
