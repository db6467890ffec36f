"""The run: prepares every way, then measures all of them in turn, repetition by repetition, each in a fresh process."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from alluxio_lance.bench.data import Rows, generate
from alluxio_lance.bench.job import Job
from alluxio_lance.bench.machine import describe
from alluxio_lance.bench.peers import python_for
from alluxio_lance.bench.results import Epoch, Measurement, Prepared, Results
from alluxio_lance.bench.steps import environment, forget_pages, run_step
from alluxio_lance.bench.summary import summarize
from alluxio_lance.bench.ways import BASELINE, LIMIT, WAYS
from alluxio_lance.errors import AlluxioLanceError, Internal, Unavailable

__all__ = ["Plan", "Run", "Step", "prepare_all", "run_plan"]

_PREPARE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    ways: Sequence[str]
    rows: int
    batch_size: int
    workers: Sequence[int]
    repetitions: int
    epochs: int
    """In each repetition: the first, and at least one later one."""
    seed: int
    work: Path
    """An empty folder on the disk that is to be measured; about 260 MB for each way at 20,000 rows."""
    venvs: Path
    install: bool
    limit_s: float
    """Seconds for one measurement."""
    sidecar: Callable[[Path], AbstractContextManager[str]]
    """Starts a sidecar in a folder and yields its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the run is doing, for a progress bar."""

    what: str
    done: int
    total: int


@dataclass(slots=True)
class Run:
    """A plan under way: what is prepared, what is measured, what fell out and why."""

    plan: Plan
    on_step: Callable[[Step], None]
    rows: Rows
    total: int
    done: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    no_sidecar: str = ""
    """Why there is no sidecar, when one was wanted."""
    pythons: dict[str, Path] = field(default_factory=dict)
    prepared: dict[str, Prepared] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def tell(self, what: str) -> None:
        """Say what is being done."""
        self.on_step(Step(what=what, done=self.done, total=self.total))

    def job(self, way: str, workers: int, repetition: int) -> Job:
        """Describe a measurement; the images are compared in the first repetition."""
        return Job(
            way=way,
            source=self.rows.folder,
            folder=self.plan.work / "ways" / way,
            rows=self.rows.count,
            batch_size=self.plan.batch_size,
            workers=workers,
            epochs=self.plan.epochs,
            seed=self.plan.seed + repetition,
            check_images=repetition == 0,
        )

    def prepare(self, way: str) -> None:
        """Find a Python for a way and let it write its form; or note why not."""
        entry, versions = WAYS[way], dict[str, str]()
        state, reason, prepare_s, size = "measured", "", 0.0, 0
        try:
            state = "unavailable"
            if entry.sidecar and self.no_sidecar:
                raise Unavailable(self.no_sidecar, what="sidecar")
            self.pythons[way] = python_for(
                entry,
                self.plan.venvs,
                install=self.plan.install,
                on_install=lambda requirement: self.tell(f"install {requirement}"),
            )
            state = "failed"
            job = self.job(way, 0, 0)
            job.folder.mkdir(parents=True)
            outcome = run_step("prepare", job, self.pythons[way], env=self.env, limit_s=_PREPARE_S)
            prepare_s, versions = outcome["prepare_s"], outcome["versions"]
            size = sum(path.stat().st_size for path in job.folder.rglob("*") if path.is_file())
            state = "measured"
        except AlluxioLanceError as error:
            reason = error.message
        self.prepared[way] = Prepared(
            way=way,
            title=entry.title,
            shuffle=entry.shuffle,
            state=state,
            reason=reason,
            prepare_s=prepare_s,
            bytes_on_disk=size,
            versions=versions,
        )

    def measure(self, way: str, workers: int, repetition: int, position: int) -> None:
        """Measure a way once; a way that fails once is out, with its reason, and so are its earlier numbers."""
        if self.prepared[way].state != "measured":
            return
        job = self.job(way, workers, repetition)
        forget_pages(job.folder)
        load = os.getloadavg()[0]
        try:
            outcome = run_step("measure", job, self.pythons[way], env=self.env, limit_s=self.plan.limit_s)
        except AlluxioLanceError as error:
            self.fail(way, f"with {workers} workers: {error.message}")
            return
        self.measurements.append(
            Measurement(
                way=way,
                workers=workers,
                repetition=repetition,
                position=position,
                open_s=outcome["open_s"],
                epochs=tuple(Epoch(seconds=epoch["seconds"], samples=epoch["samples"]) for epoch in outcome["epochs"]),
                load_before=load,
            )
        )

    def fail(self, way: str, reason: str) -> None:
        """Take a way out of the run."""
        self.prepared[way] = replace(self.prepared[way], state="failed", reason=reason)
        self.measurements = [m for m in self.measurements if m.way != way]

    def turns(self) -> list[tuple[str, int]]:
        """List what one repetition measures: each way with each number of workers."""
        # Ways without workers are compared with np.memmap without workers, asked for or not.
        baseline = sorted({0, *self.plan.workers})
        return [
            (way, workers)
            for way in self.plan.ways
            for workers in (baseline if way == BASELINE else self.plan.workers if WAYS[way].workers else (0,))
        ]


def run_plan(plan: Plan, on_step: Callable[[Step], None]) -> Results:
    """Measure everything that can be measured.

    Raises
    ------
    Internal
        When np.memmap or memcpy, which every ratio needs, could not be measured.
    """
    started_at, start = datetime.now(UTC), perf_counter()
    machine = describe(plan.work)
    on_step(Step(what=f"generate {plan.rows} rows", done=0, total=1))
    run = Run(plan, on_step, generate(plan.work / "source", plan.rows, plan.seed), total=0)
    turns = run.turns()
    run.total = len(plan.ways) + plan.repetitions * len(turns)
    with ExitStack() as open_until_the_end:
        run.env = environment(_made(plan.work / "home"))
        prepare_all(run, open_until_the_end)
        measure_all(run, turns)
    for needed in (BASELINE, LIMIT):
        if run.prepared[needed].state != "measured":
            raise Internal(f"{needed} could not be measured, so there are no ratios: {run.prepared[needed].reason}")
    return Results(
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=perf_counter() - start,
        machine={**machine, "load_average_after": os.getloadavg()[0]},
        settings=settings(plan),
        ways=tuple(run.prepared[way] for way in plan.ways),
        lines=summarize(run.measurements),
        measurements=tuple(run.measurements),
    )


def prepare_all(run: Run, open_until_the_end: ExitStack) -> None:
    """Prepare the ways in their order; the sidecar, if one of them needs it, runs until the end."""
    if any(WAYS[way].sidecar for way in run.plan.ways):
        run.tell("start a sidecar")
        try:
            address = open_until_the_end.enter_context(run.plan.sidecar(run.plan.work / "sidecar"))
        except AlluxioLanceError as error:
            run.no_sidecar = error.message
        else:
            run.env = {**run.env, "ALLUXIO_LANCE_ADDRESS": address}
    for way in run.plan.ways:
        run.tell(f"prepare {way}")
        run.prepare(way)
        run.done += 1


def measure_all(run: Run, turns: list[tuple[str, int]]) -> None:
    """Go through all ways once for each repetition, every time in another order."""
    order = random.Random(run.plan.seed)  # noqa: S311 - the order of measurements is no secret
    for repetition in range(run.plan.repetitions):
        shuffled = order.sample(turns, len(turns))
        for position, (way, workers) in enumerate(shuffled):
            run.tell(f"repetition {repetition + 1} of {run.plan.repetitions}: {way}, {workers} workers")
            run.measure(way, workers, repetition, position)
            run.done += 1


def settings(plan: Plan) -> dict[str, object]:
    """Return what the run was asked for, without the places on this machine."""
    return {
        "rows": plan.rows,
        "batch_size": plan.batch_size,
        "workers": list(plan.workers),
        "repetitions": plan.repetitions,
        "epochs": plan.epochs,
        "seed": plan.seed,
        "python": sys.version.split()[0],
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
