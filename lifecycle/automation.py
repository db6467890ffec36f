"""What the system does by itself: promote or roll back when a version comes in, is measured, or an alert fires.

Loops are impossible: automations follow from three things that people and programs do (bring a version in, measure one,
send an alert), and all that they do is to promote and to roll back, neither of which any automation follows from. Each acts
once on the same cause, by its request id; a rollback never leads to a version that an earlier rollback left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog

from alluxio_lance.errors import InvalidArgument, InvalidURI
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.gates.expectation import values_of
from alluxio_lance.lifecycle.moving import survey
from alluxio_lance.lifecycle.ports import Catalog
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.rules.checking import ALERT_NAMES
from alluxio_lance.lifecycle.rules.document import Automation
from alluxio_lance.lifecycle.rules.expressions import Expression, Faulty
from alluxio_lance.lifecycle.uri import ResourceName, parse_name, parse_uri
from alluxio_lance.values import State, Version

__all__ = ["Alert", "Automator", "Cause", "Deed", "read_alerts"]

_log = structlog.get_logger(__name__)

Cause = Literal["version", "metrics", "alert"]

_MOST: Final = 1000
"""Alerts in one delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert that fires."""

    type: str
    name: str
    key: str
    """Its fingerprint and when it began: the same one is delivered again and again."""
    values: Mapping[str, Any]
    """What an expression reads as ``alert``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What an automation wants done."""

    automation: Automation
    version: Version
    identity: Identity
    """The automation itself: an admin wrote it, and the gates decide."""
    key: str
    """32 hexadecimal digits that stand for the cause: what was done on it once is not done again."""
    reason: str


class Automator:
    """Finds out what is to be done, over the rules."""

    def __init__(self, catalog: Catalog, book: RulesBook) -> None:
        self._catalog = catalog
        self._book = book

    def deeds(self, cause: Cause, version: Version, alert: Alert | None = None) -> Iterator[Deed]:
        """Yield what the rules say about a cause; each is judged when it is its turn, after those before were done."""
        for automation in self._book.current().automations:
            if automation.on != cause:
                continue
            resource = self._catalog.resource(version.type, version.name)
            if resource is None or not automation.covers(version.type, version.name, dict(resource.labels)):
                continue
            now = self._again(version)
            if now is None or self._is_idle(automation, now, resource.active):
                continue
            if self._holds(automation, now, resource.active, alert):
                yield _deed(automation, now, alert)

    def _again(self, version: Version) -> Version | None:
        found = self._catalog.versions(version.type, version.name)
        return next(
            (each for each in found if each.operation == version.operation and each.semver == version.semver), None
        )

    @staticmethod
    def _is_idle(automation: Automation, version: Version, active: Version | None) -> bool:
        """Tell whether there is nothing to do: it stands there already, or is not what a rollback would leave."""
        if automation.do == "promote":
            return version.stage == automation.to
        return active is None or active.semver != version.semver or version.state is not State.ACTIVE

    def _holds(self, automation: Automation, version: Version, active: Version | None, alert: Alert | None) -> bool:
        if automation.when is None:
            return True
        try:
            values = values_of(version, self._current(automation, version, active))
            expression = Expression(automation.when, ALERT_NAMES)
            return expression.ask(values | ({"alert": alert.values} if alert else {})).holds
        except (Faulty, RecursionError) as fault:
            # A metric that is not there yet, for one: the next measurement brings it.
            _log.info("an automation could not be judged", automation=automation.name, reason=str(fault))
            return False

    def _current(self, automation: Automation, version: Version, active: Version | None) -> Version | None:
        if automation.to is None:
            return active if active is not None and active.semver != version.semver else None
        try:
            return survey(self._catalog, self._book.current(), version, automation.to).current
        except InvalidArgument:
            return None  # no edge leads there from where it is; the promotion says so


def _deed(automation: Automation, version: Version, alert: Alert | None) -> Deed:
    identity = Identity(
        actor=f"automation:{automation.name}", roles=("admin",), method="embedded", origin=f"automation:{automation.on}"
    )
    cause: list[Any] = [automation.name, automation.do, automation.to, version.type, version.name]
    if alert is not None:
        cause.append(alert.key)
    else:
        # The version by its operation too: a resource of the same name that comes later has the same numbers.
        cause += [version.operation, version.semver, dict(version.metrics) if automation.on == "metrics" else None]
    digest = hashlib.blake2b(json.dumps(cause, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
    said = f": {automation.when}" if automation.when else ""
    reason = f"automation {automation.name} ({automation.on}{said})"
    return Deed(automation=automation, version=version, identity=identity, key=digest, reason=reason)


def read_alerts(document: Mapping[str, Any]) -> list[Alert]:
    """Read what Alertmanager's webhook sends; alerts that do not fire, or name no resource, are left out.

    Raises
    ------
    InvalidArgument
        When it is no such document, or a resource's name is none.
    """
    alerts = document.get("alerts")
    if not isinstance(alerts, list) or len(alerts) > _MOST or not all(isinstance(each, Mapping) for each in alerts):
        raise InvalidArgument(
            f'this is no alert in the form of Alertmanager\'s webhook: a JSON object with a list "alerts" of {_MOST} objects at most'
        )
    return [alert for each in alerts if (alert := _read_alert(each)) is not None]


def _read_alert(alert: Mapping[str, Any]) -> Alert | None:
    labels = alert.get("labels")
    if alert.get("status") != "firing" or not isinstance(labels, Mapping) or "resource" not in labels:
        return None
    name = _resource(str(labels["resource"]))
    return Alert(
        type=name.type,
        name=name.name,
        key=f"{alert.get('fingerprint') or json.dumps(labels, sort_keys=True, default=str)}:{alert.get('startsAt', '')}",
        values={
            "status": "firing",
            "labels": dict(labels),
            "annotations": dict(_mapping(alert.get("annotations"))),
            "starts_at": str(alert.get("startsAt", "")),
        },
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _resource(text: str) -> ResourceName:
    if text.startswith("alluxio://"):
        found = parse_uri(text)
        if isinstance(found, ResourceName):
            return found
    else:
        type, slash, name = text.partition("/")
        if slash:
            return parse_name(type, name)
    raise InvalidURI(f"the label resource of an alert is {text!r}: give TYPE/NAME or alluxio://TYPE/NAME")
