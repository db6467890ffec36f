"""The JSON records of how versions are read and how much of them is cached. Documented in docs/cli.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alluxio_lance.ways import CacheShare, Explanation, Way, bytes_by_way

__all__ = ["explanation_record", "share_record", "ways_record"]


def share_record(share: CacheShare) -> dict[str, Any]:
    """Return how much of a version is cached."""
    return {
        "bytes": share.bytes,
        "cached_bytes": share.cached_bytes,
        "percent": share.percent,
        "pinned": share.pinned,
    }


def ways_record(ways: Mapping[Way, int]) -> dict[str, int]:
    """Return the bytes of each way, the nearest first; ways without any are left out."""
    return {way.value: total for way, total in ways.items()}


def explanation_record(explanation: Explanation) -> dict[str, Any]:
    """Return each file with its way, the bytes of each way, and how much is cached: null without a cache."""
    return {
        "files": [
            {
                "path": file.path,
                "bytes": file.bytes,
                "way": file.way.value,
                "why": file.why,
                "cached_percent": file.cached_percent,
            }
            for file in explanation.files
        ],
        "ways": ways_record(bytes_by_way(explanation.files)),
        "share": explanation.share and share_record(explanation.share),
    }
