"""Compare a folder in Alluxio with torchvision's ImageFolder of its copy, item by item, with transforms of both kinds.

Run as a script: torchvision loads Triton, which ends a process that has TensorFlow in it (both bring LLVM).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from alluxio.torch import FileDataset

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
TRANSFORMS = {
    "none": None,
    "v1": transforms.Compose([transforms.Resize(16), transforms.CenterCrop(16), transforms.ToTensor()]),
    "v2": v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)]),
}


def compare(address: str, uri: str, path: str, copy: str, transform: Any) -> int:
    """Compare everything, and return how many items there were."""
    theirs = ImageFolder(copy, transform, lambda label: label * 2)
    ours = FileDataset(
        uri, transform=transform, target_transform=lambda label: label * 2, extensions=EXTENSIONS, address=address
    )
    assert (ours.classes, ours.class_to_idx, ours.targets) == (theirs.classes, theirs.class_to_idx, theirs.targets)
    below = [(each.removeprefix(path), label) for each, label in ours.samples]
    assert below == [(each.removeprefix(copy), label) for each, label in theirs.samples]
    assert len(ours) == len(theirs)
    for read in (lambda: [ours[place] for place in range(len(ours))], lambda: ours.__getitems__(range(len(ours)))):
        torch.manual_seed(3)
        expected = [theirs[place] for place in range(len(theirs))]
        torch.manual_seed(3)
        found = read()
        assert [label for _, label in found] == [label for _, label in expected]
        assert all(_same(one, other) for (one, _), (other, _) in zip(found, expected, strict=True))
    return len(ours)


def _same(one: Any, other: Any) -> bool:
    return (
        torch.equal(one, other)
        if isinstance(one, torch.Tensor)
        else (one.mode, one.tobytes()) == (other.mode, other.tobytes())
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: compare(*sys.argv[1:], transform) for name, transform in TRANSFORMS.items()}))
