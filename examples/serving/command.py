"""The command line of both trainings."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from alluxio_lance.values import Version

__all__ = ["train_and_save"]


def train_and_save(save: Callable[..., Version]) -> None:
    """Train and save with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Train on scikit-learn's digits and save a version of a model.")
    parser.add_argument("uri", help="alluxio://models/NAME")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-activate", dest="activate", action="store_false", help="leave the version that serves")
    given = parser.parse_args()
    version = save(given.uri, given.epochs, given.seed, activate=given.activate)
    print(f"{version.uri}: accuracy {version.metrics['accuracy']:.3f}")  # noqa: T201 - an example
