"""PyTorch on versions that a sidecar keeps hot, and on plain files in Alluxio."""

from alluxio_lance.client.arena import ArenaStatistics, arena_statistics
from alluxio_lance.frameworks.torch.dataset import AlluxioDataset
from alluxio_lance.frameworks.torch.files import FileDataset

__all__ = ["AlluxioDataset", "ArenaStatistics", "Dataset", "FileDataset", "arena_statistics"]

Dataset = AlluxioDataset
