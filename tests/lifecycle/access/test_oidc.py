"""People from outside, vouched for by a real issuer that serves discovery and keys over HTTP."""

import base64
import json
import time

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.errors import PermissionDenied, Unavailable
from alluxio_lance.lifecycle.access.oidc import Issuers
from alluxio_lance.lifecycle.access.urls import is_safe_url
from alluxio_lance.lifecycle.rules import read_rules


def rules_for(*urls, **options):
    """Make rules that name issuers."""
    more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
    return read_rules(
        "".join(
            f'[[access.issuers]]\nissuer = "{url}"\naudience = "alluxio-lance"\n{more}'
            'roles = {ml = ["developer"], boss = ["admin", "viewer"]}\n'
            for url in urls
        )
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_person_has_the_name_and_the_roles_that_the_claims_say(issuer, algorithm):
    """With each kind of key; groups that the rules do not know give nothing."""
    token = issuer.sign(issuer.add_key(algorithm))
    assert Issuers().verify(token, rules_for(issuer.url)) == ("alice@example.org", ("developer",))


@pytest.mark.parametrize(
    ("groups", "roles"),
    [
        ("ml", ("developer",)),
        (["boss", "ml"], ("admin", "developer", "viewer")),
        ([], ()),
        (None, ()),
        ({"ml": 1}, ()),
        ([{"x": 1}, 5, "ml"], ("developer",)),
    ],
)
def test_roles_come_from_the_claim_in_whichever_form(issuer, groups, roles):
    """A text, a list, something else: only texts that the rules know count."""
    token = issuer.sign(issuer.add_key(), groups=groups)
    assert Issuers().verify(token, rules_for(issuer.url))[1] == roles


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"nbf": int(time.time()) + 86_400}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "lacks a claim|another audience"),
        ({"exp": None}, "lacks a claim"),
        ({"email": None}, "is not accepted"),
        ({"email": ""}, "is not accepted"),
        ({"email": "a\nb"}, "is not accepted"),
        ({"email": "x" * 201}, "is not accepted"),
        ({"email_verified": False}, "is not accepted"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_with_the_reason(issuer, claims, why):
    """The sentence names the issuer, never the token."""
    token = issuer.sign(issuer.add_key(), **claims)
    with pytest.raises(PermissionDenied, match=why) as caught:
        Issuers().verify(token, rules_for(issuer.url))
    assert issuer.url in caught.value.message
    assert token not in caught.value.message


def test_clocks_may_differ_a_little(issuer):
    """Half a minute, both ways."""
    now = int(time.time())
    token = issuer.sign(issuer.add_key(), exp=now - 10, nbf=now + 10)
    assert Issuers().verify(token, rules_for(issuer.url))


def test_a_signature_by_another_key_is_refused(issuer):
    """Although the key's id is the issuer's."""
    right, other = issuer.add_key(), issuer.add_key()
    private = issuer.keys[other][0]
    issuer.keys[right] = private, issuer.keys[right][1]
    with pytest.raises(PermissionDenied, match="signature is wrong"):
        Issuers().verify(issuer.sign(right), rules_for(issuer.url))


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_only_signatures_with_a_public_key_count(issuer, algorithm):
    """Neither none at all nor one made with the public key as a secret."""
    key = issuer.add_key("ES256")
    claims = jwt.decode(issuer.sign(key), options={"verify_signature": False})
    secret = None if algorithm == "none" else issuer.keys[key][1]["x"].ljust(64)
    token = jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": key})
    with pytest.raises(PermissionDenied, match="not accepted"):
        Issuers().verify(token, rules_for(issuer.url))


def test_a_key_for_another_algorithm_is_refused(issuer):
    """Even one that the issuer publishes: a shared secret has no business among public keys."""
    key = issuer.add_key()
    claims = jwt.decode(issuer.sign(key), options={"verify_signature": False})
    issuer.keys[key] = (
        None,
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode(), "kid": key, "alg": "HS256"},
    )
    token = jwt.encode(claims, b"s" * 32, algorithm="HS256", headers={"kid": key})
    with pytest.raises(PermissionDenied, match="algorithm is not accepted"):
        Issuers().verify(token, rules_for(issuer.url))


def test_an_issuer_that_the_rules_do_not_name_is_nobody(issuer):
    """The same words as for a token that is none at all."""
    token = issuer.sign(issuer.add_key())
    messages = set()
    for text in (token, "a.b.c", "nonsense"):
        with pytest.raises(PermissionDenied) as caught:
            Issuers().verify(text, rules_for())
        messages.add(caught.value.message)
    assert len(messages) == 1
    assert not issuer.requests


