"""PyTorch on versions that a sidecar keeps hot, and on plain files in Alluxio."""

from alluxio_lance.frameworks.torch.dataset import AlluxioDataset
from alluxio_lance.frameworks.torch.files import FileDataset

__all__ = ["AlluxioDataset", "Dataset", "FileDataset"]

Dataset = AlluxioDataset
