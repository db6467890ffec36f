"""The door ``alluxio.torch.checkpoint``: versions of models for ``torch.distributed.checkpoint``."""

from alluxio_lance.frameworks.torch.models.distributed import AlluxioStorageReader, AlluxioStorageWriter

__all__ = ["AlluxioStorageReader", "AlluxioStorageWriter"]
