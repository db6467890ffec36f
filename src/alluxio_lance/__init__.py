"""Lifecycle management of AI datasets and models: Lance tables in Alluxio, served from shared memory without a copy."""

from __future__ import annotations

from alluxio_lance import errors
from alluxio_lance.any_framework import load_dataset, load_model, save_model, version_model
from alluxio_lance.manager import ResourceManager

__all__ = [
    "ResourceManager",
    "__version__",
    "errors",
    "load_dataset",
    "load_model",
    "save_model",
    "version_model",
]

__version__ = "0.1.0"
