"""The chain of the audit trail: each row's hash covers the row and, through the hash before, all rows before it.

``hash = BLAKE3(hash of the row before, as 64 digits ‖ the row's fields as canonical JSON)``, both as UTF-8. Canonical
means: keys sorted, no spaces, everything beyond ASCII escaped, the moment as ISO 8601 in UTC with six decimals. The
first row follows upon `GENESIS`. This is kept for ever: rows of the first release must verify in the last one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from blake3 import blake3

__all__ = ["FIELDS", "GENESIS", "canonical", "link"]

GENESIS: Final = "0" * 64
"""What the first row follows upon."""

FIELDS: Final = (
    "sequence",
    "at",
    "verb",
    "type",
    "name",
    "actor",
    "origin",
    "operation",
    "request_id",
    "outcome",
    "before",
    "after",
    "semver",
    "message",
)
"""All that a row says; only its hash is not among them."""


def canonical(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row as JSON values.

    Raises
    ------
    KeyError
        When one is missing.
    """
    values = {field: row[field] for field in FIELDS}
    at: datetime = values["at"]
    return values | {"at": at.astimezone(UTC).isoformat(timespec="microseconds")}


def link(previous: str, row: Mapping[str, Any]) -> str:
    """Compute the hash of a row that follows upon the row with the hash ``previous``.

    Raises
    ------
    TypeError
        When a field is no JSON value.
    """
    text = json.dumps(canonical(row), sort_keys=True, separators=(",", ":"))
    return blake3((previous + text).encode()).hexdigest()
