"""``python -m alluxio_lance.bench``: the benchmark without the rest of the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alluxio_lance.bench.main import run_all
from alluxio_lance.bench.parts import PARTS
from alluxio_lance.bench.parts import WAYS as WAYS_PART
from alluxio_lance.bench.ways import WAYS
from alluxio_lance.errors import AlluxioLanceError

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """Return the options, with the meanings of `run`'s parameters."""
    made = argparse.ArgumentParser(
        prog="python -m alluxio_lance.bench",
        description="alluxio-lance beside the peers, and alone: tables, plots, JSON.",
    )
    made.add_argument(
        "--only", nargs="+", action="extend", metavar="PART", help=f"some of: {', '.join([WAYS_PART, *PARTS])}"
    )
    made.add_argument("--ways", nargs="+", action="extend", metavar="WAY", help=f"some of: {', '.join(WAYS)}")
    made.add_argument("--rows", type=int)
    made.add_argument("--batch-size", type=int, default=256)
    made.add_argument("--workers", type=int, nargs="+", action="extend", help="0 and 2 by default")
    made.add_argument("--repetitions", type=int)
    made.add_argument("--epochs", type=int, default=3)
    made.add_argument("--size", help="of the model: 512MiB by default, 64MiB with --quick")
    made.add_argument("--quick", action="store_true", help="fewer rows and repetitions: does everything work?")
    made.add_argument("--no-install", dest="install", action="store_false", help="make no environments for peers")
    made.add_argument("--out", type=Path, default=Path("bench/results"), help="folder for JSON and plots")
    made.add_argument("--work", type=Path, help="folder on the disk to be measured, 4 GB free")
    made.add_argument("--venvs", type=Path, help="folder for the environments of peers")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run with the arguments of a command line and return its exit code."""
    options = vars(parser().parse_args(arguments))
    options["workers"] = options["workers"] or (0, 2)
    try:
        return 0 if run_all(**options) else 1
    except AlluxioLanceError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
