"""What types cannot say about the rules: that names mean something, expressions compile, patterns can match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from alluxio_lance.errors import InvalidURI
from alluxio_lance.governance import ACTIVATION
from alluxio_lance.lifecycle.rules.addresses import check_url
from alluxio_lance.lifecycle.rules.document import (
    ApprovalGate,
    Automation,
    CommandGate,
    ComplianceGate,
    ExpectationGate,
    Gate,
    Hook,
    PythonGate,
    RuleSet,
    Scope,
    WebhookGate,
)
from alluxio_lance.lifecycle.rules.expressions import Expression, Faulty
from alluxio_lance.lifecycle.rules.shadowing import shadowed
from alluxio_lance.lifecycle.uri import Label, parse_selector
from alluxio_lance.sizes import read_size

__all__ = ["ACTIVATE_EDGE", "ALERT_NAMES", "BUILT_IN_ROLES", "GATE_NAMES", "faults_of"]

BUILT_IN_ROLES: Final = frozenset({"viewer", "developer", "releaser", "admin"})
_LEAST_MEMORY: Final = 1 << 20
_MOST_MEMORY: Final = 1 << 50
ACTIVATE_EDGE: Final = "activate"
"""How a gate's ``on`` names the move of the pointer."""
GATE_NAMES: Final = ("metadata", "metrics", "profile", "version", "current")
"""What an expectation may read."""
ALERT_NAMES: Final = ("metadata", "metrics", "version", "current", "alert")
"""What an automation may read; ``alert`` only where one fires it."""

