"""What every part is given: how much to measure, where, and how to start what it measures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alluxio_lance.bench.steps import environment, run_fresh

__all__ = ["Setting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The run of one part."""

    quick: bool
    repetitions: int
    seed: int
    work: Path
    """An empty folder on the disk that is to be measured."""
    limit_s: float
    """Seconds for one measurement."""
    tell: Callable[[str], None]
    """Says what is being done."""
    size: int | None = None
    """Bytes of the model; the part's own choice when None."""
    install: bool = True
    """Whether an environment may be made for a peer that is not there."""
    venvs: Path | None = None
    """Where the environments of peers lie; `alluxio_lance.bench.peers.default_folder` when None."""

    def fresh(
        self, part: str, task: Mapping[str, Any], address: str = "", python: Path = Path(sys.executable)
    ) -> dict[str, Any]:
        """Call ``probe(task)`` of a part's module in a process of its own, with a sidecar's address in its environment.

        Parameters
        ----------
        python
            Which Python runs it: that of a peer's environment, or the project's.

        Raises
        ------
        Unavailable
            When it failed or took too long; with its last line.
        """
        home = self.work / "home"
        home.mkdir(parents=True, exist_ok=True)
        env = {**environment(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
        # The caches of the libraries belong to the run, and so does nothing of the caller's own sidecar.
        env.pop("ALLUXIO_LANCE_ADDRESS", None)
        if address:
            env["ALLUXIO_LANCE_ADDRESS"] = address
        module = ["alluxio_lance.bench.parts.probe", f"alluxio_lance.bench.parts.{part}"]
        return run_fresh(module, json.dumps(task), python, env=env, limit_s=self.limit_s, what="measuring", of=part)

    def facts(self) -> dict[str, Any]:
        """Return what the JSON says of it, without the places on this machine."""
        return {
            "quick": self.quick,
            "repetitions": self.repetitions,
            "seed": self.seed,
            "load_average": os.getloadavg()[0],
        }
