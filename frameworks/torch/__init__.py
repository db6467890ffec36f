"""PyTorch on versions that a sidecar keeps hot, and on plain files in Alluxio."""

import torch

from alluxio_lance.client.arena import ArenaStatistics, arena_statistics
from alluxio_lance.client.gathering import follow
from alluxio_lance.client.models.folder import model_folder
from alluxio_lance.client.models.versioning import version_model
from alluxio_lance.client.models.watching import Swap
from alluxio_lance.frameworks.torch.dataset import AlluxioDataset
from alluxio_lance.frameworks.torch.files import FileDataset
from alluxio_lance.frameworks.torch.iterable import AlluxioIterableDataset
from alluxio_lance.frameworks.torch.models.loading import load_model
from alluxio_lance.frameworks.torch.models.saving import save_model
from alluxio_lance.frameworks.torch.models.watcher import ModelWatcher
from alluxio_lance.frameworks.torch.views import View, concat, mix

__all__ = [
    "AlluxioDataset",
    "AlluxioIterableDataset",
    "ArenaStatistics",
    "Dataset",
    "FileDataset",
    "IterableDataset",
    "ModelWatcher",
    "Swap",
    "View",
    "arena_statistics",
    "concat",
    "load_model",
    "mix",
    "model_folder",
    "save_model",
    "version_model",
]

# A batch is copied by as many threads as a batch of torch's own.
follow(torch.get_num_threads)

Dataset = AlluxioDataset
IterableDataset = AlluxioIterableDataset
