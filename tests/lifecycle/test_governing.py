"""Rules and tokens: who may set and hand out what, on an embedded manager, whose user is admin."""

import os
import pwd
from datetime import UTC, datetime, timedelta

import pytest

import alluxio_lance as al
from alluxio_lance.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from alluxio_lance.governance import Identity
from alluxio_lance.values import Outcome, Verb

RULES = """
[roles.clerk]
inherits = ["developer"]
grants = [{ verbs = ["issue-token"] }]
[roles.boss]
grants = [{ verbs = ["configure"] }]
[access.users]
anne = ["boss"]
"""


@pytest.fixture
def manager(tmp_path):
    """An embedded manager with roles of its own."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.set_rules(RULES, message="begin")
        yield manager


@pytest.fixture
def acting(manager):
    """Act as somebody."""

    def acting(*roles, actor="alice@n1", method="peer"):
        return manager.acting_as(Identity(actor=actor, roles=roles, method=method, origin="unix:pid=1"))

    return acting


def test_in_process_the_user_is_admin(manager):
    """The folder is his."""
    who = manager.whoami()
    assert who.roles == ("admin",)
    assert who.actor.startswith(pwd.getpwuid(os.getuid()).pw_name)
    assert (who.method, who.origin) == ("embedded", f"embedded:pid={os.getpid()}")


def test_everybody_may_ask_who_he_is(acting):
    """Also who has no role at all."""
    assert acting().whoami().actor == "alice@n1"


def test_rules_are_replaced_with_their_revision(manager):
    """A change that was made from an older one is refused; each has its audit row."""
    now = manager.rules()
    new = manager.set_rules(RULES + "\n", revision=now.revision, message="one line more")
    assert (new.text, new.revision) == (RULES + "\n", now.revision + 1)
    assert new.changed_by == manager.whoami().actor
    with pytest.raises(Conflict):
        manager.set_rules(RULES, revision=now.revision)
    events = [event for event in manager.catalog.events() if event.verb is Verb.CONFIGURE]
    assert [event.message for event in events] == ["begin", "one line more"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x = [", "no TOML"),
        ('[roles.a]\ninherits = ["b"]\n[roles.b]\ninherits = ["a"]\n', "inherit from itself"),
        ('[roles.a]\ninherits = ["a"]\n', "inherit from itself"),
        ("[roles.admin]\n", "built in"),
        ('[roles.a]\ninherits = ["nobody"]\n', "no role 'nobody'"),
        ('[access]\ndefault = ["nobody"]\n', "no role 'nobody'"),
        ('[[access.issuers]]\nissuer = "http://issuer.example"\naudience = "a"\n', r"issuers\[0\]\.issuer"),
        (
            '[[access.issuers]]\nissuer = "https://issuer.example"\njwks = "file:///etc/passwd"\naudience = "a"\n',
            r"issuers\[0\]\.jwks",
        ),
    ],
)
def test_rules_with_faults_are_refused_and_change_nothing(manager, text, what):
    """With the place of the fault."""
    before = manager.rules()
    with pytest.raises(InvalidArgument, match=what):
        manager.set_rules(text)
    assert manager.rules() == before


def test_nobody_locks_himself_out(manager, acting):
    """Who changes the rules can change them again; the server's own user always can."""
    anne = acting("boss", actor="anne@n1")
    anne.set_rules(RULES + "# by anne\n")
    for text in ("", RULES.replace('["configure"]', '["read"]'), RULES.replace("anne", "bert")):
        with pytest.raises(InvalidArgument, match="take the right to change rules from anne@n1"):
            anne.set_rules(text)
    acting("boss", actor="token:x", method="token").set_rules(RULES)
    with pytest.raises(InvalidArgument, match="token:x"):
        acting("boss", actor="token:x", method="token").set_rules("")
    me = pwd.getpwuid(os.geteuid()).pw_name
    acting("admin", actor=f"{me}@n1").set_rules("")
    assert manager.rules().text == ""


