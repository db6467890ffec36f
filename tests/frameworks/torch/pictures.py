"""Read a dataset of pictures with the library that is named, one batch after another, and compare it with the pixels.

Run as a script: torchvision loads Triton, which ends a process that has TensorFlow in it (both bring LLVM).
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch.utils.data import DataLoader

from alluxio.torch import Dataset


def main(library: str, address: str, uri: str, pixels: str, workers: int) -> None:
    """Compare each picture with the pixels that it was made from."""
    if library == "pillow":
        sys.modules["torchvision"] = None  # type: ignore[assignment]  # as if it were not installed
    expected = np.load(pixels)
    with Dataset(uri, decode="image", address=address) as dataset:
        one = dataset[3]["photo"]
        assert (one.dtype, tuple(one.shape)) == (torch.uint8, expected.shape[1:])
        loader = DataLoader(dataset, batch_size=7, shuffle=True, num_workers=workers)
        seen = []
        for batch in loader:
            assert batch["photo"].shape == (len(batch["number"]), *expected.shape[1:])
            assert np.array_equal(batch["photo"].numpy(), expected[batch["number"].numpy()])
            seen += batch["number"].tolist()
        assert sorted(seen) == list(range(len(expected)))
    print("torchvision" if "torchvision.io" in sys.modules else "pillow")  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
