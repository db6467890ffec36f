"""The one check that every verb on every face goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alluxio_lance.errors import PermissionDenied
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.access.granting import Question, granted
from alluxio_lance.lifecycle.access.roles import ADMIN, all_roles, with_inherited
from alluxio_lance.lifecycle.ports import Catalog, Denial
from alluxio_lance.lifecycle.rules import RulesBook, RuleSet
from alluxio_lance.values import Verb

__all__ = ["Access"]


class Access:
    """What roles grant, over the rules. Threads may share it."""

    def __init__(self, catalog: Catalog, book: RulesBook) -> None:
        self._catalog = catalog
        self._book = book

    def check(
        self,
        identity: Identity,
        verb: Verb,
        type: str,
        name: str,
        *,
        stage: str | None = None,
        tag: str | None = None,
        semver: str | None = None,
        request_id: str | None = None,
        rules: RuleSet | None = None,
    ) -> None:
        """Refuse what the roles do not grant, and write the audit row of the refusal.

        Parameters
        ----------
        type, name
            The resource; empty: all of the type, or all. Only a grant without limits covers that.
        stage
            The stage that a promotion leads to.
        tag
            The tag that is set, moved or removed.
        rules
            The rules of this moment, if the caller has just read them.

        Raises
        ------
        PermissionDenied
            Naming who asked for what, his roles, and which roles grant it.
        """
        rules = rules or self._book.current()
        question = Question(verb=verb, type=type, name=name, stage=stage, tag=tag, labels=self._labels(type, name))
        if granted(rules, identity.roles, question):
            return
        able = [role for role in sorted(all_roles(rules)) if granted(rules, (role,), question)]
        self.refuse(
            identity,
            verb,
            type,
            name,
            f"may not {_asked(question)} - {_may(able)}",
            semver=semver,
            request_id=request_id,
            stage=stage,
            tag=tag,
            allowed_roles=able,
        )

    def refuse(
        self,
        identity: Identity,
        verb: Verb,
        type: str,
        name: str,
        why: str,
        *,
        semver: str | None = None,
        request_id: str | None = None,
        **details: object,
    ) -> None:
        """Refuse a call: write the audit row, then raise.

        Parameters
        ----------
        why
            How the sentence goes on that begins with who he is.

        Raises
        ------
        PermissionDenied
            Always.
        """
        roles = f"with the role{'s' * (len(identity.roles) != 1)} {', '.join(identity.roles)}"
        sentence = f"{identity.actor} {roles if identity.roles else 'without a role'} {why}"
        self._catalog.deny(
            Denial(
                verb=verb,
                type=type,
                name=name,
                actor=identity.actor,
                message=sentence,
                origin=identity.origin,
                request_id=request_id,
                semver=semver,
            )
        )
        raise PermissionDenied(
            sentence,
            actor=identity.actor,
            roles=list(identity.roles),
            verb=str(verb),
            type=type,
            name=name,
            **{key: value for key, value in details.items() if value is not None},
        )

    def may(
        self,
        identity: Identity,
        verb: Verb,
        type: str = "",
        name: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        stage: str | None = None,
        tag: str | None = None,
        rules: RuleSet | None = None,
    ) -> bool:
        """Tell whether `check` would pass. Nothing is audited.

        Parameters
        ----------
        labels
            Those of the resource, if they are known already; None: they are looked up if a grant goes by them.
        rules
            The rules of this moment, if the caller has just read them.
        """
        found = self._labels(type, name) if labels is None else lambda: labels
        question = Question(verb=verb, type=type, name=name, stage=stage, tag=tag, labels=found)
        return granted(rules or self._book.current(), identity.roles, question)

    def has_role(self, identity: Identity, role: str) -> bool:
        """Tell whether somebody has a role, by himself or inherited; an admin has every one."""
        have = with_inherited(self._book.current(), identity.roles)
        return role in have or ADMIN in have

    def roles(self) -> list[str]:
        """List the roles that there are, sorted: the built-in ones and those of the rules."""
        return sorted(all_roles(self._book.current()))

    def deciding_labels(self) -> set[str]:
        """Return the labels by which the rules grant rights, ask gates, or let something happen by itself."""
        rules = self._book.current()
        scopes = (*(grant for role in rules.roles.values() for grant in role.grants), *rules.gates, *rules.automations)
        return {key for scope in scopes for key in scope.labels}

    def _labels(self, type: str, name: str) -> Callable[[], Mapping[str, str]]:
        """Look the labels of a resource up when they are asked for, and once."""
        found: list[Mapping[str, str]] = []

        def look() -> Mapping[str, str]:
            if not found:
                resource = None
                if type and name:
                    resource = self._catalog.resource(type, name) or self._catalog.resource(type, name, deleted=True)
                found.append(resource.labels if resource else {})
            return found[0]

        return look


def _asked(question: Question) -> str:
    """Say what was asked for: ``promote models/a to production``."""
    words = [str(question.verb)]
    if question.type or question.name:
        words.append(f"{question.type or '*'}/{question.name or '*'}")
    elif question.verb is Verb.READ:
        words.append("all resources")
    if question.stage is not None:
        words.append(f"to {question.stage}")
    if question.tag is not None:
        words.append(f"with the tag {question.tag}")
    return " ".join(words)


def _may(able: list[str]) -> str:
    if len(able) == 1:
        return f"the role {able[0]} may: ask somebody who has it"
    return f"the roles {', '.join(able[:-1])} and {able[-1]} may: ask somebody who has one of them"
