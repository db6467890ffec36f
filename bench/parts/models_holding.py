"""One of many processes that hold the same model at the same time, and does what it is told line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alluxio_lance.bench.parts.answering import line_of
from alluxio_lance.errors import Unavailable

__all__ = ["Holder", "holding", "pss"]


def pss(pid: int | str = "self", kind: str = "Pss") -> int:
    """Return a process' proportional set size, or the part of it of a kind: ``Pss_Shmem``."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == kind:
            return int(rest.split()[0]) << 10
    raise Unavailable(f"the kernel tells no {kind} of processes", what="smaps_rollup")


class Holder:
    """The conversation with one of them."""

    def __init__(self, process: subprocess.Popen[str], limit_s: float) -> None:
        self._process = process
        self._limit_s = limit_s

    def begin(self, word: str) -> None:
        """Tell it to do something, and do not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """Wait until it has done so, and return its number.

        Raises
        ------
        Unavailable
            When it ends instead, or takes too long.
        """
        return int(line_of(self._process, self._limit_s, "process that holds a model"))

    def do(self, word: str) -> int:
        """Tell it to do something, and wait."""
        self.begin(word)
        return self.end()


@contextmanager
def holding(
    task: Mapping[str, Any], address: str, limit_s: float, python: Path = Path(sys.executable)
) -> Iterator[Holder]:
    """Start one, which has imported everything when it is there and loaded nothing; it is gone when the block ends."""
    process = subprocess.Popen(
        [python, "-P", "-m", __name__, json.dumps(task)],
        env={**os.environ, "ALLUXIO_LANCE_ADDRESS": address},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield Holder(process, limit_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def main(task: Mapping[str, Any]) -> None:
    """Do as told: ``pss``, ``load``, ``sum``, ``write``."""
    from alluxio_lance.bench.parts.models_loading import WAYS, State, ready, touch  # noqa: PLC0415 - torch, not in the parent

    ready(task["way"])
    state: State = {}

    def load() -> int:
        state.update(WAYS[task["way"]](task))
        return touch(state)

    def write() -> int:
        first = state[min(state)]
        first.add_(1)
        return first.nbytes

    words = {"pss": pss, "load": load, "sum": lambda: touch(state), "write": write}
    for line in sys.stdin:
        print(words[line.strip()](), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
