"""Versions of models as checkpoints of ``torch.distributed.checkpoint``: each rank gives and takes its own shards."""

from alluxio_lance.frameworks.torch.models.distributed.reader import AlluxioStorageReader
from alluxio_lance.frameworks.torch.models.distributed.writer import AlluxioStorageWriter

__all__ = ["AlluxioStorageReader", "AlluxioStorageWriter"]
