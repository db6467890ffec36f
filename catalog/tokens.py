"""Bearer tokens: their records and the digests of their secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import tokens
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.trail import add_note
from alluxio_lance.catalog.transactions import AnyRow, Transaction, Transactions
from alluxio_lance.errors import AlreadyExists, NotFound
from alluxio_lance.governance import Token
from alluxio_lance.lifecycle.ports import Note
from alluxio_lance.values import Verb

__all__ = ["Tokens"]

_T = tokens.c
_RARELY: Final = timedelta(minutes=1)
"""Between two writes about the use of one token."""


class Tokens(Transactions):
    """The part of the catalog that keeps tokens."""

    def add_token(self, token: Token, digest: str, note: Note) -> None:
        """Keep a token and the digest of its secret, and write the audit row, with the token's id as after.

        Raises
        ------
        AlreadyExists
            When the id is taken.
        InvalidArgument
            When a text cannot be kept.
        """
        checked("the token's id", token.id, 32)
        checked("the token's name", token.name, LONGEST)
        checked("who makes the token", token.created_by, LONGEST)
        self._write(
            lambda tx: _add(tx, token, digest, note), in_doubt=lambda tx: _add_unless_known(tx, token, digest, note)
        )

    def token(self, id: str) -> tuple[Token, str] | None:
        """Find a token and the digest of its secret."""
        row = self._read(lambda tx: tx.one(sa.select(tokens).where(_T.id == id)))
        return None if row is None else (_to_token(row), row.digest)

    def tokens(self) -> list[Token]:
        """List all tokens, newest first."""
        query = sa.select(tokens).order_by(_T.created_at.desc(), _T.id)
        return [_to_token(row) for row in self._read(lambda tx: tx.all(query))]

    def revoke_token(self, id: str, note: Note) -> Token:
        """End a token and write the audit row, with the token's id as before; one that has ended stays as it is.

        Raises
        ------
        NotFound
            When there is no such token.
        """
        return self._write(lambda tx: _revoke(tx, id, note))

    def note_token_use(self, id: str) -> None:
        """Remember that a token was used; an unknown one is no error."""
        due = self._read(lambda tx: tx.value(sa.select(_T.id).where(_T.id == id, _due(tx))))
        if due is not None:
            self._write(lambda tx: tx.change(sa.update(tokens).where(_T.id == id, _due(tx)).values(used_at=tx.now)))


def _due(tx: Transaction) -> sa.ColumnElement[bool]:
    return sa.or_(_T.used_at.is_(None), _T.used_at <= tx.now - _RARELY)


def _add(tx: Transaction, token: Token, digest: str, note: Note) -> None:
    if tx.value(sa.select(_T.id).where(_T.id == token.id)) is not None:
        raise AlreadyExists(f"there is a token {token.id} already: make another one")
    row = {
        "id": token.id,
        "name": token.name,
        "roles": list(token.roles),
        "digest": digest,
        "created_by": token.created_by,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "used_at": token.used_at,
    }
    tx.run(sa.insert(tokens), row)
    add_note(tx, Verb.ISSUE_TOKEN, note, after=token.id)


def _add_unless_known(tx: Transaction, token: Token, digest: str, note: Note) -> None:
    """Add, unless the change whose answer was lost went through: no two tokens have the same digest."""
    if tx.value(sa.select(_T.digest).where(_T.id == token.id)) != digest:
        _add(tx, token, digest, note)


def _revoke(tx: Transaction, id: str, note: Note) -> Token:
    row = tx.one(sa.select(tokens).where(_T.id == id).with_for_update())
    if row is None:
        raise NotFound(f"there is no token {id!r}: see `alluxio-lance token list`")
    if row.revoked_at is None:
        tx.change(sa.update(tokens).where(_T.id == id).values(revoked_at=tx.now))
        add_note(tx, Verb.REVOKE_TOKEN, note, before=id)
        row = tx.one(sa.select(tokens).where(_T.id == id))
        assert row is not None
    return _to_token(row)


def _to_token(row: AnyRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        roles=tuple(row.roles),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
    )
