"""Whether a grant covers what is asked for: verb, resource, stage, tag, labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from alluxio_lance.lifecycle.access.roles import ADMIN, grants_of, with_inherited
from alluxio_lance.lifecycle.rules.document import Grant, RuleSet
from alluxio_lance.values import Verb

__all__ = ["Question", "granted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody wants to do, and to what.

    An empty type or name means all of them: only a grant without limits covers that.
    """

    verb: Verb
    type: str = ""
    name: str = ""
    stage: str | None = None
    """The stage that a promotion leads to; None: not about one."""
    tag: str | None = None
    labels: Callable[[], Mapping[str, str]]
    """Asked only when a grant goes by labels and everything else fits."""


def granted(rules: RuleSet, roles: Iterable[str], question: Question) -> bool:
    """Tell whether one of some roles, or one that they inherit from, allows it."""
    roles = tuple(roles)
    # An admin needs no grant that names a protected tag.
    return ADMIN in with_inherited(rules, roles) or any(
        _covers(grant, question, rules) for grant in grants_of(rules, roles)
    )


def _covers(grant: Grant, question: Question, rules: RuleSet) -> bool:
    """Tell whether a grant allows it; the cheap conditions first."""
    return (
        ("*" in grant.verbs or question.verb in grant.verbs)
        and _any(grant.types, question.type)
        and _any(grant.names, question.name)
        and (question.stage is None or _any(grant.stages, question.stage))
        and (question.tag is None or _tag(grant.tags, question.tag, rules))
        and (not grant.labels or _labels(grant.labels, question.labels()))
    )


def _any(patterns: Iterable[str], text: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _tag(patterns: Iterable[str], tag: str, rules: RuleSet) -> bool:
    if _any(rules.tags.protected, tag):
        # `*` names no tag, and neither does `**` or `?*`.
        patterns = [pattern for pattern in patterns if pattern.strip("*?")]
    return _any(patterns, tag)


def _labels(wanted: Mapping[str, str], have: Mapping[str, str]) -> bool:
    return all(key in have and fnmatchcase(have[key], pattern) for key, pattern in wanted.items())
