"""A model's parts as a version: registered when the model is new, else an update that writes what has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from alluxio_lance.client.models.naming import model_name
from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.manager import Bump, OnProgress, ResourceManager
from alluxio_lance.values import Verb, Version
from alluxio_lance.weights.manifest import with_manifest
from alluxio_lance.weights.rows import File, Notes, Tensor, source_of

__all__ = ["save"]


def save(
    uri: str,
    tensors: Sequence[Tensor],
    files: Sequence[File] = (),
    notes: Notes | None = None,
    *,
    version: str | None = None,
    bump: Bump | None = None,
    message: str = "",
    metadata: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    activate: bool = True,
    sign: Callable[[bytes], bytes] | None = None,
    address: str | None = None,
    manager: ResourceManager | None = None,
    request_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> Version:
    """Save a model as a new version. One part at a time is asked for its bytes.

    The version gets a manifest with the SHA-256 of every tensor and file; an older one among the files is left out.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, without a selector.
    metrics
        What was measured on it, for gates and people to look at. Attached when the version is there: a process that dies
        between the two leaves a version without them, and a second call with the same ``request_id`` attaches them.
    sign
        Makes a signature of the manifest's bytes.
    manager
        Does the work; one connected to ``address`` by default.
    request_id, and all others
        As in `ResourceManager.update_resource`.

    Raises
    ------
    InvalidArgument
        When the URI has a selector, or there are parts that cannot be; nothing was changed.
    AlreadyExists
        When another process registers the model at this moment: save again.
    """
    type_, name, selector = model_name(uri)
    if selector is not None:
        raise InvalidArgument(f"{uri} names a version: a model is saved under alluxio://{type_}/{name}")
    _check_metrics(metrics)
    hashed, kept = with_manifest(tensors, files, notes, sign)
    source = source_of(hashed, kept, notes, f"the model {uri}")
    common: dict[str, Any] = {
        "version": version,
        "message": message,
        "metadata": metadata,
        "provenance": provenance,
        "activate": activate,
        "request_id": request_id,
        "on_progress": on_progress,
    }
    with nullcontext(manager) if manager else ResourceManager.connect(address) as connected:
        if _registers(connected, type_, name, request_id):
            made = connected.register_resource(type_, name, source.reader, **common)
        else:
            made = connected.update_resource(type_, name, source.reader, mode="overwrite", bump=bump, **common)
        if metrics:
            made = connected.measure_resource(type_, name, made.semver, metrics)
    return made


def _check_metrics(metrics: Mapping[str, Any] | None) -> None:
    # Before anything is written: when the manager refuses them, the version is there and may be active.
    try:
        json.dumps(dict(metrics or {}), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"the metrics of the model are no JSON ({error}): give numbers, or null and texts"
        ) from error


def _registers(manager: ResourceManager, type_: str, name: str, request_id: str | None) -> bool:
    try:
        manager.list_versions(type_, name)
    except NotFound:
        return True
    # A call that is repeated gets the answer of the first one, which may have been the one that registered.
    return request_id is not None and any(
        event.request_id == request_id and event.verb is Verb.REGISTER for event in manager.history(type_, name)
    )
