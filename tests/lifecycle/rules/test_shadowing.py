"""Scopes that never get their turn, because an earlier one covers all that they cover."""

from fnmatch import fnmatchcase
from itertools import product

import pytest

from alluxio_lance.lifecycle.rules.document import Scope
from alluxio_lance.lifecycle.rules.shadowing import shadowed

TEXTS = ["".join(each) for length in range(4) for each in product("ab", repeat=length)]
PATTERNS = ["".join(each) for length in (1, 2, 3) for each in product("ab*?", repeat=length)]


def test_what_is_called_shadowed_is():
    """For all pairs of short patterns: whatever the later one matches, the earlier one does."""
    matches = {pattern: {text for text in TEXTS if fnmatchcase(text, pattern)} for pattern in PATTERNS}
    found = 0
    for wide in PATTERNS:
        for narrow in PATTERNS:
            if list(shadowed([Scope(names=(wide,)), Scope(names=(narrow,))])):
                assert matches[narrow] <= matches[wide], (wide, narrow)
                found += 1
    assert found > len(PATTERNS)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        (Scope(), Scope(types=("a",), labels={"x": "y"}), True),
        (Scope(types=("a", "b")), Scope(types=("b",)), True),
        (Scope(types=("a",)), Scope(types=("a", "b")), False),
        (Scope(names=("v/*",)), Scope(names=("v/a*", "v/b")), True),
        (Scope(names=("v?",)), Scope(names=("v*",)), False),
        (Scope(labels={"x": "*"}), Scope(), False),
        (Scope(labels={"x": "*"}), Scope(labels={"x": "y", "z": "1"}), True),
        (Scope(labels={"x": "y"}), Scope(labels={"x": "*"}), False),
        (Scope(labels={"x": "[ab]"}), Scope(labels={"x": "a"}), False),
    ],
)
def test_scopes(wide, narrow, expected):
    """All three keys count; what is not surely shadowed is let pass."""
    assert list(shadowed([wide, narrow])) == ([(1, 0)] if expected else [])


def test_the_first_that_covers_is_named():
    """However many do."""
    scopes = [Scope(types=("x",)), Scope(), Scope(types=("x",)), Scope()]
    assert list(shadowed(scopes)) == [(2, 0), (3, 1)]
