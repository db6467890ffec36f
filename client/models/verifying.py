"""Whether a mapped model's bytes are those that were saved: its own manifest says."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.errors import NotFound
from alluxio_lance.manager import OnProgress
from alluxio_lance.weights.manifest import MANIFEST, check_manifest
from alluxio_lance.weights.rows import File, Tensor

__all__ = ["verify"]


def verify(model: MappedModel, names: Iterable[str] | None = None, *, on_progress: OnProgress | None = None) -> None:
    """Read the tensors and all files, and compare them with the manifest of the version.

    Parameters
    ----------
    model
        Opened with its files.
    names
        Only these tensors, which have bytes of their own; all by default.

    Raises
    ------
    Corrupt
        When a tensor, a file or the notes are not as they were saved.
    NotFound
        When the version has no manifest: it was not made by `save_model`.
    """
    files = model.files
    manifest = files.get(MANIFEST)
    if manifest is None:
        raise NotFound(
            f"{model.uri} has no {MANIFEST}, so nothing says what its bytes should be: save it with save_model"
        )
    wanted = None if names is None else set(names)
    check_manifest(
        manifest,
        [
            Tensor(placed.spec, partial(model.data, name))
            for name, placed in model.tensors.items()
            if wanted is None or name in wanted
        ],
        [File(path, partial(_same, data)) for path, data in files.items()],
        model.notes,
        partial=wanted is not None,
        on_progress=on_progress,
    )


def _same(data: memoryview) -> memoryview:
    return data
