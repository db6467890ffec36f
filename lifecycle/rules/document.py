"""The grammar of the rules: what may stand in the TOML document, with its defaults. Explained in docs/rules.md."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.values import Verb

__all__ = [
    "ApprovalGate",
    "Automation",
    "CachePolicy",
    "CommandGate",
    "ComplianceGate",
    "ExpectationGate",
    "Gate",
    "Grant",
    "Hook",
    "Issuer",
    "Policy",
    "PythonGate",
    "RuleSet",
    "Scope",
    "Stage",
    "WebhookGate",
    "parse_rules",
]

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NAME = r"^[A-Za-z][A-Za-z0-9._-]{0,99}$"


def _read_duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match:
        raise ValueError("give a time with its unit: 30s, 10m, 12h, 30d or 2w")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


Duration = Annotated[timedelta, BeforeValidator(_read_duration)]
Name = Annotated[str, Field(pattern=_NAME)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scope(_Model):
    """Which resources something is about: patterns with ``*`` and ``?``, and labels that must all be there."""

    types: tuple[str, ...] = ("*",)
    names: tuple[str, ...] = ("*",)
    labels: dict[str, str] = {}

    def covers(self, type: str, name: str, labels: dict[str, str] | None = None) -> bool:
        """Tell whether a resource is meant."""
        have = labels or {}
        return (
            any(fnmatchcase(type, pattern) for pattern in self.types)
            and any(fnmatchcase(name, pattern) for pattern in self.names)
            and all(fnmatchcase(have.get(key, ""), wanted) and key in have for key, wanted in self.labels.items())
        )


# -- stages -----------------------------------------------------------------------------------------------------------


class Stage(_Model):
    """One stage of the graph."""

    to: tuple[Name, ...] = ()
    """The stages that follow: the edges that start here."""
    holders: Literal["one", "many"] = "many"
    activate: bool = False
    """Whoever takes the stage becomes the active version, and a rollback takes the stage with it."""
    displaced: Name | None = None
    """With one holder: the stage that the one before goes to; by default it has none afterwards."""


_DEFAULT_STAGES: Final[dict[str, Any]] = {
    "experiment": {"to": ["validation"]},
    "validation": {"to": ["production", "experiment"]},
    "production": {"to": ["archived"], "holders": "one", "activate": True, "displaced": "archived"},
    "archived": {"to": ["validation"]},
}


# -- gates ------------------------------------------------------------------------------------------------------------


class _Gate(Scope):
    name: Name
    on: tuple[str, ...]
    """Edges, ``validation -> production`` or ``* -> production``, and ``activate``."""

    def guards(self, origin: str, to: str) -> bool:
        """Tell whether the gate stands on an edge; ``to`` is ``active`` for an activation."""
        for edge in self.on:
            if edge == "activate":
                if to == "active":
                    return True
                continue
            before, _, after = (part.strip() for part in edge.partition("->"))
            if to != "active" and fnmatchcase(origin, before) and fnmatchcase(to, after):
                return True
        return False


class ExpectationGate(_Gate):
    """Expressions that must all be true."""

    kind: Literal["expectation"]
    require: Annotated[tuple[str, ...], Field(min_length=1)]


class PythonGate(_Gate):
    """A function, installed beside alluxio-lance as an entry point of the group ``alluxio_lance.gates``."""

    kind: Literal["python"]
    function: str
    options: dict[str, Any] = {}
    timeout: Duration = timedelta(minutes=5)


class CommandGate(_Gate):
    """A program that gets the promotion as JSON on its standard input; exit code 0 passes."""

    kind: Literal["command"]
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    user: str | None = None
    """The user it runs as; by default ``nobody`` where the server runs as root, else the server's own."""
    timeout: Duration = timedelta(minutes=5)
    memory: str = "1GiB"
    environment: dict[str, str] = {}


class WebhookGate(_Gate):
    """A service that gets the promotion as JSON and answers ``{"passed": true, "summary": "…"}``."""

    kind: Literal["webhook"]
    url: str
    secret_env: str | None = None
    """The variable in the server's environment with the key of the HMAC-SHA256 signature."""
    timeout: Duration = timedelta(seconds=10)
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    allow_private: bool = False
    """Let the address be one of a private network; by default only public ones are asked."""


class ApprovalGate(_Gate):
    """People who must say yes."""

    kind: Literal["approval"]
    role: Name = "releaser"
    approvals: Annotated[int, Field(ge=1, le=20)] = 1
    allow_self: bool = False
    """Whether who asked for the promotion may approve it."""


class ComplianceGate(_Gate):
    """The built-in scan."""

    kind: Literal["compliance"]
    licence: bool = True
    """Metadata must have ``license`` (or ``licence``)."""
    licences: tuple[str, ...] = ()
    """Only these, as SPDX identifiers."""
    pii: bool = True
    """String columns must not look like they hold e-mail addresses, phone, card or social security numbers."""
    pii_allow: tuple[str, ...] = ()
    """Columns that may."""
    sample_rows: Annotated[int, Field(ge=1)] = 10_000
    compatible_schema: bool = True
    """Whoever reads the version that the new one displaces can read the new one."""


Gate = Annotated[
    ExpectationGate | PythonGate | CommandGate | WebhookGate | ApprovalGate | ComplianceGate,
    Field(discriminator="kind"),
]


# -- what happens by itself -------------------------------------------------------------------------------------------


