"""How new versions come in: the bodies of register and update, and how a crash in their middle is mended."""

from alluxio_lance.lifecycle.writing.params import (
    MergeParams,
    RegisterParams,
    UpdateParams,
    already_there,
    as_params,
    check_bump,
    check_update,
)
from alluxio_lance.lifecycle.writing.writer import Writer

__all__ = [
    "MergeParams",
    "RegisterParams",
    "UpdateParams",
    "Writer",
    "already_there",
    "as_params",
    "check_bump",
    "check_update",
]
