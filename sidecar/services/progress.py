"""A long verb as a stream: the work runs in a thread of its own, and what it reports goes to the caller meanwhile."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import grpc

from alluxio_lance.errors import Unavailable
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress

__all__ = ["worked"]

_Result = TypeVar("_Result")
_RARELY: Final = 0.1
"""Seconds between two messages about the same step."""


def worked(
    work: Callable[[OnProgress], _Result], context: grpc.ServicerContext, name: str, *, abandon: bool = True
) -> Iterator[Progress | _Result]:
    """Yield what the work reports, then its result.

    Parameters
    ----------
    abandon
        When the caller goes away let the next report raise in the work, which thereby ends and is undone; otherwise
        the work goes on, since others may wait for it.
    """
    reports: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    results: list[_Result] = []
    failures: list[BaseException] = []
    report = _reporter(reports, context, abandon=abandon)

    def run() -> None:
        try:
            results.append(work(report))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread below
            failures.append(error)
        finally:
            reports.put(None)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        while (progress := reports.get()) is not None:
            yield progress
    finally:
        thread.join()
    if failures:
        raise failures[0]
    yield results[0]


def _reporter(
    reports: queue.SimpleQueue[Progress | None], context: grpc.ServicerContext, *, abandon: bool
) -> OnProgress:
    last_step, last_time = "", 0.0

    def report(progress: Progress) -> None:
        nonlocal last_step, last_time
        if abandon and not context.is_active():
            raise Unavailable("the caller went away - nothing was changed", what="caller")
        now = time.monotonic()
        if progress.step != last_step or now - last_time >= _RARELY:
            last_step, last_time = progress.step, now
            reports.put(progress)

    return report
