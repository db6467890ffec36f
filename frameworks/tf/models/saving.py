"""A Keras model, a dict of variables, or what TensorFlow wrote into a folder, as a version of a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from alluxio_lance.client.models.attaching import Content, attached
from alluxio_lance.client.models.saving import save
from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.frameworks.tf.models import saved_model
from alluxio_lance.frameworks.tf.models.architecture import ARCHITECTURE, architecture_of
from alluxio_lance.frameworks.tf.models.state import KEY, state_of
from alluxio_lance.frameworks.tf.models.values import parts_of
from alluxio_lance.manager import Bump, OnProgress
from alluxio_lance.values import Version
from alluxio_lance.weights.parts import Parts
from alluxio_lance.weights.rows import File

__all__ = ["save_model"]


def save_model(
    uri: str,
    model: Any,
    *,
    optimizer: bool = False,
    files: Mapping[str, Content] | None = None,
    metadata: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    version: str | None = None,
    bump: Bump | None = None,
    message: str = "",
    activate: bool = True,
    address: str | None = None,
    request_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> Version:
    """Save a model as a new version; of the version before, only what has changed is written.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, without a selector; the resource is registered when it is not there.
    model
        A Keras model: its architecture as JSON, with how it was compiled, and its whole state (weights, statistics, seed
        generators, adapted vocabularies). A dict of numpy arrays, variables and tensors by name. Or a path: of a
        ``.keras`` file, loaded in Keras's safe mode, or of a SavedModel, whose variables and graph go in.
    optimizer
        Save the optimizer's state, too: training goes on where it was.
    files
        What belongs to it, by path in the version: bytes, the path of a local file, or an object that is written as JSON.
    metadata, provenance, version, bump, message, activate, request_id, on_progress
        As in `ResourceManager.register_resource`. ``framework`` and ``framework_version`` are put into the metadata
        where they are not given.
    metrics
        What was measured on it: ``{"accuracy": 0.93}``.
    address
        The sidecar: ``unix:/RUN/FOLDER/grpc.sock`` or the run folder; by default ``ALLUXIO_LANCE_ADDRESS``, then the
        default run folder.

    Raises
    ------
    InvalidArgument
        When it is none of these, has no weights yet, holds Python code (a Lambda layer), or a tensor's type is one that
        models cannot hold: the message names it. Nothing was changed.
    NotFound
        When there is nothing at the path.
    AlreadyExists, Conflict, PolicyDenied, PermissionDenied, Unavailable
        As in `ResourceManager.update_resource`.
    """
    parts, framework = _parts(model, optimizer=optimizer)
    return save(
        uri,
        parts.tensors,
        [*parts.files, *(attached(path, content) for path, content in (files or {}).items())],
        parts.notes,
        version=version,
        bump=bump,
        message=message,
        metadata={**framework, **(metadata or {})},
        metrics=metrics,
        provenance=provenance,
        activate=activate,
        address=address,
        request_id=request_id,
        on_progress=on_progress,
    )


def _parts(model: Any, *, optimizer: bool) -> tuple[Parts, dict[str, str]]:
    tensorflow = {"framework": "tensorflow", "framework_version": str(tf.__version__)}
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if saved_model.is_saved_model(path):
            _no_optimizer(f"the SavedModel {path}", optimizer)
            return saved_model.parts_of(path), tensorflow
        model = _keras_file(path)
    if isinstance(model, tf.keras.Model):
        return _keras_parts(model, optimizer=optimizer)
    if isinstance(model, Mapping):
        _no_optimizer("a dict of tensors", optimizer)
        return parts_of(model), tensorflow
    raise InvalidArgument(
        f"a {type(model).__name__} is no model that can be saved: give a Keras model, a dict of arrays and variables, "
        "or the path of a .keras file or of a SavedModel folder"
    )


def _no_optimizer(what: str, wanted: bool) -> None:
    if wanted:
        raise InvalidArgument(f"{what} has no optimizer that could be told apart: leave optimizer= out")


def _keras_parts(model: Any, *, optimizer: bool) -> tuple[Parts, dict[str, str]]:
    state = state_of(model, optimizer=optimizer)
    parts = parts_of(state.values, {KEY: state.record})
    text = memoryview(architecture_of(model))
    files = (File(ARCHITECTURE, lambda: text), *state.assets)
    return replace(parts, files=files), {"framework": "keras", "framework_version": str(tf.keras.__version__)}


def _keras_file(path: Path) -> Any:
    if not path.exists():
        raise NotFound(f"there is nothing at {path}")
    if path.suffix != ".keras" or path.is_dir():
        raise InvalidArgument(
            f"{path} is neither a .keras file nor a SavedModel folder (which has a saved_model.pb): load it and save the "
            "model, or try `alluxio-lance model save`, which reads other formats"
        )
    try:
        return tf.keras.models.load_model(path, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise InvalidArgument(
            f"Keras {tf.keras.__version__} cannot load {path} in its safe mode ({' '.join(str(error).split())[:300]}) - "
            "for classes of your own, call this within keras.saving.custom_object_scope({name: class})"
        ) from error
