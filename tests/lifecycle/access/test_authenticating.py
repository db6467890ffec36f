"""Who somebody is, by the user of his process or by what he bears."""

import os
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alluxio_lance.errors import PermissionDenied
from alluxio_lance.governance import Token
from alluxio_lance.lifecycle.access.authenticating import Authenticator
from alluxio_lance.lifecycle.access.tokens import make_secret
from alluxio_lance.lifecycle.ports import Note

RULES = """
[access]
default = []
[access.users]
alice = ["releaser"]
root = ["viewer"]
"""


@pytest.fixture
def authenticator(catalog, book):
    """One over the catalog."""
    return Authenticator(catalog, book, node="n1")


@pytest.mark.parametrize(
    ("user", "uid", "text", "roles"),
    [
        ("alice", 12345, RULES, ("releaser",)),
        ("bob", 12346, RULES, ()),
        ("bob", 12346, "", ("viewer",)),
        ("root", 0, RULES, ("admin",)),
        ("me", os.geteuid(), RULES, ("admin",)),
    ],
)
def test_users_of_the_node_have_the_roles_that_the_rules_say(authenticator, configure, user, uid, text, roles):
    """Root and the server's own user are admins whatever the rules say."""
    configure(text)
    identity = authenticator.user(user, uid, 7)
    assert (identity.actor, identity.roles) == (f"{user}@n1", roles)
    assert (identity.method, identity.origin) == ("peer", "unix:pid=7")


def test_the_bearer_of_a_token_has_its_roles(authenticator, catalog):
    """And is named by it, whoever sends it."""
    id, text, digest = make_secret()
    token = Token(id=id, name="ci", roles=("developer",), created_by="a", created_at=datetime.now(UTC), expires_at=None)
    catalog.add_token(token, digest, Note(actor="a", origin="", message=""))
    for header in (f"Bearer {text}", f"bearer  {text} ", f" BEARER {text}"):
        identity = authenticator.bearer(header, "ipv4:1.2.3.4:5")
        assert (identity.actor, identity.roles) == ("token:ci", ("developer",))
        assert (identity.method, identity.origin) == ("token", "ipv4:1.2.3.4:5")


def test_a_person_whom_an_issuer_vouches_for_has_its_roles(authenticator, configure, issuer):
    """By the claims of his token."""
    configure(
        f'[[access.issuers]]\nissuer = "{issuer.url}"\naudience = "alluxio-lance"\nroles = {{ml = ["developer"]}}\n'
    )
    identity = authenticator.bearer(f"Bearer {issuer.sign(issuer.add_key())}", "ipv6:[::1]:5")
    assert (identity.actor, identity.roles) == ("oidc:alice@example.org", ("developer",))
    assert (identity.method, identity.origin) == ("oidc", "ipv6:[::1]:5")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "al_x", "Bearer\tx"])
def test_a_header_of_another_form_is_told_the_form(authenticator, header):
    """Its content is not shown: it may hold a password."""
    with pytest.raises(PermissionDenied, match="Bearer TOKEN") as caught:
        authenticator.bearer(header, "unix")
    assert "YTpi" not in caught.value.message


@pytest.mark.parametrize("header", ["Bearer a b", "Bearer ünicode", "Bearer " + "x" * (17 << 10), "Bearer al_\0"])
def test_a_header_that_holds_no_token_is_refused(authenticator, header):
    """As an unknown token is."""
    with pytest.raises(PermissionDenied, match="unknown or wrong"):
        authenticator.bearer(header, "unix")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=300) | st.text(max_size=100).map(lambda text: f"Bearer {text}"))
def test_no_header_breaks_the_reading(authenticator, header):
    """Whatever a stranger sends: refused, without his text in the answer."""
    with pytest.raises(PermissionDenied) as caught:
        authenticator.bearer(header, "unix")
    secret = header.strip().partition(" ")[2].strip()
    assert len(secret) < 20 or secret not in caught.value.message
