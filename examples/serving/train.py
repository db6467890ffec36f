"""Trains the network on scikit-learn's digits and saves it as a version of a model.

Run it as ``python train.py alluxio://models/digits [--epochs N] [--seed N] [--no-activate]``.
"""

from __future__ import annotations

import argparse

import torch
from digits import Digits  # type: ignore[import-not-found]  # it lies beside this file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from alluxio.torch import save_model
from alluxio_lance.values import Version

__all__ = ["train"]


def train(epochs: int, seed: int) -> tuple[nn.Module, float]:
    """Train on three quarters of the pictures; return the network and its accuracy on the others."""
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels, labels, random_state=0)
    seen, unseen = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    right, unknown = (torch.tensor(part) for part in parts[2:])
    torch.manual_seed(seed)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for rows in torch.randperm(len(seen)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(seen[rows]), right[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        hits = model(unseen).argmax(1) == unknown
    return model, float(hits.float().mean())


def save(uri: str, epochs: int, seed: int, *, activate: bool = True, address: str | None = None) -> Version:
    """Train, and save the network with its accuracy, which a gate can ask for."""
    model, accuracy = train(epochs, seed)
    return save_model(
        uri,
        model,
        metrics={"accuracy": accuracy},
        metadata={"epochs": epochs, "seed": seed},
        provenance={"data": "scikit-learn's digits"},
        message=f"digits, {epochs} epochs, seed {seed}",
        activate=activate,
        address=address,
    )


def main() -> None:
    """Train and save with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Train on scikit-learn's digits and save a version of a model.")
    parser.add_argument("uri", help="alluxio://models/NAME")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-activate", dest="activate", action="store_false", help="leave the version that serves")
    given = parser.parse_args()
    version = save(given.uri, given.epochs, given.seed, activate=given.activate)
    print(f"{version.uri}: accuracy {version.metrics['accuracy']:.3f}")  # noqa: T201 - an example


if __name__ == "__main__":
    main()
