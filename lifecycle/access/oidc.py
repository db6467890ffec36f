"""People from outside: JSON web tokens of the OpenID Connect issuers that the rules name."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
import structlog

from alluxio_lance.errors import PermissionDenied, Unavailable
from alluxio_lance.lifecycle.access.tokens import refused
from alluxio_lance.lifecycle.access.urls import is_safe_url
from alluxio_lance.lifecycle.rules.document import Issuer, RuleSet

__all__ = ["ALGORITHMS", "Issuers", "Person"]

_log = structlog.get_logger(__name__)

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""Signatures with a public key only: with HS… the issuer's public key would pass for a secret."""
_LEEWAY: Final = 30
"""Seconds that the clocks of issuer and node may differ."""
_TIMEOUT: Final = 5.0
_LIFESPAN: Final = 300.0
"""Seconds that the keys of an issuer are kept. Who withdraws a key waits for that."""
_LARGEST_DOCUMENT: Final = 1 << 20
_LONGEST_NAME: Final = 200

Person = tuple[str, tuple[str, ...]]
"""Name and roles."""


class Issuers:
    """Verifies tokens and keeps the issuers' keys. Threads may share it.

    Parameters
    ----------
    cooldown
        Seconds between two fetches of an issuer's keys because of a key that is not among them, and after a fetch
        that failed: a flood of forged tokens must not become one of requests to the issuer.
    clock
        Seconds, monotonic.
    """

    def __init__(self, *, cooldown: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._cooldown = cooldown
        self._clock = clock
        self._keys: dict[tuple[str, str | None], _Keys] = {}
        self._lock = threading.Lock()

    def verify(self, text: str, rules: RuleSet) -> Person:
        """Return who a token vouches for.

        Raises
        ------
        PermissionDenied
            When no issuer of the rules signed it for this audience, or it is not valid now.
        Unavailable
            When the issuer's keys cannot be fetched.
        """
        issuer = _issuer_of(text, rules.access.issuers)
        if issuer is None:
            raise refused()
        try:
            return _person(self._claims(text, issuer), issuer)
        except jwt.PyJWTError as error:
            raise _not_accepted(issuer, error) from None

    def _claims(self, text: str, issuer: Issuer) -> Mapping[str, Any]:
        key = self._of(issuer).find(jwt.get_unverified_header(text).get("kid"))
        claims: Mapping[str, Any] = jwt.decode(
            text,
            key,
            algorithms=_fitting(key),
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud"], "verify_iat": False},
        )
        return claims

    def _of(self, issuer: Issuer) -> _Keys:
        with self._lock:
            return self._keys.setdefault(
                (issuer.issuer, issuer.jwks), _Keys(issuer, cooldown=self._cooldown, clock=self._clock)
            )


class _Keys:
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer, *, cooldown: float, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._cooldown = cooldown
        self._clock = clock
        self._client: jwt.PyJWKClient | None = None
        self._failed: tuple[float, str] | None = None
        self._lock = threading.Lock()

    def find(self, id: Any) -> jwt.PyJWK:
        """Return a key.

        Raises
        ------
        jwt.PyJWTError
            When the issuer has no such key.
        Unavailable
            When the keys cannot be fetched.
        """
        if not isinstance(id, str):
            raise jwt.InvalidTokenError("it names no key (kid)")
        with self._lock:
            if self._failed is not None and self._clock() - self._failed[0] < self._cooldown:
                raise self._unreachable(self._failed[1])
            try:
                if self._client is None:
                    self._client = self._connect()
                return self._client.get_signing_key(id)
            except jwt.PyJWKClientConnectionError as error:
                failure = str(error)
            except (OSError, ValueError, http.client.HTTPException) as error:
                failure = f"{type(error).__name__}: {error}"
            self._failed = self._clock(), failure
        raise self._unreachable(failure)

    def _connect(self) -> jwt.PyJWKClient:
        if not is_safe_url(self._issuer.jwks or self._issuer.issuer):
            raise ValueError("its keys must come from an https address")
        return jwt.PyJWKClient(
            self._issuer.jwks or _discovered(self._issuer.issuer),
            timeout=_TIMEOUT,
            lifespan=_LIFESPAN,
            cooldown_duration=self._cooldown,
        )

    def _unreachable(self, why: str) -> Unavailable:
        return Unavailable(
            f"the keys of the issuer {self._issuer.issuer} cannot be fetched ({why}) - try again when it answers, or use "
            "a token of alluxio-lance",
            what=self._issuer.issuer,
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: an issuer could send this node to addresses that only it can reach."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _discovered(issuer: str) -> str:
    """Ask an issuer where its keys are (OpenID Connect Discovery 1.0)."""
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    with urllib.request.build_opener(_NoRedirect).open(url, timeout=_TIMEOUT) as response:
        document = json.loads(response.read(_LARGEST_DOCUMENT))
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ValueError(f"{url} does not speak for it")
    keys = document.get("jwks_uri")
    if not isinstance(keys, str) or not is_safe_url(keys):
        raise ValueError(f"{url} names no https address of keys")
    return keys


def _issuer_of(text: str, issuers: tuple[Issuer, ...]) -> Issuer | None:
    """Find whose token it claims to be; nothing is believed yet."""
    try:
        claims = jwt.decode(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return next((issuer for issuer in issuers if issuer.issuer == claims.get("iss")), None)


def _fitting(key: jwt.PyJWK) -> list[str]:
    """Return the algorithm of the key, if it is one of ours: the token has no say in it."""
    if key.algorithm_name not in ALGORITHMS:
        raise jwt.InvalidAlgorithmError(f"the key is for {key.algorithm_name}; accepted are {', '.join(ALGORITHMS)}")
    return [key.algorithm_name]


def _person(claims: Mapping[str, Any], issuer: Issuer) -> Person:
    name = claims.get(issuer.name_claim)
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise jwt.InvalidTokenError(f"its claim {issuer.name_claim} is no name")
    if issuer.name_claim == "email" and claims.get("email_verified") is False:
        raise jwt.InvalidTokenError("its e-mail address is not verified")
    groups = claims.get(issuer.roles_claim, ())
    values = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    roles = {role for value in values if isinstance(value, str) for role in issuer.roles.get(value, ())}
    return name, tuple(sorted(roles))


def _not_accepted(issuer: Issuer, failure: jwt.PyJWTError) -> PermissionDenied:
    # What a JWT says is no secret, and its owner needs to know what is wrong with it; the token itself is never shown.
    _log.info("a token of an issuer was refused", issuer=issuer.issuer, reason=str(failure))
    why = next((text for kind, text in _REASONS.items() if isinstance(failure, kind)), "it is not signed by the issuer")
    return PermissionDenied(f"the token of {issuer.issuer} is not accepted: {why} - get a new one from the issuer")


_REASONS: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is meant for another audience",
    jwt.MissingRequiredClaimError: "it lacks a claim (exp, iss and aud are needed)",
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidAlgorithmError: "its algorithm is not accepted",
    jwt.PyJWKClientError: "its key is not one of the issuer's",
}
