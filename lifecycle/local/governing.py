"""Governing: rules, tokens, who is who, and mending."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.governance import Identity, Rules, Token
from alluxio_lance.lifecycle.access.lockout import check_lockout
from alluxio_lance.lifecycle.access.tokens import make_secret
from alluxio_lance.lifecycle.access.urls import check_issuers
from alluxio_lance.lifecycle.local.base import Base
from alluxio_lance.lifecycle.ports import Note
from alluxio_lance.lifecycle.rules import read_rules
from alluxio_lance.values import Finding, Verb

__all__ = ["Governing"]

_TOKEN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", re.ASCII)
_LONGEST_LIFETIME: Final = timedelta(days=3660)


class Governing(Base):
    """Rules, tokens, who is who, reconcile."""

    def allow(self, verb: Verb, type: str = "", name: str = "") -> None:
        """Refuse what the caller's roles do not grant, for what is done to resources outside of the manager.

        Raises
        ------
        PermissionDenied
            Naming who asked for what, his roles, and which roles grant it. The refusal is audited.
        """
        self._allow(verb, type, name)

    def may(self, verb: Verb, type: str = "", name: str = "") -> bool:
        """Tell whether `allow` would pass. Nothing is audited."""
        return self._rooms.access.may(self._identity, verb, type, name)

    # -- rules ---------------------------------------------------------------------------------------------------------

    def rules(self) -> Rules:
        self._allow(Verb.READ)
        return self.catalog.rules()

    def set_rules(self, text: str, *, revision: int | None = None, message: str = "") -> Rules:
        self._allow(Verb.CONFIGURE)
        rules = read_rules(text)
        check_issuers(rules)
        check_lockout(rules, self._identity)
        with self._announced(Verb.CONFIGURE, message):
            return self.catalog.set_rules(text, revision=revision, note=self._note(message))

    # -- who is who ----------------------------------------------------------------------------------------------------

    def whoami(self) -> Identity:
        return self._identity

    def issue_token(
        self, name: str, roles: Sequence[str], *, lifetime: timedelta | None = None, message: str = ""
    ) -> tuple[Token, str]:
        self._allow(Verb.ISSUE_TOKEN)
        if not _TOKEN_NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name[:100]!r} is no name of a token: give at most 100 letters, digits, dots, hyphens, underscores or "
                "@, a letter or digit first"
            )
        wanted = self._roles(roles)
        now = datetime.now(UTC)
        id, secret, digest = make_secret()
        token = Token(
            id=id,
            name=name,
            roles=wanted,
            created_by=self._identity.actor,
            created_at=now,
            expires_at=None if lifetime is None else now + _checked(lifetime),
        )
        with self._announced(Verb.ISSUE_TOKEN, message):
            self.catalog.add_token(token, digest, self._note(message))
        return token, secret

    def list_tokens(self) -> list[Token]:
        tokens = self.catalog.tokens()
        if self._rooms.access.may(self._identity, Verb.REVOKE_TOKEN):
            return tokens
        return [token for token in tokens if self._is_own(token)]

    def revoke_token(self, id: str, *, message: str = "") -> Token:
        found = self.catalog.token(id)
        if found is None or not self._is_own(found[0]):
            self._allow(Verb.REVOKE_TOKEN)
        with self._announced(Verb.REVOKE_TOKEN, message):
            return self.catalog.revoke_token(id, self._note(message))

    # -- mending -------------------------------------------------------------------------------------------------------

    def reconcile(self) -> list[Finding]:
        self._allow(Verb.RECONCILE)
        with self._announced(Verb.RECONCILE, ""):
            findings = self._rooms.reconciler.all()
        self._tell()
        return findings

    # -- below ---------------------------------------------------------------------------------------------------------

    def _roles(self, roles: Sequence[str]) -> tuple[str, ...]:
        """Check the roles of a token: nobody hands out what he has not got."""
        access, wanted = self._rooms.access, tuple(sorted({roles} if isinstance(roles, str) else set(roles)))
        known = access.roles()
        unknown = [role for role in wanted if role not in known]
        if unknown or not wanted:
            what = f"there is no role {unknown[0]!r}" if unknown else "a token needs a role"
            raise InvalidArgument(f"{what} - the roles are {', '.join(known)}", roles=known)
        for role in wanted:
            if not access.has_role(self._identity, role):
                access.refuse(
                    self._identity,
                    Verb.ISSUE_TOKEN,
                    "",
                    "",
                    f"may not hand out the role {role}, which he has not got himself - ask an admin for the token",
                    role=role,
                )
        return wanted

    def _is_own(self, token: Token) -> bool:
        # Several tokens may have the same name, so what one of them made is not known to be another's.
        return self._identity.method != "token" and token.created_by == self._identity.actor

    def _note(self, message: str) -> Note:
        return Note(actor=self._identity.actor, origin=self._identity.origin, message=message)

    @contextmanager
    def _announced(self, verb: Verb, message: str) -> Iterator[None]:
        """Tell the hooks before and after."""
        notifier, identity = self._rooms.notifier, self._identity
        notifier.before(verb, "", "", identity, message=message)
        try:
            yield
        except BaseException as error:
            notifier.after(verb, "", "", identity, message=message, semver=None, error=str(error))
            raise
        notifier.after(verb, "", "", identity, message=message, semver=None, error=None)


def _checked(lifetime: timedelta) -> timedelta:
    if not timedelta(0) < lifetime <= _LONGEST_LIFETIME:
        raise InvalidArgument(
            f"a token lives for more than no time and at most {_LONGEST_LIFETIME.days} days, not for {lifetime} - leave "
            "the lifetime out for a token that never expires"
        )
    return lifetime
