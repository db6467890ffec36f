"""The JSON records of models and of what differs between them. Documented in docs/cli.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from alluxio_lance.client.models.comparing import Difference, ModelDiff, TensorChange
from alluxio_lance.client.models.mapped import MappedModel
from alluxio_lance.client.models.signing import Verified
from alluxio_lance.weights.header import TensorSpec

__all__ = ["diff_record", "model_record", "verified_record"]


def model_record(model: MappedModel, signed_by: str | None) -> dict[str, Any]:
    """Return what a version holds, without its bytes."""
    return {
        "uri": model.uri,
        "semver": model.layout.semver,
        "tensors": [_spec(placed.spec) for placed in model.tensors.values()],
        "files": [{"path": path, "num_bytes": data.nbytes} for path, data in sorted(model.files.items())],
        "tied": dict(model.notes.tied),
        "views": dict(model.notes.views),
        "quantized": {name: dict(how) for name, how in model.notes.quantized.items()},
        "extra": dict(model.notes.extra),
        "signed_by": signed_by,
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), "num_bytes": spec.size}


def diff_record(diff: ModelDiff) -> dict[str, Any]:
    """Return what differs; a number that is not finite becomes null, which JSON has."""
    return {
        "old": diff.old,
        "new": diff.new,
        "added": [_spec(spec) for spec in diff.added],
        "removed": [_spec(spec) for spec in diff.removed],
        "changed": [_change(each) for each in diff.changed],
        "same": diff.same,
        "files": _differences(diff.files),
        "notes": _differences(diff.notes),
        "metadata": _differences(diff.metadata),
    }


def _change(each: TensorChange) -> dict[str, Any]:
    change = None
    if each.change is not None:
        change = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(each.change).items()
        }
    return {"name": each.name, "old": _spec(each.old), "new": _spec(each.new), "change": change}


def _differences(found: Sequence[Difference]) -> list[dict[str, Any]]:
    return [{"key": each.key, "old": each.old, "new": each.new} for each in found]


def verified_record(verified: Verified) -> dict[str, Any]:
    """Return what was verified."""
    return asdict(verified)
