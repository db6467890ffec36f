"""The enums of values and layouts with their numbers on the wire: one table for both ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from alluxio_lance.errors import Unavailable
from alluxio_lance.governance import PromotionState, Verdict
from alluxio_lance.layout import ColumnKind, Pages
from alluxio_lance.upkeep import Action
from alluxio_lance.v1 import cache_pb2, common_pb2, governance_pb2
from alluxio_lance.values import Kind, Outcome, State, Verb
from alluxio_lance.ways import Way

__all__ = [
    "ACTIONS",
    "COLUMN_KINDS",
    "KINDS",
    "OUTCOMES",
    "PAGES",
    "PROMOTION_STATES",
    "STATES",
    "VERDICTS",
    "WAYS",
    "Codes",
    "read_verb",
]

Value = TypeVar("Value")
Number = TypeVar("Number", bound=int)


class Codes(Generic[Value, Number]):
    """A table of values and their numbers, to be read both ways."""

    def __init__(self, numbers: Mapping[Value, Number]) -> None:
        self._numbers = dict(numbers)
        self._values = {number: value for value, number in numbers.items()}

    def number(self, value: Value) -> Number:
        """Write a value."""
        return self._numbers[value]

    def value(self, number: Number) -> Value:
        """Read a number.

        Raises
        ------
        Unavailable
            When this release does not know it.
        """
        found = self._values.get(number)
        if found is None:
            raise _newer(f"number {number} for one of {', '.join(map(str, self._numbers))}")
        return found

    def value_if_any(self, number: Number) -> Value | None:
        """Read a number that may mean nothing."""
        return self.value(number) if number else None


def read_verb(text: str) -> Verb:
    """Read a verb, which travels as its text.

    Raises
    ------
    Unavailable
        When this release does not know it.
    """
    try:
        return Verb(text)
    except ValueError:
        raise _newer(f"verb {text!r}") from None


def _newer(what: str) -> Unavailable:
    return Unavailable(
        f"the other side speaks of a {what}, which this release does not know - install the same version of "
        "alluxio-lance on both sides",
        what="release",
    )


STATES: Final = Codes(
    {
        State.REGISTERED: common_pb2.STATE_REGISTERED,
        State.ACTIVE: common_pb2.STATE_ACTIVE,
        State.DEPRECATED: common_pb2.STATE_DEPRECATED,
        State.ARCHIVED: common_pb2.STATE_ARCHIVED,
        State.DELETED: common_pb2.STATE_DELETED,
    }
)
KINDS: Final = Codes({Kind.DATASET: common_pb2.KIND_DATASET, Kind.MODEL: common_pb2.KIND_MODEL})
OUTCOMES: Final = Codes({Outcome.DONE: common_pb2.OUTCOME_DONE, Outcome.DENIED: common_pb2.OUTCOME_DENIED})
COLUMN_KINDS: Final = Codes(
    {
        ColumnKind.FIXED: cache_pb2.COLUMN_KIND_FIXED,
        ColumnKind.VARIABLE: cache_pb2.COLUMN_KIND_VARIABLE,
        ColumnKind.ARROW: cache_pb2.COLUMN_KIND_ARROW,
        ColumnKind.FILE: cache_pb2.COLUMN_KIND_FILE,
    }
)
PAGES: Final = Codes(
    {
        Pages.SMALL: cache_pb2.PAGES_SMALL,
        Pages.TRANSPARENT: cache_pb2.PAGES_TRANSPARENT,
        Pages.HUGE: cache_pb2.PAGES_HUGE,
    }
)
VERDICTS: Final = Codes(
    {
        Verdict.PASSED: governance_pb2.VERDICT_PASSED,
        Verdict.FAILED: governance_pb2.VERDICT_FAILED,
        Verdict.ERROR: governance_pb2.VERDICT_ERROR,
        Verdict.WAITING: governance_pb2.VERDICT_WAITING,
    }
)
PROMOTION_STATES: Final = Codes(
    {
        PromotionState.WAITING: governance_pb2.PROMOTION_STATE_WAITING,
        PromotionState.DONE: governance_pb2.PROMOTION_STATE_DONE,
        PromotionState.DENIED: governance_pb2.PROMOTION_STATE_DENIED,
    }
)
ACTIONS: Final = Codes(
    {
        Action.ARCHIVE: governance_pb2.POLICY_ACTION_ARCHIVE,
        Action.DELETE: governance_pb2.POLICY_ACTION_DELETE,
        Action.PURGE: governance_pb2.POLICY_ACTION_PURGE,
    }
)
WAYS: Final = Codes(
    {
        Way.LOCAL: common_pb2.WAY_LOCAL,
        Way.DISK: common_pb2.WAY_DISK,
        Way.SHORT_CIRCUIT: common_pb2.WAY_SHORT_CIRCUIT,
        Way.JOINED: common_pb2.WAY_JOINED,
        Way.ENDPOINT: common_pb2.WAY_ENDPOINT,
    }
)
