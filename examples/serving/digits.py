"""The network of PyTorch that is trained and served."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["PIXELS", "Digits"]

PIXELS = 64
_BRIGHTEST = 16.0


class Digits(nn.Module):
    """Two layers; takes ``[N, 64]`` pixels of 0 to 16 and gives ``[N, 10]`` logits."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(PIXELS, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Say how much each picture looks like each digit."""
        logits: torch.Tensor = self.layers(pixels / _BRIGHTEST)
        return logits
