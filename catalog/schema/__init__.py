"""The tables. The migrations lead to exactly this; a test compares the two."""

from __future__ import annotations

from alluxio_lance.catalog.schema.audit import counters, events
from alluxio_lance.catalog.schema.base import metadata
from alluxio_lance.catalog.schema.governing import promotions, rules, tokens
from alluxio_lance.catalog.schema.names import branches, labels, tags
from alluxio_lance.catalog.schema.resources import file_spans, files, pointers, resources, versions
from alluxio_lance.catalog.schema.work import commit_locks, fences, leases, offices, operations

__all__ = [
    "branches",
    "commit_locks",
    "counters",
    "events",
    "fences",
    "file_spans",
    "files",
    "labels",
    "leases",
    "metadata",
    "offices",
    "operations",
    "pointers",
    "promotions",
    "resources",
    "rules",
    "tags",
    "tokens",
    "versions",
]
