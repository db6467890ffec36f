"""The door ``alluxio.tf``: TensorFlow on versions that a sidecar keeps hot."""

from alluxio_lance.frameworks.tf import *  # noqa: F403 - a door re-exports what the room declares in __all__
from alluxio_lance.frameworks.tf import __all__ as __all__
