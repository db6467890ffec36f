"""A folder with a version's files and its tensors as ``model.safetensors``, for libraries that read folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.manager import OnProgress

__all__ = ["WEIGHTS", "model_folder"]

WEIGHTS: Final = "model.safetensors"


@contextmanager
def model_folder(
    uri: str,
    address: str | None = None,
    *,
    timeout: float = 10.0,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> Iterator[Path]:
    """Give a folder that looks like a checkout of the model, and take it away in the end.

    The files are written out; ``model.safetensors`` is a link to the node's shared memory, so that a library which maps
    it reads no other copy. What was mapped stays valid after the folder is gone. The link leads through this process:
    others may follow it for as long as the block lasts.

    Parameters
    ----------
    uri, address, timeout, wait, on_progress
        As in `load_model`.

    Raises
    ------
    InvalidArgument
        When a file of the model's own is called ``model.safetensors``.
    """
    with (
        MappedModel.open(uri, address=address, timeout=timeout, wait=wait, on_progress=on_progress) as model,
        tempfile.TemporaryDirectory(prefix="alluxio-model-") as name,
    ):
        folder = Path(name)
        for path, data in model.files.items():
            if path.partition("/")[0] == WEIGHTS:
                raise InvalidArgument(f"{model.uri} has a file {path!r}, the name that its tensors get in the folder")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        # Not /proc/self: a process that the block starts finds it, too.
        (folder / WEIGHTS).symlink_to(f"/proc/{os.getpid()}/fd/{model.descriptor}")
        yield folder
