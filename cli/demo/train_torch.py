"""Train a small network in PyTorch on images in shared memory: `train` is the example, the rest lets the demo steer it."""

from __future__ import annotations

import copy
import hashlib
import multiprocessing
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from alluxio.torch import Dataset, load_model, save_model
from alluxio_lance.cli.demo.dialogue import serve


def train(dataset: Dataset, image: str, label: str, epochs: int) -> tuple[nn.Module, float]:
    """Train on all rows and return the network, and the share of the rows that it then gets right."""
    images, labels = dataset.tensor(image), dataset.tensor(label)
    features, classes = images[0].numel(), int(labels.max()) + 1
    scale = float(images.max()) or 1.0
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, classes))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = DataLoader(dataset, batch_size=128, shuffle=True, num_workers=2, persistent_workers=True)
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch[image] / scale), batch[label])
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
            optimizer.step()
    with torch.no_grad():
        right = model(images / scale).argmax(1) == labels
    return model, float(right.float().mean())


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.numpy()


class Steered:
    """What the demo asks of this process."""

    def __init__(self) -> None:
        self._dataset: Dataset | None = None
        self._loader: DataLoader[Any] | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        self._model: nn.Module | None = None

    @property
    def dataset(self) -> Dataset:
        """The dataset that was opened last."""
        assert self._dataset is not None
        return self._dataset

    def open(self, uri: str, columns: list[str]) -> dict[str, Any]:
        """Open a dataset in place of the one before."""
        self._let_go()
        self._dataset = Dataset(uri, columns=columns)
        return {"rows": len(self.dataset)}

    def train(self, image: str, label: str, epochs: int) -> dict[str, Any]:
        """Train a new network."""
        self._model, accuracy = train(self.dataset, image, label, epochs)
        return {"accuracy": accuracy}

    def save(self, uri: str, image: str, accuracy: float) -> dict[str, Any]:
        """Save the network, load it again from shared memory, and ask both the same."""
        assert self._model is not None
        version = save_model(uri, self._model, metrics={"accuracy": accuracy})
        loaded = load_model(uri, into=copy.deepcopy(self._model).to("meta"))
        with torch.no_grad():
            rows = self.dataset.tensor(image).float()
            same = torch.equal(loaded(rows), self._model(rows))
        return {"version": version.semver, "same": same}

    def epoch(self) -> dict[str, Any]:
        """Read every row once, shuffled, through two workers, which stay for the memory table."""
        self._loader = DataLoader(
            self.dataset,
            # Small enough for every worker to have some.
            batch_size=max(1, min(256, len(self.dataset) // 8)),
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
        )
        seen = sum(len(next(iter(batch.values()))) for batch in self._loader)
        return {"rows": seen, "workers": [child.pid for child in multiprocessing.active_children()]}

    def fingerprint(self, columns: list[str]) -> dict[str, Any]:
        """Hash the bytes of all rows, column by column; the tensors stay for the memory table."""
        self._tensors = {column: self.dataset.tensor(column) for column in columns}
        return {column: hashlib.sha256(_bytes(tensor)).hexdigest() for column, tensor in self._tensors.items()}

    def refresh(self) -> dict[str, Any]:
        """Move on to the version that is active now."""
        self._loader, self._tensors = None, {}
        self.dataset.refresh()
        return {"rows": len(self.dataset)}

    def _let_go(self) -> None:
        self._loader, self._tensors = None, {}
        if self._dataset is not None:
            self._dataset.close()


if __name__ == "__main__":
    steered = Steered()
    serve({name: getattr(steered, name) for name in ("open", "train", "save", "epoch", "fingerprint", "refresh")})
