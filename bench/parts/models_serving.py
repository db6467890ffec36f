"""The example servers under requests at a steady rate, while their model is activated and rolled back again and again."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles
from time import perf_counter, sleep
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alluxio_lance import ResourceManager
from alluxio_lance.bench.parts.answering import line_of
from alluxio_lance.bench.parts.models_swapping import evict
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.errors import Corrupt, Unavailable

__all__ = ["KINDS", "RATE", "absent", "percentile", "probe"]

RATE: Final = 200
"""Requests each second."""
KINDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "PyTorch": ("torch", "train", "server"),
    "Keras": ("tensorflow", "keras_train", "keras_server"),
}
"""What each one imports, its training and its server in the folder of the examples."""

_FOLDER: Final = Path(__file__).resolve().parents[2] / "examples" / "serving"
_NAMES: Final = "bench/digits"
"""The start of the names of the models: one for each framework."""
_OLD, _NEW = "1.0.0", "1.1.0"
_GATE: Final = """
[[gates]]
name = "good-enough"
kind = "expectation"
types = ["models"]
on = ["experiment -> validation"]
require = ["metrics.accuracy >= 0.9"]
"""
_THREADS: Final = 8
_QUESTIONS: Final = 16
_START_S: Final = 120.0
_ANSWER_S: Final = 30.0
_APART: Final = 0.1
_SAME: Final = 1e-4

Logits = npt.NDArray[np.float32]


def absent() -> str:
    """Say why there are no example servers here; empty where there are."""
    if not (_FOLDER / "server.py").is_file():
        return "the examples are not part of what is installed; run the benchmark in a checkout"
    return ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what became of it."""

    due: float
    """When it should have been sent."""
    sent: float
    got: float
    question: int
    version: str
    logits: Sequence[float]
    failure: str = ""


