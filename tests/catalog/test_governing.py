"""Rules, tokens and offices: changed by one at a time, and told by the audit trail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alluxio_lance.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from alluxio_lance.governance import Rules, Token
from alluxio_lance.lifecycle.ports import Note
from alluxio_lance.values import Verb

NOTE = Note(actor="ada@node-1", origin="unix:pid=123", message="because")


@pytest.fixture
def token(clock) -> Token:
    """A token for a week."""
    return Token(
        id="tok123456789",
        name="ci",
        roles=("developer", "viewer"),
        created_by="ada@node-1",
        created_at=clock.now,
        expires_at=clock.now + timedelta(days=7),
    )


def test_without_rules_there_is_an_empty_text(catalog):
    """Revision 0: nothing was configured."""
    assert catalog.rules() == Rules(text="", revision=0, changed_at=None, changed_by="")


def test_each_change_of_the_rules_is_a_revision(catalog, clock):
    """It says who and when; the audit row has both revisions, belongs to no resource, and is part of the chain."""
    first = catalog.set_rules("a = 'ä'", revision=None, note=NOTE)
    clock.advance(1)
    second = catalog.set_rules("b = 1", revision=1, note=replace(NOTE, actor="grace@node-2"))
    assert first == Rules(text="a = 'ä'", revision=1, changed_at=first.changed_at, changed_by="ada@node-1")
    assert second == catalog.rules() == Rules(text="b = 1", revision=2, changed_at=clock.now, changed_by="grace@node-2")
    one, two = catalog.events()
    assert (one.verb, one.type, one.name, one.operation, one.message) == (Verb.CONFIGURE, "", "", "", "because")
    assert (one.before, one.after, two.before, two.after) == ("r0", "r1", "r1", "r2")
    assert (one.actor, one.origin, one.semver) == ("ada@node-1", "unix:pid=123", None)
    assert catalog.verify_audit().fault is None


@pytest.mark.parametrize("revision", [0, 2])
def test_rules_that_somebody_changed_meanwhile_are_not_replaced(catalog, revision):
    """Whoever looked at another revision is told, and nothing is written."""
    catalog.set_rules("a = 1", revision=0, note=NOTE)
    with pytest.raises(Conflict, match=f"have revision 1 by now, changed by ada@node-1, and not {revision}"):
        catalog.set_rules("b = 1", revision=revision, note=NOTE)
    assert (catalog.rules().text, catalog.last_event()) == ("a = 1", 1)


def test_rules_that_cannot_be_kept_are_refused(catalog):
    """Before anything is written."""
    with pytest.raises(InvalidArgument, match="the rules has a character"):
        catalog.set_rules("a\0b", revision=None, note=NOTE)
    assert (catalog.rules().revision, catalog.last_event()) == (0, 0)


def test_a_token_comes_back_with_its_digest(catalog, clock, token):
    """The audit row names it; tokens are listed newest first."""
    catalog.add_token(token, "$argon2id$1", NOTE)
    assert catalog.token(token.id) == (token, "$argon2id$1")
    assert catalog.token("unknown") is None
    clock.advance(1)
    forever = replace(token, id="another", created_at=clock.now, expires_at=None)
    catalog.add_token(forever, "$argon2id$2", NOTE)
    assert catalog.tokens() == [forever, token]
    event = catalog.events()[0]
    assert (event.verb, event.type, event.name, event.operation) == (Verb.ISSUE_TOKEN, "", "", "")
    assert (event.before, event.after, event.message) == (None, token.id, "because")


def test_an_id_of_a_token_is_given_once(catalog, token):
    """The first one stays."""
    catalog.add_token(token, "$argon2id$1", NOTE)
    with pytest.raises(AlreadyExists, match="there is a token tok123456789 already"):
        catalog.add_token(replace(token, name="other"), "$argon2id$2", NOTE)
    assert catalog.token(token.id) == (token, "$argon2id$1")
    assert catalog.last_event() == 1


def test_a_token_ends_once(catalog, clock, token):
    """Revoking again changes nothing, and writes nothing; an unknown one is not found."""
    catalog.add_token(token, "$argon2id$1", NOTE)
    clock.advance(5)
    ended = catalog.revoke_token(token.id, NOTE)
    assert ended == replace(token, revoked_at=clock.now)
    clock.advance(5)
    assert catalog.revoke_token(token.id, NOTE) == ended
    assert catalog.token(token.id)[0] == ended
    revoked = catalog.events()[-1]
    assert (revoked.sequence, revoked.verb, revoked.before, revoked.after) == (2, Verb.REVOKE_TOKEN, token.id, None)
    with pytest.raises(NotFound, match="there is no token 'unknown'"):
        catalog.revoke_token("unknown", NOTE)


def test_the_use_of_a_token_is_remembered_once_a_minute(catalog, clock, token):
    """Unknown tokens are no error."""
    catalog.add_token(token, "$argon2id$1", NOTE)
    used = []
    for seconds in (0, 59, 1):
        clock.advance(seconds)
        catalog.note_token_use(token.id)
        used.append(catalog.token(token.id)[0].used_at - token.created_at)
    assert used == [timedelta(0), timedelta(0), timedelta(seconds=60)]
    catalog.note_token_use("unknown")
    assert catalog.tokens()[0].used_at == clock.now


def test_an_office_has_one_holder(catalog, clock):
    """Who has it keeps it by asking again; when he does not, or resigns, another one gets it."""
    assert catalog.lead("janitor", "node-1", 30)
    assert not catalog.lead("janitor", "node-2", 30)
    assert catalog.lead("other", "node-2", 30)
    clock.advance(20)
    assert catalog.lead("janitor", "node-1", 30)
    clock.advance(29)
    assert not catalog.lead("janitor", "node-2", 30)
    clock.advance(1)
    assert catalog.lead("janitor", "node-2", 30)
    assert not catalog.lead("janitor", "node-1", 30)
    catalog.resign("janitor", "node-1")
    assert not catalog.lead("janitor", "node-1", 30)
    catalog.resign("janitor", "node-2")
    assert catalog.lead("janitor", "node-1", 30)
    with pytest.raises(InvalidArgument, match="the holder of an office"):
        catalog.lead("janitor", "x" * 501, 30)
