"""Read two shuffled epochs of a folder with workers of each start method, beside torchvision's ImageFolder of its copy.

Run as a script, since spawned workers import the main module.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler

from alluxio.torch import FileDataset

WORKERS = {"none": 0, "fork": 2, "forkserver": 1, "spawn": 1}


def small(image: Any) -> torch.Tensor:
    """Transform an image."""
    return torch.from_numpy(np.array(image.resize((16, 16))))


def epochs(dataset: Any, start_method: str) -> list[str]:
    """Hash the batches of each epoch."""
    # A generator of its own: the loader draws seeds for its workers from the one that it is given.
    sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(5))
    workers = WORKERS[start_method]
    options = {"persistent_workers": True, "multiprocessing_context": start_method} if workers else {}
    loader: DataLoader[Any] = DataLoader(dataset, 8, sampler=sampler, num_workers=workers, **options)
    found = []
    for _ in range(2):
        digest = hashlib.sha256()
        for images, labels in loader:
            digest.update(images.numpy().tobytes())
            digest.update(labels.numpy().tobytes())
        found.append(digest.hexdigest())
    return found


def main(address: str, uri: str, copy: str) -> None:
    """Write what epochs each start method gave, and what ImageFolder's were."""
    # Here, so that spawned workers need not load it.
    from torchvision.datasets import ImageFolder

    dataset = FileDataset(uri, transform=small, address=address)
    found = {method: epochs(dataset, method) for method in WORKERS}
    sys.stdout.write(json.dumps({**found, "ImageFolder": epochs(ImageFolder(copy, transform=small), "none")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
