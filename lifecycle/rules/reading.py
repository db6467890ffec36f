"""Reading a rules document that somebody wants to put in force: its types, and all that types cannot say."""

from __future__ import annotations

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.rules.checking import faults_of
from alluxio_lance.lifecycle.rules.document import RuleSet, parse_rules

__all__ = ["read_rules"]


def read_rules(text: str) -> RuleSet:
    """Read a document, strictly; the empty one means the defaults.

    Raises
    ------
    InvalidArgument
        With the place of every fault: ``gates[2].require[0]: …``; ``details["faults"]`` lists them.
    """
    rules = parse_rules(text)
    if faults := faults_of(rules):
        raise InvalidArgument("the rules have faults:\n  " + "\n  ".join(faults), faults=faults)
    return rules