def test_a_token_is_shown_once(manager):
    """What is listed later has no secret."""
    token, secret = manager.issue_token(
        "ci", ["developer", "viewer", "viewer"], lifetime=timedelta(days=1), message="ci"
    )
    assert secret.startswith(f"al_{token.id}_")
    assert token.roles == ("developer", "viewer")
    assert timedelta(hours=23) < token.expires_at - datetime.now(UTC) <= timedelta(days=1)
    assert secret[-43:] not in repr(manager.list_tokens())
    assert [each.id for each in manager.list_tokens()] == [token.id]
    assert manager.issue_token("for ever".replace(" ", "-"), ["viewer"])[0].expires_at is None


@pytest.mark.parametrize(
    ("name", "roles", "options", "what"),
    [
        ("", ["viewer"], {}, "no name"),
        ("a b", ["viewer"], {}, "no name"),
        ("x" * 101, ["viewer"], {}, "no name"),
        ("a", [], {}, "needs a role"),
        ("a", ["nobody"], {}, "no role 'nobody'"),
        ("a", ["viewer"], {"lifetime": timedelta(0)}, "more than no time"),
        ("a", ["viewer"], {"lifetime": timedelta(days=9999)}, "at most 3660 days"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(manager, name, roles, options, what):
    """Before anything is kept."""
    with pytest.raises(InvalidArgument, match=what):
        manager.issue_token(name, roles, **options)
    assert manager.list_tokens() == []


def test_nobody_hands_out_more_than_he_has(manager, acting):
    """His roles and what they inherit; only an admin hands out others. The refusal is audited."""
    clerk = acting("clerk")
    for role in ("clerk", "developer", "viewer"):
        clerk.issue_token(role, [role])
    for role in ("releaser", "admin", "boss"):
        with pytest.raises(PermissionDenied, match=f"may not hand out the role {role}"):
            clerk.issue_token("more", ["viewer", role])
    rows = manager.catalog.events(outcome=Outcome.DENIED)
    assert [row.verb for row in rows] == [Verb.ISSUE_TOKEN] * 3
    assert len(manager.list_tokens()) == 3
    manager.issue_token("root", ["admin"])


def test_people_see_and_end_their_own_tokens(manager, acting):
    """Others' are the admin's business; tokens with one name are not each other's."""
    mine = acting("clerk").issue_token("mine", ["viewer"])[0]
    other = manager.issue_token("other", ["viewer"])[0]
    assert [token.id for token in acting("clerk").list_tokens()] == [mine.id]
    assert {token.id for token in manager.list_tokens()} == {mine.id, other.id}
    with pytest.raises(PermissionDenied):
        acting("clerk").revoke_token(other.id)
    with pytest.raises(PermissionDenied):
        acting("clerk").revoke_token("unknown")
    assert acting("clerk").revoke_token(mine.id, message="done").revoked_at is not None
    by_token = acting("clerk", actor="token:mine", method="token")
    made = by_token.issue_token("made", ["viewer"])[0]
    assert by_token.list_tokens() == []
    with pytest.raises(PermissionDenied):
        by_token.revoke_token(made.id)


def test_a_revoked_token_stays_revoked(manager):
    """A second time changes nothing; an unknown one is not found."""
    token, _ = manager.issue_token("ci", ["viewer"])
    first = manager.revoke_token(token.id, message="lost")
    assert manager.revoke_token(token.id).revoked_at == first.revoked_at
    with pytest.raises(NotFound):
        manager.revoke_token("unknown12345")


def test_what_is_done_outside_of_the_manager_can_be_checked(acting):
    """By who serves data: refused and audited, or asked without a trace."""
    viewer = acting("viewer")
    viewer.allow(Verb.READ, "datasets", "a")
    assert not viewer.may(Verb.EVICT, "datasets", "a")
    assert viewer.catalog.events(outcome=Outcome.DENIED) == []
    with pytest.raises(PermissionDenied):
        viewer.allow(Verb.EVICT, "datasets", "a")
    assert len(viewer.catalog.events(outcome=Outcome.DENIED)) == 1


def test_who_may_not_see_all_does_not_see_what_belongs_to_no_resource(manager, acting):
    """The rules, for one."""
    with pytest.raises(PermissionDenied):
        acting().rules()
    assert acting("viewer").rules() == manager.rules()
