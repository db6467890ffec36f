"""Bearer tokens of our own: how they are made, and how one is told from a wrong one."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from alluxio_lance.errors import PermissionDenied, Unavailable
from alluxio_lance.governance import Token

__all__ = ["PREFIX", "TokenStore", "Tokens", "make_secret", "refused"]

PREFIX: Final = "al_"
_FORM: Final = re.compile(r"al_([a-z0-9]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_ALPHABET: Final = string.ascii_lowercase + string.digits
# OWASP's smaller choice for argon2id. The secret has 256 random bits, so the digest need not slow down guessing much;
# it makes a stolen catalog useless.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 << 10, parallelism=1)
_FRESH: Final = 300.0
"""Seconds that a secret once found right is not hashed again. Revocation does not wait for it: the record is read
anew for each call."""
_MOST_KNOWN: Final = 4096
_AT_ONCE: Final = 2
"""Digests computed at the same time: each takes 19 MiB and some 20 ms of a core."""
_MOST_WAITING: Final = 32
_RARELY: Final = timedelta(minutes=1)


class TokenStore(Protocol):
    """The part of the catalog that keeps tokens."""

    def token(self, id: str) -> tuple[Token, str] | None:
        """Find a token and the digest of its secret."""
        ...

    def note_token_use(self, id: str) -> None:
        """Remember that a token was used."""
        ...


def make_secret() -> tuple[str, str, str]:
    """Make a token.

    Returns
    -------
    tuple of str
        Its id, the token itself, and the digest to keep of it.
    """
    id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    return id, f"{PREFIX}{id}_{secret}", _HASHER.hash(secret)


def refused() -> PermissionDenied:
    """Make the one error of everybody who has not proved who he is: it does not tell unknown from wrong."""
    return PermissionDenied(
        "the bearer token is not accepted: it is unknown or wrong - check ALLUXIO_LANCE_TOKEN, or ask an admin for a "
        "new token (alluxio-lance token create)"
    )


class Tokens:
    """Tells right tokens from wrong ones. Threads may share it.

    Parameters
    ----------
    clock
        Seconds, monotonic.
    """

    def __init__(self, store: TokenStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()
        self._waiting = threading.Semaphore(_MOST_WAITING)
        self._hashing = threading.Semaphore(_AT_ONCE)
        _decoy()

    def verify(self, text: str) -> Token:
        """Return the token that a text is.

        Raises
        ------
        PermissionDenied
            When it is unknown or wrong, which nobody can tell apart, neither by the words nor by the time it takes;
            when it was right once, and has expired or was revoked.
        Unavailable
            When too many tokens are checked at this moment.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise refused()
        found = self._store.token(match[1])
        if not self._is_right(match[2], found[1] if found else _decoy()) or found is None:
            raise refused()
        token = found[0]
        now = datetime.now(UTC)
        if token.revoked_at is not None:
            raise _ended(token, "was revoked", token.revoked_at)
        if token.expires_at is not None and token.expires_at <= now:
            raise _ended(token, "expired", token.expires_at)
        if token.used_at is None or now - token.used_at >= _RARELY:
            self._store.note_token_use(token.id)
        return token

    def _is_right(self, secret: str, digest: str) -> bool:
        # The key is this process' own, so what is kept here tells nothing about the secret.
        mark = hashlib.blake2b(f"{digest}\n{secret}".encode(), key=self._key, digest_size=32).digest()
        now = self._clock()
        with self._lock:
            fresh = now - self._known.get(mark, float("-inf")) < _FRESH
        if fresh:
            return True
        if not self._matches(secret, digest):
            return False
        with self._lock:
            self._known[mark] = now
            self._known.move_to_end(mark)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return True

    def _matches(self, secret: str, digest: str) -> bool:
        """Hash, while not too many others do: a flood of wrong tokens must not take the node's memory."""
        if not self._waiting.acquire(blocking=False):
            raise Unavailable("too many new bearer tokens are checked at this moment - try again", what="sidecar")
        try:
            with self._hashing:
                return _HASHER.verify(digest, secret)
        except (VerificationError, InvalidHashError):
            return False
        finally:
            self._waiting.release()


@cache
def _decoy() -> str:
    """Return the digest that an unknown token is held against, so that it takes as long as a wrong one."""
    return _HASHER.hash(secrets.token_urlsafe(32))


def _ended(token: Token, how: str, when: datetime) -> PermissionDenied:
    return PermissionDenied(
        f"the bearer token {token.name} ({token.id}) {how} at {when:%Y-%m-%d %H:%M:%S} UTC - ask an admin for a new "
        "one (alluxio-lance token create)"
    )
