"""The model that is measured: a hundred layers of one size, hence one layer is one percent of it."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["COLD", "LAYERS", "NAME", "URI", "Network", "fine_tuned", "network", "rows_for"]

LAYERS = 100
NAME = "bench"
URI = f"alluxio://models/{NAME}"
COLD = f"{URI}@1.0.0"
"""The version that is not active, and may be evicted."""
_WIDTH = 1024


class Network(nn.Module):
    """Takes ``[1024]`` numbers; every weight has a part in the answer."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(_WIDTH, rows) for _ in range(LAYERS))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Ask all layers."""
        return torch.stack([layer(numbers).mean() for layer in self.layers])


def rows_for(size: int) -> int:
    """Return how many rows of 4 KiB a layer has in a model of about so many bytes."""
    return max(1, size // (LAYERS * _WIDTH * 4))


def network(size: int, seed: int) -> Network:
    """Make it with random weights, which no format can compress."""
    torch.manual_seed(seed)
    return Network(rows_for(size))


def fine_tuned(model: Network) -> Network:
    """Change one layer, which is one percent of the weights."""
    with torch.no_grad():
        for parameter in model.layers[-1].parameters():
            parameter.add_(1)
    return model
