"""Who somebody is: the user of a process on this node, the bearer of a token, a person whom an issuer vouches for."""

from __future__ import annotations

from typing import Final

from alluxio_lance.errors import PermissionDenied
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.access.oidc import Issuers
from alluxio_lance.lifecycle.access.tokens import PREFIX, Tokens, TokenStore, refused
from alluxio_lance.lifecycle.access.users import roles_of
from alluxio_lance.lifecycle.rules import RulesBook, RuleSet

__all__ = ["Authenticator"]

_LONGEST_HEADER: Final = 16 << 10
_SCHEME: Final = "bearer"


class Authenticator:
    """Finds identities. Threads may share it.

    Parameters
    ----------
    store
        Where the tokens are.
    node
        The name of this node, part of the name of its users.
    issuers, tokens
        By default its own.
    """

    def __init__(
        self,
        store: TokenStore,
        book: RulesBook,
        *,
        node: str,
        issuers: Issuers | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._book = book
        self._node = node
        self._issuers = issuers or Issuers()
        self._tokens = tokens or Tokens(store)

    def user(self, user: str, uid: int, pid: int, *, rules: RuleSet | None = None) -> Identity:
        """Return who a process of this node is.

        Parameters
        ----------
        rules
            The rules of this moment, if the caller has just read them.
        """
        return Identity(
            actor=f"{user}@{self._node}",
            roles=roles_of(user, uid, rules or self._book.current()),
            method="peer",
            origin=f"unix:pid={pid}",
        )

    def bearer(self, header: str, origin: str) -> Identity:
        """Return who sends an authorization header: ``Bearer TOKEN``.

        Raises
        ------
        PermissionDenied
            When the token is not accepted.
        Unavailable
            When its issuer cannot be asked.
        """
        text = _token_in(header)
        if text.startswith(PREFIX):
            token = self._tokens.verify(text)
            return Identity(actor=f"token:{token.name}", roles=token.roles, method="token", origin=origin)
        name, roles = self._issuers.verify(text, self._book.current())
        return Identity(actor=f"oidc:{name}", roles=roles, method="oidc", origin=origin)


def _token_in(header: str) -> str:
    scheme, _, text = header.strip().partition(" ")
    text = text.strip()
    if scheme.lower() != _SCHEME or not text:
        raise PermissionDenied(
            "the entry authorization is not of the form 'Bearer TOKEN' - send the token in that form, or none"
        )
    if len(header) > _LONGEST_HEADER or not text.isascii() or any(letter.isspace() for letter in text):
        raise refused()
    return text