@dataclass(slots=True)
class Asked:
    """Requests at a steady rate, on several connections, until told to stop."""

    port: int
    bodies: Sequence[bytes]
    rate: float
    answers: list[Answer] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask meanwhile."""
        begun = perf_counter()
        threads = [threading.Thread(target=self._ask, args=(begun, number)) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def standing(self) -> str:
        """Return what the server says of itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/version")
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()

    def _ask(self, begun: float, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        while True:
            due = begun + number / self.rate
            # A request that is late is sent at once: the rate is kept, however long single answers take.
            if self._over.wait(max(0.0, due - perf_counter())):
                break
            self.answers.append(self._one(connection, due, number % len(self.bodies)))
            number += _THREADS
        connection.close()

    def _one(self, connection: http.client.HTTPConnection, due: float, question: int) -> Answer:
        sent = perf_counter()
        try:
            connection.request("POST", "/predict", self.bodies[question])
            response = connection.getresponse()
            text = response.read()
            if response.status != HTTPStatus.OK:
                return Answer(due, sent, perf_counter(), question, "", (), f"status {response.status}")
            found = json.loads(text)
            return Answer(due, sent, perf_counter(), question, found["version"], found["logits"][0])
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            connection.close()
            return Answer(due, sent, perf_counter(), question, "", (), repr(error))


def mixed(answers: Sequence[Answer], expected: Mapping[str, Logits]) -> int:
    """Count the answers that are not what the version that they name says to their question."""
    return sum(
        answer.version not in expected
        or not np.allclose(answer.logits, expected[answer.version][answer.question], atol=_SAME)
        for answer in answers
        if not answer.failure
    )


def first_answer(answers: Sequence[Answer], version: str, since: float) -> float | None:
    """Return when the first answer of a version came after a moment; None when none has yet."""
    return min((each.got for each in answers if each.version == version and each.got > since), default=None)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of them do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def probe(task: Mapping[str, Any]) -> dict[str, Any]:
    """Train two versions, serve them, and change between them: one turn is an activation and a rollback."""
    _, train, server = KINDS[task["kind"]]
    name = f"{_NAMES}-{task['kind'].lower()}"
    uri = f"alluxio://models/{name}"
    sys.path.insert(0, str(_FOLDER))
    try:
        save = importlib.import_module(train).save
        with ResourceManager.connect() as manager, RemoteCache.connect() as cache:
            _prepare(save, manager, name)
            with _served(server, uri, task["limit_s"]) as port:
                pixels = np.random.default_rng(0).integers(0, 17, (_QUESTIONS, 64)).astype(np.float32)
                asked = Asked(port, [json.dumps({"pixels": [each.tolist()]}).encode() for each in pixels], RATE)
                with asked.asking():
                    changes = _change(asked, manager, cache, name, task["turns"], task["pause_s"])
            predict = _predict(task["kind"], server)
            expected = {semver: predict(f"{uri}@{semver}", pixels) for semver in (_OLD, _NEW)}
        return _found(asked.answers, changes, expected)
    finally:
        sys.path.remove(str(_FOLDER))


def _prepare(save: Callable[..., Any], manager: ResourceManager, name: str) -> None:
    manager.set_rules(_GATE)
    uri = f"alluxio://models/{name}"
    save(uri, epochs=1, seed=0)
    save(uri, epochs=20, seed=1, activate=False)
    manager.promote_resource("models", name, _NEW, to="validation", reason="the benchmark's gate is open")


@contextmanager
def _served(server: str, uri: str, limit_s: float) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-P", _FOLDER / f"{server}.py", uri, "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(_FOLDER)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield int(line_of(process, min(limit_s, _START_S), "model server").split()[-1])
    finally:
        process.kill()
        process.communicate()


def _change(
    asked: Asked, manager: ResourceManager, cache: RemoteCache, name: str, turns: int, pause_s: float
) -> dict[str, list[dict[str, float]]]:
    changes: dict[str, list[dict[str, float]]] = {"activation": [], "rollback": []}
    for _ in range(turns):
        sleep(pause_s)
        evict(cache, f"alluxio://models/{name}@{_NEW}")
        activation = _changed(asked, lambda: manager.activate_resource("models", name, _NEW), _NEW)
        loads = {each.semver: each.load_seconds for each in cache.statistics().versions if each.name == name}
        changes["activation"].append({**activation, "load": loads[_NEW]})
        sleep(pause_s)
        changes["rollback"].append(_changed(asked, lambda: manager.rollback_resource("models", name), _OLD))
    sleep(pause_s)
    return changes


def _changed(asked: Asked, change: Callable[[], object], semver: str) -> dict[str, float]:
    count, begun = len(asked.answers), perf_counter()
    change()
    called = perf_counter()
    while (came := first_answer(asked.answers[count:], semver, begun)) is None:
        if perf_counter() > called + _ANSWER_S:
            why = f"the server says: {asked.standing()}; the last answer: {asked.answers[-1]}"
            raise Unavailable(f"{semver} did not answer within {_ANSWER_S:.0f} s; {why}", what="model server")
        sleep(0.002)
    return {"from_call": came - begun, "from_return": max(0.0, came - called)}


def _predict(kind: str, server: str) -> Callable[[str, npt.NDArray[np.float32]], Logits]:
    """Return what loads a version in this process and asks it."""
    if kind == "Keras":
        from alluxio.tf import load_model as load_keras  # noqa: PLC0415 - only one of the two is wanted

        return lambda uri, pixels: load_keras(uri, compile=False)(pixels).numpy()
    from alluxio.torch import load_model  # noqa: PLC0415 - as above

    network, predict = importlib.import_module("digits").Digits, importlib.import_module(server).predict

    def ask(uri: str, pixels: npt.NDArray[np.float32]) -> Logits:
        model = network()
        load_model(uri, into=model)
        answer: Logits = predict(model, pixels)
        return answer

    return ask


def _found(
    answers: Sequence[Answer], changes: Mapping[str, Sequence[Mapping[str, float]]], expected: Mapping[str, Logits]
) -> dict[str, Any]:
    if np.allclose(expected[_OLD], expected[_NEW], atol=_APART):
        raise Corrupt("both versions answer alike: nobody could tell a mixed answer", expected="two", found="one")
    late = [(answer.got - answer.due) * 1e3 for answer in answers]
    span = max(answer.got for answer in answers) - min(answer.due for answer in answers)
    return {
        "requests": len(answers),
        "rate": len(answers) / span,
        "failed": sum(bool(answer.failure) for answer in answers),
        "mixed": mixed(answers, expected),
        "answer_ms": [percentile(late, 50), percentile(late, 99), max(late)],
        "changes": changes,
    }