_LONGEST_WAIT: Final = timedelta(days=1)
_RESOURCE_PATTERN: Final = re.compile(r"[A-Za-z0-9._/*?-]+")
_LABEL_PATTERN: Final = re.compile(r"[A-Za-z0-9._*?-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)

Fault = tuple[str, str]
"""Its place, and what is wrong there."""


def faults_of(rules: RuleSet) -> list[str]:
    """List every fault of a document whose types are right: ``gates[2].on[0]: no edge …``."""
    checks: tuple[Callable[[RuleSet], Iterator[Fault]], ...] = (
        _stages,
        _gates,
        _hooks,
        _automations,
        _policies,
        _cache,
        _roles,
        _access,
        _others,
    )
    return [f"{place}: {text}" for check in checks for place, text in check(rules)]


# -- stages -----------------------------------------------------------------------------------------------------------


def _stages(rules: RuleSet) -> Iterator[Fault]:
    known = rules.stages
    if rules.initial_stage not in known:
        yield "initial_stage", _unknown("stage", rules.initial_stage, known)
    for name, stage in known.items():
        place = f"stages.{name}"
        if name == ACTIVATION or not _is_label(name):
            yield place, f"a stage cannot be called {name!r}: a URI takes that for something else"
        yield from _twice(f"{place}.to", stage.to)
        for index, to in enumerate(stage.to):
            if to not in known:
                yield f"{place}.to[{index}]", _unknown("stage", to, known)
            elif to == name:
                yield f"{place}.to[{index}]", "an edge leads to another stage"
        if stage.displaced is not None:
            if stage.holders != "one":
                yield f"{place}.displaced", "nobody is displaced from a stage with many holders: say holders = 'one'"
            if stage.displaced not in known:
                yield f"{place}.displaced", _unknown("stage", stage.displaced, known)
            elif stage.displaced == name or known[stage.displaced].holders == "one":
                yield f"{place}.displaced", "who is displaced goes to another stage, one with many holders"


def _is_label(name: str) -> bool:
    try:
        return isinstance(parse_selector(name), Label)
    except InvalidURI:
        return False


# -- gates ------------------------------------------------------------------------------------------------------------


def _gates(rules: RuleSet) -> Iterator[Fault]:
    yield from _twice("gates", [gate.name for gate in rules.gates], of="name")
    for index, gate in enumerate(rules.gates):
        place = f"gates[{index}]"
        yield from _scope(place, gate)
        yield from _edges(f"{place}.on", gate, rules)
        yield from _CHECKS[type(gate)](place, gate, rules)


def _edges(place: str, gate: Gate, rules: RuleSet) -> Iterator[Fault]:
    if not gate.on:
        yield place, "name at least one edge, such as 'validation -> production', or 'activate'"
    edges = [(origin, to) for origin, stage in rules.stages.items() for to in stage.to]
    for index, edge in enumerate(gate.on):
        if edge == ACTIVATE_EDGE:
            continue
        before, arrow, after = (part.strip() for part in edge.partition("->"))
        at = f"{place}[{index}]"
        if not arrow or not before or not after:
            yield at, f"{edge!r} is no edge: write 'validation -> production', '* -> production' or 'activate'"
        elif not any(fnmatchcase(origin, before) and fnmatchcase(to, after) for origin, to in edges):
            yield at, f"no edge is like {edge!r}: there are {', '.join(f'{a} -> {b}' for a, b in edges) or 'none'}"


def _expectation(place: str, gate: ExpectationGate, _rules: RuleSet) -> Iterator[Fault]:
    for index, text in enumerate(gate.require):
        yield from _expression(f"{place}.require[{index}]", text, GATE_NAMES)


def _python(place: str, gate: PythonGate, _rules: RuleSet) -> Iterator[Fault]:
    yield from _timeout(place, gate.timeout)
    if not gate.function.strip():
        yield f"{place}.function", "name an entry point of the group alluxio_lance.gates"


def _command(place: str, gate: CommandGate, _rules: RuleSet) -> Iterator[Fault]:
    yield from _timeout(place, gate.timeout)
    yield from _program(f"{place}.command", gate.command)
    try:
        if not _LEAST_MEMORY <= read_size(gate.memory) <= _MOST_MEMORY:
            yield f"{place}.memory", "give a size with its unit, at least 1MiB: 512MiB, 2GiB"
    except ValueError as error:
        yield f"{place}.memory", str(error)
    for name in gate.environment:
        if not _VARIABLE.fullmatch(name):
            yield f"{place}.environment.{name}", "no name of a variable: letters, digits and _"


def _webhook(place: str, gate: WebhookGate, _rules: RuleSet) -> Iterator[Fault]:
    yield from _timeout(place, gate.timeout)
    yield from _url(place, gate.url, gate.secret_env, allow_private=gate.allow_private)


def _approval(place: str, gate: ApprovalGate, rules: RuleSet) -> Iterator[Fault]:
    yield from _known_roles(f"{place}.role", [gate.role], rules, single=True)


def _compliance(place: str, gate: ComplianceGate, _rules: RuleSet) -> Iterator[Fault]:
    if gate.licences and not gate.licence:
        yield f"{place}.licences", "says which licences are allowed, while licence = false asks for none"
    for index, licence in enumerate(gate.licences):
        if not licence.strip():
            yield f"{place}.licences[{index}]", "is empty"
    if not (gate.licence or gate.pii or gate.compatible_schema):
        yield place, "checks nothing: leave one of licence, pii, compatible_schema on"


_CHECKS: Final[dict[type[Any], Callable[[str, Any, RuleSet], Iterator[Fault]]]] = {
    ExpectationGate: _expectation,
    PythonGate: _python,
    CommandGate: _command,
    WebhookGate: _webhook,
    ApprovalGate: _approval,
    ComplianceGate: _compliance,
}


# -- what happens by itself -------------------------------------------------------------------------------------------


def _hooks(rules: RuleSet) -> Iterator[Fault]:
    yield from _twice("hooks", [hook.name for hook in rules.hooks], of="name")
    for index, hook in enumerate(rules.hooks):
        place = f"hooks[{index}]"
        yield from _scope(place, hook)
        yield from _timeout(place, hook.timeout)
        yield from _hook_kind(place, hook)


def _hook_kind(place: str, hook: Hook) -> Iterator[Fault]:
    given = {"webhook": hook.url, "command": hook.command, "python": hook.function}
    keys = {"webhook": "url", "command": "command", "python": "function"}
    for kind, value in given.items():
        if value and kind != hook.kind:
            yield f"{place}.{keys[kind]}", f"a hook of kind {hook.kind} has no {keys[kind]}"
    if hook.kind == "webhook" and hook.url:
        yield from _url(place, hook.url, hook.secret_env, allow_private=hook.allow_private)
    if hook.kind == "command":
        yield from _program(f"{place}.command", hook.command)


def _automations(rules: RuleSet) -> Iterator[Fault]:
    yield from _twice("automations", [each.name for each in rules.automations], of="name")
    for index, automation in enumerate(rules.automations):
        place = f"automations[{index}]"
        yield from _scope(place, automation)
        yield from _automation(place, automation, rules)


def _automation(place: str, automation: Automation, rules: RuleSet) -> Iterator[Fault]:
    if automation.to is not None and automation.to not in rules.stages:
        yield f"{place}.to", _unknown("stage", automation.to, rules.stages)
    if automation.when is not None:
        names = ALERT_NAMES if automation.on == "alert" else tuple(n for n in ALERT_NAMES if n != "alert")
        yield from _expression(f"{place}.when", automation.when, names)
    elif automation.do == "rollback" and automation.on != "alert":
        yield f"{place}.when", f"without a condition every new {automation.on} would be rolled back"


# -- policies, roles, access, the rest --------------------------------------------------------------------------------


def _policies(rules: RuleSet) -> Iterator[Fault]:
    yield from _twice("policies", [policy.name for policy in rules.policies], of="name")
    for index, policy in enumerate(rules.policies):
        place = f"policies[{index}]"
        yield from _scope(place, policy)
        for key in ("archive_after", "delete_after"):
            if getattr(policy, key) == timedelta(0):
                yield f"{place}.{key}", "no time at all: every version that may go would go at once"
        if not policy.states:
            yield f"{place}.states", "name at least one state, or leave it out"


def _cache(rules: RuleSet) -> Iterator[Fault]:
    policies = rules.cache
    yield from _twice("cache", [policy.name for policy in policies], of="name")
    for index, policy in enumerate(policies):
        yield from _scope(f"cache[{index}]", policy)
    for later, earlier in shadowed(policies):
        yield (
            f"cache[{later}]",
            f"governs nothing: {policies[earlier].name!r} covers all that it covers, and comes first",
        )


def _roles(rules: RuleSet) -> Iterator[Fault]:
    for name, role in rules.roles.items():
        place = f"roles.{name}"
        if name in BUILT_IN_ROLES:
            yield place, "is built in and means what it means: choose another name"
        yield from _known_roles(f"{place}.inherits", role.inherits, rules)
        if name in _ancestors(name, rules):
            yield f"{place}.inherits", "a role cannot inherit from itself, not even by way of others"
        for index, grant in enumerate(role.grants):
            at = f"{place}.grants[{index}]"
            yield from _scope(at, grant)
            if not grant.verbs:
                yield f"{at}.verbs", "name at least one verb, or '*'"
            yield from _patterns(f"{at}.tags", grant.tags, _LABEL_PATTERN)
            yield from _patterns(f"{at}.stages", grant.stages, _LABEL_PATTERN)
            for number, pattern in enumerate(grant.stages):
                if not any(fnmatchcase(stage, pattern) for stage in rules.stages):
                    yield f"{at}.stages[{number}]", _unknown("stage", pattern, rules.stages)


def _ancestors(name: str, rules: RuleSet) -> set[str]:
    found: set[str] = set()
    waiting = list(rules.roles[name].inherits)
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += rules.roles[each].inherits if each in rules.roles else ()
    return found


def _access(rules: RuleSet) -> Iterator[Fault]:
    for user, roles in rules.access.users.items():
        yield from _known_roles(f"access.users.{user}", roles, rules)
    yield from _known_roles("access.default", rules.access.default, rules)
    yield from _twice("access.issuers", [each.issuer for each in rules.access.issuers], of="issuer")
    for index, issuer in enumerate(rules.access.issuers):
        for value, roles in issuer.roles.items():
            yield from _known_roles(f"access.issuers[{index}].roles.{value}", roles, rules)


def _others(rules: RuleSet) -> Iterator[Fault]:
    yield from _patterns("tags.protected", rules.tags.protected, _LABEL_PATTERN, may_be_empty=True)


# -- shared -----------------------------------------------------------------------------------------------------------


def _scope(place: str, scope: Scope) -> Iterator[Fault]:
    yield from _patterns(f"{place}.types", scope.types, _RESOURCE_PATTERN)
    yield from _patterns(f"{place}.names", scope.names, _RESOURCE_PATTERN)


def _patterns(
    place: str, patterns: Sequence[str], allowed: re.Pattern[str], *, may_be_empty: bool = False
) -> Iterator[Fault]:
    if not patterns and not may_be_empty:
        yield place, "is empty, and matches nothing: leave it out to match all"
    for index, pattern in enumerate(patterns):
        if not allowed.fullmatch(pattern):
            yield (
                f"{place}[{index}]",
                f"{pattern!r} can match no name: letters, digits, . _ - and the wildcards * and ?",
            )


def _expression(place: str, text: str, names: Iterable[str]) -> Iterator[Fault]:
    try:
        Expression(text, names)
    except Faulty as fault:
        yield place, str(fault)


def _timeout(place: str, value: timedelta) -> Iterator[Fault]:
    if not timedelta(0) < value <= _LONGEST_WAIT:
        yield f"{place}.timeout", "give a time above zero, one day at most"


def _program(place: str, command: Sequence[str]) -> Iterator[Fault]:
    if command and not command[0].strip():
        yield f"{place}[0]", "name a program"
    for index, part in enumerate(command):
        if "\0" in part:
            yield f"{place}[{index}]", "holds a null character"


def _url(place: str, url: str, secret_env: str | None, *, allow_private: bool) -> Iterator[Fault]:
    try:
        check_url(url, allow_private=allow_private)
    except ValueError as error:
        yield f"{place}.url", str(error)
    if secret_env is not None and not _VARIABLE.fullmatch(secret_env):
        yield f"{place}.secret_env", "no name of a variable: letters, digits and _"


def _known_roles(place: str, roles: Sequence[str], rules: RuleSet, *, single: bool = False) -> Iterator[Fault]:
    known = sorted(BUILT_IN_ROLES | set(rules.roles))
    for index, role in enumerate(roles):
        if role not in known:
            yield place if single else f"{place}[{index}]", _unknown("role", role, known)


def _twice(place: str, names: Sequence[str], *, of: str = "") -> Iterator[Fault]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"{place}[{index}]" + (f".{of}" if of else ""), f"{name!r} is there already"


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"there is no {what} {name!r}: there are {', '.join(known)}"
