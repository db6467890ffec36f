"""Whether two names stand for one person."""

from datetime import UTC, datetime

import pytest

from alluxio_lance.governance import Token
from alluxio_lance.lifecycle.access.persons import Persons

MADE = [
    ("ci", "eve@a"),
    ("ci2", "token:ci"),
    ("bob", "root@a"),
    ("kim", "root@b"),
    ("ring", "token:ring"),
    ("dup", "x@a"),
]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("eve@a", "eve@a", True),
        ("eve@a", "eve@b", True),
        ("eve@a", "bob@a", False),
        ("eve", "eve@a", True),
        ("oidc:eve@x.org", "oidc:eve@y.org", False),
        ("oidc:eve@a", "eve@a", False),
        ("token:ci", "eve@b", True),
        ("token:ci2", "eve@b", True),
        ("token:ci2", "token:ci", True),
        ("token:bob", "token:kim", False),
        ("token:ring", "token:ring", True),
        ("token:ring", "eve@a", False),
        ("token:gone", "eve@a", False),
    ],
)
def test_persons(one, other, same):
    """A user is one on all nodes; a token is its maker too, and tokens of one maker are two people."""
    now = datetime.now(UTC)
    tokens = [Token(id=name, name=name, roles=(), created_by=by, created_at=now, expires_at=None) for name, by in MADE]
    assert Persons(tokens).are_one(one, other) is same
    assert Persons(tokens).are_one(other, one) is same
