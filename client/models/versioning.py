"""Names, stages and measurements of a model's version, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from alluxio_lance.client.models.naming import model_name
from alluxio_lance.manager import ResourceManager
from alluxio_lance.values import Version

__all__ = ["version_model"]


def version_model(
    uri: str,
    *,
    tag: str | None = None,
    promote: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    reason: str = "",
    address: str | None = None,
    manager: ResourceManager | None = None,
) -> Version:
    """Attach metrics to a version, promote it, and tag it, in this order; return it as it is then.

    Without any of the three it only looks the version up.

    Parameters
    ----------
    uri
        ``alluxio://models/NAME``, with a selector behind ``@`` for another version than the active one.
    tag
        Refused when another version has it.
    promote
        The stage to move it to. Gates see the metrics, and when one says no, the tag is not given.
    metrics
        Added to those that it has: ``{"accuracy": 0.93}``.
    reason
        Why, for the audit trail.

    Raises
    ------
    NotFound, NotActive
        When there is no such version.
    PolicyDenied
        When a gate said no; the metrics stay.
    AlreadyExists
        When another version has the tag.
    """
    type_, name, selector = model_name(uri)
    with nullcontext(manager) if manager else ResourceManager.connect(address) as connected:
        version = connected.find_version(type_, name, selector)
        if metrics:
            version = connected.measure_resource(type_, name, version.semver, metrics, message=reason)
        if promote is not None:
            version = connected.promote_resource(type_, name, version.semver, to=promote, reason=reason)
        if tag is not None:
            version = connected.tag_resource(type_, name, version.semver, tag, message=reason)
    return version
