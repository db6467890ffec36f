"""The processes that train: PyTorch and Keras, each where it is installed and wanted."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from alluxio_lance.address import Address
from alluxio_lance.cli.demo.dialogue import Partner

__all__ = ["ROLES", "Role", "missing", "start"]


class Role(NamedTuple):
    """A framework and the script that stands for its user."""

    name: str
    module: str
    packages: tuple[str, ...]
    extra: str


ROLES: Final = (
    Role("PyTorch", "alluxio_lance.cli.demo.train_torch", ("torch", "alluxio"), "torch"),
    Role("Keras", "alluxio_lance.cli.demo.train_keras", ("tensorflow", "keras", "alluxio"), "tf"),
)

_QUIET: Final = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
"""No log lines of TensorFlow's, and no search for a GPU: the networks are tiny."""


def missing(role: Role) -> str | None:
    """Return the first package of a role that is not installed."""
    return next((package for package in role.packages if find_spec(package) is None), None)


def start(role: Role, address: Address, logs: Path, stack: ExitStack) -> Partner:
    """Start a role; the stack ends it."""
    # DataLoader workers leave sockets in TMPDIR: they go with the run folder, whose path is short enough for them.
    environment = {**_QUIET, "ALLUXIO_LANCE_ADDRESS": address.grpc, "TMPDIR": str(address.run_folder)}
    log = logs / f"{role.extra}.log"
    return stack.enter_context(Partner(role.name, role.module, log, environment))