class Hook(Scope):
    """Somebody who is told before or after a verb, and cannot stop it."""

    name: Name
    when: Literal["before", "after"] = "after"
    verbs: tuple[Verb, ...] = ()
    """Empty: all."""
    kind: Literal["webhook", "command", "python"]
    url: str | None = None
    secret_env: str | None = None
    allow_private: bool = False
    command: tuple[str, ...] = ()
    function: str | None = None
    timeout: Duration = timedelta(seconds=10)
    retries: Annotated[int, Field(ge=0, le=10)] = 3

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"webhook": self.url, "command": self.command, "python": self.function}[self.kind]
        if not needed:
            missing = {"webhook": "url", "command": "command", "python": "function"}[self.kind]
            raise ValueError(f"a hook of kind {self.kind} needs {missing}")
        return self


class Automation(Scope):
    """Something that the system does by itself."""

    name: Name
    on: Literal["version", "metrics", "alert"]
    """A new version came in; metrics were attached; an alert fired."""
    when: str | None = None
    """An expression, as in expectations, over ``metadata``, ``metrics``, ``current``, ``alert``; none: always."""
    do: Literal["promote", "rollback"]
    to: Name | None = None
    """The stage of a promotion; its gates decide."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.do == "promote") is not (self.to is not None):
            raise ValueError("do = 'promote' and to = 'STAGE' go together")
        return self


# -- policies ---------------------------------------------------------------------------------------------------------


class Policy(Scope):
    """How long versions stay. The first policy that covers a resource governs it."""

    name: Name
    archive_after: Duration | None = None
    """Versions that nobody has read for so long go to the cold tier; never the active one."""
    delete_after: Duration | None = None
    """Versions that nobody has read for so long are deleted, archived ones too."""
    keep_last: Annotated[int, Field(ge=1)] | None = None
    """Older versions than the newest so many of a line are deleted."""
    states: tuple[Literal["registered", "deprecated", "archived"], ...] = ("registered", "deprecated", "archived")
    """Only versions in these states."""


class CachePolicy(Scope):
    """What the cache of Alluxio does for active versions. The first policy that covers a resource governs it."""

    name: Name
    load: Literal["active", "none"] = "active"
    """Load active versions into the cache before a node's readers get them, or let reads bring them in."""
    pin: bool = False
    """Keep active versions from being evicted."""


# -- roles ------------------------------------------------------------------------------------------------------------


class Grant(Scope):
    """What a role may do, and to what."""

    verbs: tuple[Verb | Literal["*"], ...]
    stages: tuple[str, ...] = ("*",)
    """Patterns of the stages that a promotion may lead to."""
    tags: tuple[str, ...] = ("*",)
    """Patterns of the tags that may be set, moved or removed; protected ones must be matched by more than ``*``."""


class Role(_Model):
    """A name for grants."""

    grants: tuple[Grant, ...] = ()
    inherits: tuple[Name, ...] = ()


class Issuer(_Model):
    """Who vouches for people from outside: an OpenID Connect provider."""

    issuer: str
    audience: str
    jwks: str | None = None
    """Where its keys are; by default what ``issuer``/.well-known/openid-configuration says."""
    name_claim: str = "email"
    roles_claim: str = "groups"
    roles: dict[str, tuple[Name, ...]] = {}
    """From the values of the claim to roles."""


class Access(_Model):
    """Who has which roles."""

    users: dict[str, tuple[Name, ...]] = {}
    """By the name of the node's user, for callers on its socket. The server's own user and root are admins."""
    default: tuple[Name, ...] = ("viewer",)
    """The roles of other users of the node."""
    issuers: tuple[Issuer, ...] = ()


class Tags(_Model):
    """What is special about some tags."""

    protected: tuple[str, ...] = ()
    """Patterns of tags that only a grant which names them may set, move or remove."""


class Deletion(_Model):
    """How deletion works."""

    grace: Duration = timedelta(days=7)
    """How long what was deleted can be undeleted."""


class RuleSet(_Model):
    """The whole document."""

    initial_stage: Name = "experiment"
    """The stage that a version counts as, as long as it was never promoted."""
    stages: dict[Name, Stage] = Field(default_factory=lambda: {k: Stage(**v) for k, v in _DEFAULT_STAGES.items()})
    gates: tuple[Gate, ...] = ()
    hooks: tuple[Hook, ...] = ()
    automations: tuple[Automation, ...] = ()
    policies: tuple[Policy, ...] = ()
    cache: tuple[CachePolicy, ...] = ()
    roles: dict[Name, Role] = {}
    access: Access = Access()
    tags: Tags = Tags()
    deletion: Deletion = Deletion()


def parse_rules(text: str) -> RuleSet:
    """Read a document by its types alone; the empty one means the defaults.

    Raises
    ------
    InvalidArgument
        With the place of every fault: ``gates[2].require``.
    """
    try:
        return RuleSet.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"the rules are no TOML: {error}") from None
    except ValidationError as error:
        faults = [f"{_place(each['loc'])}: {_fault(each)}" for each in error.errors()]
        raise InvalidArgument("the rules have faults:\n  " + "\n  ".join(faults), faults=faults) from None


def _fault(found: ErrorDetails) -> str:
    """Say a fault in the words of who writes the document, where pydantic's are those of who wrote this file."""
    match found["type"]:
        case "extra_forbidden":
            return "there is no such key"
        case "missing":
            return "this key must be there"
        case "union_tag_invalid":
            context = found["ctx"]
            return f"there is no kind {context['tag']!r}: it may be {context['expected_tags']}"
        case "union_tag_not_found":
            return "it must say its kind"
    return found["msg"].removeprefix("Value error, ")


def _place(path: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
