"""Trains the network on scikit-learn's digits and saves it as a version of a model.

Run it as ``python train.py alluxio://models/digits [--epochs N] [--seed N] [--no-activate]``.
"""

from __future__ import annotations

import torch
from command import train_and_save  # type: ignore[import-not-found]  # it lies beside this file
from digits import Digits  # type: ignore[import-not-found]  # as above
from pictures import pictures  # type: ignore[import-not-found]  # as above
from torch import nn

from alluxio.torch import save_model
from alluxio_lance.values import Version

__all__ = ["save", "train"]


def train(epochs: int, seed: int) -> tuple[nn.Module, float]:
    """Train on three quarters of the pictures; return the network and its accuracy on the others."""
    seen, unseen, right, unknown = (torch.from_numpy(part) for part in pictures())
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


if __name__ == "__main__":
    train_and_save(save)
