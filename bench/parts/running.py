"""Runs one part: measures, prints its table, and writes its JSON and its plot."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from rich.console import Console

from alluxio_lance.bench.machine import describe
from alluxio_lance.bench.parts import PARTS, load
from alluxio_lance.bench.parts.report import print_found
from alluxio_lance.bench.parts.results import Found
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.report import say
from alluxio_lance.errors import AlluxioLanceError

__all__ = ["run_part"]


def run_part(
    name: str,
    *,
    quick: bool,
    repetitions: int,
    seed: int,
    out: Path,
    work: Path | None,
    limit_s: float,
    console: Console,
    size: int | None = None,
    install: bool = True,
    venvs: Path | None = None,
) -> Found | None:
    """Measure a part; None when it could not be measured, with the reason printed."""
    from alluxio_lance.bench.parts.plot import write_plot  # noqa: PLC0415 - only the benchmark wants matplotlib

    started, begun = datetime.now(UTC), perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="alluxio-lance-bench-", dir=work) as folder,
        console.status(f"{name}: start") as status,
    ):
        machine = describe(Path(folder))
        setting = Setting(
            quick=quick,
            repetitions=repetitions,
            seed=seed,
            work=Path(folder),
            limit_s=limit_s,
            tell=lambda what: status.update(f"{name}: {what}"),
            size=size,
            install=install,
            venvs=venvs,
        )
        try:
            found = load(name).measure(setting)
        except AlluxioLanceError as error:
            say(console, f"\n{name} ({PARTS[name]}) could not be measured: {error.message}")
            return None
        except ModuleNotFoundError as error:
            say(console, f"\n{name} ({PARTS[name]}) needs {error.name}, which is not installed")
            return None
        except OSError as error:
            # A full disk, most of all: the parts after this one may need less of it.
            say(console, f"\n{name} ({PARTS[name]}) could not be measured: {error}")
            return None
    found = replace(
        found, started_at=started.isoformat(timespec="seconds"), seconds=perf_counter() - begun, machine=machine
    )
    out.mkdir(parents=True, exist_ok=True)
    found.write_json(out / f"{name}.json")
    plot = write_plot(found, out)
    print_found(found, console)
    say(console, f"\nWritten: {out / f'{name}.json'}, {plot}")
    return found
