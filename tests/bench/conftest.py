"""One small run of the benchmark that several tests look at."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alluxio_lance.bench.main import run
from alluxio_lance.bench.results import Results


@dataclass(frozen=True)
class SmallRun:
    results: Results
    folder: Path
    work: Path
    printed: str

    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.folder / "bench.json").read_text())
        return record


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Measure np.memmap, memcpy and our own way on 512 rows, once, with a real sidecar and real processes."""
    folder, work, text = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("work"), io.StringIO()
    results = run(
        ways=["memmap", "ours"],
        rows=512,
        batch_size=100,
        workers=(0,),
        repetitions=1,
        epochs=2,
        install=False,
        out=folder,
        work=work,
        console=Console(file=text, width=80),
    )
    return SmallRun(results, folder, work, text.getvalue())
