"""The progress of long work: a bar on a terminal, silence anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from alluxio_lance.cli.human import count, rate, size
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress

__all__ = ["progress_bar"]


class _Amount(ProgressColumn):
    """Rows and bytes so far, and bytes per second."""

    def render(self, task: Task) -> Text:
        seen: Progress = task.fields["seen"]
        parts = [f"{count(seen.rows)} rows"] if seen.rows else []
        if seen.bytes:
            parts.append(size(seen.bytes))
            if task.elapsed:
                parts.append(rate(seen.bytes / task.elapsed))
        return Text(" · ".join(parts), style="cyan")


class _Steps:
    """One bar per step; a step that another one follows is complete."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._step: str | None = None
        self._task: TaskID | None = None

    def __call__(self, seen: Progress) -> None:
        if self._task is None or seen.step != self._step:
            self._finish()
            self._step, self._task = seen.step, self._bars.add_task(seen.step, total=None, seen=seen)
        done, total = (seen.bytes, seen.total_bytes) if seen.total_bytes else (seen.rows, seen.total_rows)
        self._bars.update(self._task, completed=done, total=total, seen=seen)

    def _finish(self) -> None:
        if self._task is not None:
            done = self._bars.tasks[self._task].completed
            self._bars.update(self._task, total=done or 1, completed=done or 1)
            self._bars.stop_task(self._task)


@contextmanager
def progress_bar(console: Console, *, silent: bool = False) -> Iterator[OnProgress | None]:
    """Yield what to call with each progress; None where nobody would see it.

    The bar goes away when the work is done: its result is what stays on the screen.
    """
    if silent or not console.is_terminal:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        _Amount(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        yield _Steps(bars)
