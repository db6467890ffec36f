"""PyTorch on versions that a sidecar keeps hot, and on plain files in Alluxio."""

from alluxio_lance.client.arena import ArenaStatistics, arena_statistics
from alluxio_lance.frameworks.torch.dataset import AlluxioDataset
from alluxio_lance.frameworks.torch.files import FileDataset
from alluxio_lance.frameworks.torch.iterable import AlluxioIterableDataset
from alluxio_lance.frameworks.torch.views import View, concat, mix

__all__ = [
    "AlluxioDataset",
    "AlluxioIterableDataset",
    "ArenaStatistics",
    "Dataset",
    "FileDataset",
    "IterableDataset",
    "View",
    "arena_statistics",
    "concat",
    "mix",
]

Dataset = AlluxioDataset
IterableDataset = AlluxioIterableDataset
