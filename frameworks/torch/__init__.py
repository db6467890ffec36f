"""PyTorch on versions that a sidecar keeps hot."""

from alluxio_lance.frameworks.torch.dataset import AlluxioDataset

__all__ = ["AlluxioDataset", "Dataset"]

Dataset = AlluxioDataset
