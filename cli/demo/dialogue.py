"""How the demo talks with the processes that train: one JSON object per line, a question and its answer."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from alluxio_lance.errors import AlluxioLanceError, Internal, Unavailable, from_wire, to_wire

__all__ = ["Partner", "serve"]

_PATIENCE: Final = 600.0
"""Seconds to wait for an answer, the import of a framework included."""
_FAREWELL: Final = 20.0
_LAST_LINES: Final = 12

Handler = Callable[..., dict[str, Any]]


def serve(handlers: Mapping[str, Handler]) -> None:
    """Answer questions from stdin until it ends; whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with answers:
        for line in sys.stdin:
            answers.write(json.dumps(_answer(handlers, json.loads(line))) + "\n")
            answers.flush()


def _answer(handlers: Mapping[str, Handler], question: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": handlers[question.pop("do")](**question)}
    except Exception as error:  # noqa: BLE001 - raised again where the question came from
        traceback.print_exc()
        return {"error": json.loads(to_wire(error))}


class Partner:
    """A process that answers questions.

    Parameters
    ----------
    name
        What people call it.
    module
        A module that calls `serve` when it is run.
    log
        The file that takes its stderr.
    environment
        Variables beside those of this process.
    """

    def __init__(self, name: str, module: str, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **environment},
                text=True,
            )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, do: str, **parameters: Any) -> dict[str, Any]:
        """Ask and wait for the answer.

        Raises
        ------
        AlluxioLanceError
            What the partner raised; `Unavailable` with the end of its log when it died or is silent.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **parameters}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._silent("ended") from None
        return self._hear(do)

    def _hear(self, do: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        if not ready:
            raise self._silent(f"gave no answer to {do!r} within {_PATIENCE:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._silent(f"ended while it worked on {do!r}")
        reply = json.loads(line)
        if "error" in reply:
            raise self._named(from_wire(json.dumps(reply["error"]).encode()))
        answer: dict[str, Any] = reply["answer"]
        return answer

    def _named(self, error: AlluxioLanceError) -> AlluxioLanceError:
        place = f" (log: {self._log})" if isinstance(error, Internal) else ""
        return type(error)(f"{self.name}: {error.message}{place}", **error.details)

    def _silent(self, what: str) -> Unavailable:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        return Unavailable(f"the process of {self.name} {what}; the end of its log:\n{tail}", what=self.name)

    def close(self) -> None:
        """End the process; a second call does nothing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._process.stdin.closed:
            # It may have ended already, with a question unread.
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
