"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Check", "Status", "failed", "ok", "warned"]


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, but slower or without a part."""
    FAIL = "fail"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    status: Status
    found: str
    remedy: str = ""
    """What to do; empty when all is well."""


def ok(name: str, found: str) -> Check:
    """Return a check that found all well."""
    return Check(name, Status.OK, found)


def warned(name: str, found: str, remedy: str) -> Check:
    """Return a check that found something to improve."""
    return Check(name, Status.WARN, found, remedy)


def failed(name: str, found: str, remedy: str) -> Check:
    """Return a check that found something broken."""
    return Check(name, Status.FAIL, found, remedy)
