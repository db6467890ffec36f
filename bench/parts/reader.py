"""One of many processes that read the same version at the same time: opens it, waits for a word, reads one epoch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from alluxio_lance.bench.parts.answering import line_of

__all__ = ["Reading", "start"]


@contextmanager
def start(address: str, uri: str, batch_size: int, seed: int) -> Iterator[subprocess.Popen[str]]:
    """Start one; it is gone when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, uri, str(batch_size), str(seed)],
        env={**os.environ, "ALLUXIO_LANCE_ADDRESS": address},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Reading:
    """The conversation with one of them."""

    def __init__(self, process: subprocess.Popen[str], limit_s: float) -> None:
        self._process = process
        self._limit_s = limit_s

    @classmethod
    def of(cls, process: subprocess.Popen[str], limit_s: float) -> Reading:
        """Wait until it has opened the version.

        Raises
        ------
        Unavailable
            When it ends instead, or takes too long.
        """
        made = cls(process, limit_s)
        made._line()
        return made

    def go(self) -> None:
        """Let it read."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def finished(self) -> dict[str, Any]:
        """Wait for its numbers; errors as of `of`."""
        found: dict[str, Any] = json.loads(self._line())
        return found

    def _line(self) -> str:
        return line_of(self._process, self._limit_s, "reader")


def main(uri: str, batch_size: int, seed: int) -> None:
    """Open, wait, read one shuffled epoch, and say when."""
    from alluxio.torch import Dataset  # noqa: PLC0415 - not in the process that starts it

    begun = perf_counter()
    with Dataset(uri) as dataset:
        open_ms = (perf_counter() - begun) * 1e3
        order = np.random.default_rng(seed).permutation(len(dataset))
        print("ready", flush=True)
        sys.stdin.readline()
        begin = monotonic()
        seen = sum(len(dataset.batch(order[at : at + batch_size])["label"]) for at in range(0, len(order), batch_size))
        print(json.dumps({"open_ms": open_ms, "begin": begin, "end": monotonic(), "rows": seen}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
