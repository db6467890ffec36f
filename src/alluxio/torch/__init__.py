"""The door ``alluxio.torch``: PyTorch on versions that a sidecar keeps hot."""

from alluxio_lance.frameworks.torch import *  # noqa: F403 - a door re-exports what the room declares in __all__
from alluxio_lance.frameworks.torch import __all__ as __all__
