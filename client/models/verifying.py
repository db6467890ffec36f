"""Whether a mapped model's bytes are those that were saved: its own manifest says."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.errors import Corrupt
from alluxio_lance.manager import OnProgress
from alluxio_lance.weights.manifest import MANIFEST, check_manifest
from alluxio_lance.weights.rows import File, Tensor

__all__ = ["check_bytes", "manifest_of", "parts_of"]


def check_bytes(
    model: MappedModel, names: Iterable[str] | None = None, *, on_progress: OnProgress | None = None
) -> None:
    """Read the tensors and all files, and compare them with the manifest of the version.

    Whoever may write the version may have made its manifest, too: whose it is only a signature tells.

    Parameters
    ----------
    model
        Opened with its files.
    names
        Only these tensors, which have bytes of their own; all by default.

    Raises
    ------
    Corrupt
        When a tensor, a file or the notes are not as they were saved, or there is no manifest.
    """
    tensors, files = parts_of(model)
    if names is not None:
        wanted = set(names)
        tensors = [tensor for tensor in tensors if tensor.spec.name in wanted]
    check_manifest(manifest_of(model), tensors, files, model.notes, partial=names is not None, on_progress=on_progress)


def manifest_of(model: MappedModel) -> memoryview:
    """Return the manifest of a version, unchecked.

    Raises
    ------
    Corrupt
        When it has none: it was taken away, or the version was not made by `save`.
    """
    manifest = model.files.get(MANIFEST)
    if manifest is None:
        raise Corrupt(
            f"{model.uri} has no manifest, so nothing says what its bytes should be: save it anew, with save_model or "
            "`alluxio-lance model save`"
        )
    return manifest


def parts_of(model: MappedModel) -> tuple[list[Tensor], list[File]]:
    """Return a mapped model's parts as they are saved, its own manifest and signature among the files."""
    tensors = [Tensor(placed.spec, partial(model.data, name)) for name, placed in model.tensors.items()]
    return tensors, [File(path, partial(_same, data)) for path, data in model.files.items()]


def _same(data: memoryview) -> memoryview:
    return data
