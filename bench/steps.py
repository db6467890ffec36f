"""Runs one measurement in a fresh process and brings its result, or its reason for having none, home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from alluxio_lance.bench.job import Job
from alluxio_lance.errors import Unavailable

__all__ = ["environment", "forget_pages", "run_fresh", "run_step"]


def environment(home: Path) -> dict[str, str]:
    """Return the environment of the processes: libraries put their caches into the work folder and stay off the net."""
    return {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "LITDATA_DISABLE_VERSION_CHECK": "1",
    }


def run_step(
    step: Literal["prepare", "measure"],
    job: Job,
    python: Path,
    *,
    env: Mapping[str, str],
    limit_s: float,
) -> dict[str, Any]:
    """Run a step of a way to its end; parameters and errors as in `run_fresh`."""
    return run_fresh(
        ["alluxio_lance.bench.worker", step], job.to_json(), python, env=env, limit_s=limit_s, what=step, of=job.way
    )


def run_fresh(
    module: Sequence[str],
    task: str,
    python: Path = Path(sys.executable),
    *,
    env: Mapping[str, str],
    limit_s: float,
    what: str,
    of: str,
) -> dict[str, Any]:
    """Run a module in a process of its own to its end.

    Parameters
    ----------
    module
        Its name and first arguments; the last two are the files of the task and of its result, both JSON.
    limit_s
        Seconds after which the process and its workers are killed.
    what, of
        What is done, for messages, and the way or part that does it.

    Raises
    ------
    Unavailable
        When it failed or took too long; the message is the last line that it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="alluxio-lance-bench-") as folder:
        job_file, result_file, log = Path(folder, "job.json"), Path(folder, "result.json"), Path(folder, "log.txt")
        job_file.write_text(task)
        command = [str(python), "-P", "-m", *module, str(job_file), str(result_file)]
        with log.open("w") as output:
            # A session of its own, so that its DataLoader workers end with it.
            process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired as error:
                raise Unavailable(f"{what} took more than {limit_s:.0f} s", what=of) from error
            finally:
                end_group(process)
        if code:
            raise Unavailable(f"{what} failed: {last_line(log)}", what=of)
        outcome: dict[str, Any] = json.loads(result_file.read_text())
        return outcome


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(log: Path) -> str:
    """Return the last line that says something: of a traceback, the error."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing"


def forget_pages(folder: Path) -> None:
    """Drop a folder's files from the page cache, as far as they are on disk and nobody maps them."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
