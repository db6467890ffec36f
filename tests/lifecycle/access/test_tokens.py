"""Our own bearer tokens: made, told from wrong ones, ended; on a real catalog."""

import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alluxio_lance.errors import PermissionDenied, Unavailable
from alluxio_lance.governance import Token
from alluxio_lance.lifecycle.access import tokens as module
from alluxio_lance.lifecycle.access.tokens import Tokens, make_secret
from alluxio_lance.lifecycle.ports import Note

NOTE = Note(actor="admin", origin="test", message="")


def keep(catalog, **changes):
    """Make a token in the catalog; returns its record and the token."""
    id, text, digest = make_secret()
    now = datetime.now(UTC)
    token = Token(id=id, name="ci", roles=("viewer",), created_by="admin", created_at=now, expires_at=None)
    token = replace(token, **changes)
    catalog.add_token(token, digest, NOTE)
    return token, text


class Counting:
    """The hasher, with a count of the digests that it computes."""

    def __init__(self, hasher):
        self.hasher = hasher
        self.count = 0

    def verify(self, digest, secret):
        """Count, then verify."""
        self.count += 1
        return self.hasher.verify(digest, secret)

    def hash(self, secret):
        """Make a digest."""
        return self.hasher.hash(secret)


@pytest.fixture
def hashes(monkeypatch):
    """A counter of digests."""
    counting = Counting(module._HASHER)
    monkeypatch.setattr(module, "_HASHER", counting)
    return counting


def test_a_token_has_its_form_and_is_only_kept_as_a_digest(catalog):
    """Twelve characters that may be shown, 43 that may not; what is kept does not hold them."""
    token, text = keep(catalog)
    assert re.fullmatch(r"al_[a-z0-9]{12}_[A-Za-z0-9_-]{43}", text)
    digest = catalog.token(token.id)[1]
    assert digest.startswith("$argon2id$")
    assert text[-43:] not in digest + repr(catalog.tokens())
    assert make_secret()[1] != make_secret()[1]


def test_a_right_token_is_hashed_once_and_its_use_noted(catalog, hashes):
    """A call must not pay for argon2 each time."""
    token, text = keep(catalog)
    tokens = Tokens(catalog)
    for _ in range(5):
        assert tokens.verify(text).id == token.id
    assert hashes.count == 1
    assert catalog.token(token.id)[0].used_at is not None


def test_after_a_while_it_is_hashed_again(catalog, hashes):
    """What is known ages."""
    now = [0.0]
    tokens = Tokens(catalog, clock=lambda: now[0])
    text = keep(catalog)[1]
    tokens.verify(text)
    now[0] = 301.0
    tokens.verify(text)
    assert hashes.count == 2


def test_only_so_many_secrets_are_known_at_a_time(catalog, hashes, monkeypatch):
    """The oldest is forgotten, and hashed again."""
    monkeypatch.setattr(module, "_MOST_KNOWN", 1)
    tokens, texts = Tokens(catalog), [keep(catalog)[1] for _ in range(2)]
    for text in (*texts, texts[0]):
        tokens.verify(text)
    assert hashes.count == 3


def test_a_revoked_token_is_refused_at_once(catalog):
    """Also by a process that knows it already; who has the right one is told why."""
    token, text = keep(catalog)
    tokens = Tokens(catalog)
    tokens.verify(text)
    catalog.revoke_token(token.id, NOTE)
    with pytest.raises(PermissionDenied, match=rf"ci \({token.id}\) was revoked at"):
        tokens.verify(text)


def test_an_expired_token_is_refused(catalog):
    """With the moment it ended."""
    _, text = keep(catalog, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(PermissionDenied, match="expired at"):
        Tokens(catalog).verify(text)
    _, text = keep(catalog, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    assert Tokens(catalog).verify(text)


def test_an_unknown_token_cannot_be_told_from_a_wrong_one(catalog, hashes):
    """Neither by the words nor by the work; a revoked one with a wrong secret is no exception."""
    _, text = keep(catalog)
    gone, gone_text = keep(catalog)
    catalog.revoke_token(gone.id, NOTE)
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    gone_wrong = gone_text[:-1] + ("A" if gone_text[-1] != "A" else "B")
    unknown = make_secret()[1]
    tokens = Tokens(catalog)
    errors = []
    for attempt in (wrong, unknown, gone_wrong, wrong, unknown):
        before = hashes.count
        with pytest.raises(PermissionDenied) as caught:
            tokens.verify(attempt)
        errors.append((caught.value.message, str(caught.value.details), hashes.count - before))
        assert attempt not in caught.value.message
    assert len(set(errors)) == 1
    assert errors[0][2] == 1


def test_a_digest_that_is_broken_lets_nobody_in(catalog):
    """A fault in the catalog is no way in."""
    id, text, _ = make_secret()
    catalog.add_token(
        Token(id=id, name="x", roles=("admin",), created_by="a", created_at=datetime.now(UTC), expires_at=None),
        "broken",
        NOTE,
    )
    with pytest.raises(PermissionDenied, match="unknown or wrong"):
        Tokens(catalog).verify(text)


def test_a_flood_of_wrong_tokens_does_not_take_the_node_s_memory(catalog, monkeypatch):
    """Beyond a number that wait already, others are sent away; who is known comes in all the same."""
    _, known = keep(catalog)
    tokens = Tokens(catalog)
    tokens.verify(known)
    for _ in range(module._MOST_WAITING):
        tokens._waiting.acquire()
    with pytest.raises(Unavailable, match="too many"):
        tokens.verify(make_secret()[1])
    assert tokens.verify(known)


def test_threads_may_share_it(catalog):
    """All get the same answer."""
    token, text = keep(catalog)
    tokens, found = Tokens(catalog), []
    threads = [threading.Thread(target=lambda: found.append(tokens.verify(text).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [token.id] * 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=120) | st.from_regex(r"al_[a-z0-9]{0,14}_?[A-Za-z0-9_-]{0,45}\n?", fullmatch=True))
def test_no_text_breaks_the_reading(catalog, text):
    """Whatever a stranger sends: refused, and nothing else happens."""
    with pytest.raises(PermissionDenied, match="unknown or wrong"):
        Tokens(catalog).verify(text)