def test_a_token_without_the_id_of_its_key_is_refused(issuer):
    """And one whose id is none of the issuer's, after one more look."""
    key = issuer.add_key()
    private = issuer.keys[key][0]
    claims = jwt.decode(issuer.sign(key), options={"verify_signature": False})
    issuers = Issuers(cooldown=0)
    with pytest.raises(PermissionDenied, match="not accepted"):
        issuers.verify(jwt.encode(claims, private, algorithm="ES256"), rules_for(issuer.url))
    with pytest.raises(PermissionDenied, match="not one of the issuer's"):
        issuers.verify(jwt.encode(claims, private, algorithm="ES256", headers={"kid": "x"}), rules_for(issuer.url))


def test_keys_are_fetched_once_and_again_when_the_issuer_has_a_new_one(issuer):
    """Rotation: the new key counts at once, the withdrawn one no longer after the next fetch."""
    old = issuer.add_key()
    issuers, rules = Issuers(cooldown=0), rules_for(issuer.url)
    token = issuer.sign(old)
    for _ in range(3):
        issuers.verify(token, rules)
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]
    new = issuer.add_key()
    fresh = issuer.sign(new)
    del issuer.keys[old]
    assert issuers.verify(fresh, rules)
    assert issuer.requests[2:] == ["/keys"]
    with pytest.raises(PermissionDenied, match="not one of the issuer's"):
        issuers.verify(token, rules)


def test_forged_tokens_do_not_become_requests_to_the_issuer(issuer):
    """Within the cooldown the keys are not fetched again."""
    key = issuer.add_key()
    issuers, rules = Issuers(cooldown=60), rules_for(issuer.url)
    issuers.verify(issuer.sign(key), rules)
    for number in range(20):
        with pytest.raises(PermissionDenied):
            issuers.verify(issuer.sign(key, headers={"kid": str(number)}), rules)
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


def test_an_issuer_that_cannot_be_reached_is_named(issuer):
    """Not the caller's fault: he may try again, and the issuer is not asked again within the cooldown."""
    token = issuer.sign(issuer.add_key())
    issuer.close()
    issuers, rules = Issuers(cooldown=60), rules_for(issuer.url)
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be fetched") as caught:
            issuers.verify(token, rules)
        assert caught.value.details["what"] == issuer.url


def test_an_issuer_that_comes_back_is_asked_again(issuer):
    """After the cooldown."""
    now = [0.0]
    issuers, rules = Issuers(cooldown=5, clock=lambda: now[0]), rules_for(issuer.url)
    token = issuer.sign(issuer.add_key())
    issuer.status = 500
    with pytest.raises(Unavailable):
        issuers.verify(token, rules)
    issuer.status = 200
    with pytest.raises(Unavailable):
        issuers.verify(token, rules)
    now[0] = 6.0
    assert issuers.verify(token, rules)


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://somebody.else", "jwks_uri": "https://somebody.else/keys"},
        {"issuer": None},
        [],
        {"issuer": "URL", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "URL", "jwks_uri": "http://10.0.0.1/keys"},
        {"issuer": "URL"},
    ],
)
def test_a_discovery_document_that_does_not_fit_is_not_followed(issuer, document):
    """Another issuer's, no object, keys elsewhere than behind TLS."""
    if isinstance(document, dict) and document.get("issuer") == "URL":
        document = {**document, "issuer": issuer.url}
    token = issuer.sign(issuer.add_key())
    issuer.document = document or ["none"]
    with pytest.raises(Unavailable):
        Issuers().verify(token, rules_for(issuer.url))


def test_redirects_are_not_followed(issuer):
    """An issuer could send the node to an address that only the node can reach."""
    token = issuer.sign(issuer.add_key())
    issuer.status = 302
    with pytest.raises(Unavailable):
        Issuers().verify(token, rules_for(issuer.url))
    assert "/elsewhere" not in issuer.requests


def test_keys_may_be_at_an_address_of_their_own(issuer):
    """Then nothing is discovered; another claim may name people."""
    token = issuer.sign(issuer.add_key(), sub="7")
    rules = rules_for(issuer.url, jwks=f"{issuer.url}/keys", name_claim="sub")
    assert Issuers().verify(token, rules)[0] == "7"
    assert issuer.requests == ["/keys"]


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_breaks_the_reading(text):
    """Every text that is no token is refused, and nothing else happens."""
    for form in (text, f"{text}.{text}.{text}", f"e30.{text}.x"):
        with pytest.raises(PermissionDenied):
            Issuers().verify(form, rules_for("https://issuer.example"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_no_claims_break_the_reading(claims):
    """Whatever JSON a stranger puts into a token."""
    parts = [json.dumps(part).encode() for part in ({"alg": "ES256", "kid": "x"}, claims)]
    text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".c2ln"
    with pytest.raises(PermissionDenied):
        Issuers().verify(text, rules_for("https://issuer.example"))


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://issuer.example/realms/a", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost/x", True),
        ("http://[::1]:80", True),
        ("http://issuer.example", False),
        ("http://127.0.0.1.example", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_keys_are_fetched_over_tls_or_from_this_host(url, safe):
    """Nothing else can be trusted to be the issuer's."""
    assert is_safe_url(url) is safe
