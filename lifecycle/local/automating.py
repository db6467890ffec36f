"""Measuring and alerts, and what the rules let follow from them and from new versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import structlog

from alluxio_lance.errors import AlluxioLanceError, NotActive, NotFound, PolicyDenied
from alluxio_lance.lifecycle.automation import Alert, Cause, Deed, read_alerts
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.pointing import PointingVerbs
from alluxio_lance.lifecycle.local.stages import StageVerbs
from alluxio_lance.lifecycle.naming import check_metrics
from alluxio_lance.lifecycle.uri import ResourceName, parse_name, parse_selector
from alluxio_lance.values import Event, Verb, Version

__all__ = ["Automating"]

_log = structlog.get_logger(__name__)

_CAUSES: Final[Mapping[Verb, Cause]] = {
    Verb.REGISTER: "version",
    Verb.UPDATE: "version",
    Verb.MERGE: "version",
    Verb.MEASURE: "metrics",
}
"""From which verbs automations follow. Never from what an automation does: promote and roll back."""


class Automating(StageVerbs, PointingVerbs):
    """Measure, alert, and what follows by itself."""

    def measure_resource(
        self,
        type: str,
        name: str,
        version: str,
        metrics: Mapping[str, Any],
        *,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        parse_name(type, name)
        parse_selector(version)
        checked = check_metrics(metrics)
        params = {"version": version, "metrics": checked, "message": message}

        def work(running: Running) -> Version:
            return self._rooms.namer.measure(running, version, checked, message)

        return self._version(self._run(Verb.MEASURE, type, name, params, request_id, work, locked=False))

    def alert(self, alert: Mapping[str, Any]) -> list[Event]:
        fired = read_alerts(alert)
        for one in fired:
            self._allow(Verb.ROLLBACK, one.type, one.name)
        seen = self.catalog.last_event()
        for one in fired:
            self._on_alert(one)
        names = {(one.type, one.name) for one in fired}
        events = [
            event for type, name in sorted(names) for event in self.catalog.events(after=seen, type=type, name=name)
        ]
        return [event for event in events if event.actor.startswith("automation:")]

    def _on_alert(self, alert: Alert) -> None:
        try:
            version = self.catalog.find(ResourceName(alert.type, alert.name))
        except (NotFound, NotActive) as error:
            _log.warning("an alert is about nothing that is active", alert=alert.key, reason=error.message)
            return
        self._automate("alert", version, alert)

    # -- what follows --------------------------------------------------------------------------------------------------

    def _follow_up(self, verb: Verb, version: Version | None) -> Version | None:
        if version is None or verb not in _CAUSES or not self._automate(_CAUSES[verb], version):
            return version
        return self.catalog.find(ResourceName(version.type, version.name, parse_selector(version.semver)))

    def _automate(self, cause: Cause, version: Version, alert: Alert | None = None) -> bool:
        """Do what the rules say; True when anything was done. That it could not be done is no error of the cause."""
        acted = False
        try:
            for deed in self._rooms.automator.deeds(cause, version, alert):
                acted = self._do(deed) or acted
        except AlluxioLanceError as error:
            _log.warning("automations could not be looked up", cause=cause, reason=error.message)
        return acted

    def _do(self, deed: Deed) -> bool:
        try:
            return self._promote_for(deed) if deed.automation.do == "promote" else self._roll_back_for(deed)
        except PolicyDenied as denied:
            # The promotion and its report are kept, and shown where all are.
            _log.info("an automatic promotion was denied", automation=deed.automation.name, reason=denied.message)
        except AlluxioLanceError as error:
            _log.warning("an automation failed", automation=deed.automation.name, reason=error.message)
        return False

    def _promote_for(self, deed: Deed) -> bool:
        version, to = deed.version, deed.automation.to
        assert to is not None
        if self._is_known(deed.key):
            return False
        self.acting_as(deed.identity)._promote(  # noqa: SLF001 - a view of this very manager
            version.type,
            version.name,
            version.semver,
            to,
            deed.reason,
            f"automation:{deed.key}",
            # Who made or measured the version stands for it: he cannot approve it himself.
            requested_by=self._identity.actor,
            id=deed.key,
        )
        return True

    def _is_known(self, promotion: str) -> bool:
        try:
            self.catalog.promotion(promotion)
        except NotFound:
            return False
        return True

    def _roll_back_for(self, deed: Deed) -> bool:
        version = deed.version
        target = self._rooms.pointer.before(version.type, version.name)
        if target is None:
            _log.warning("there is no version to roll back to", automation=deed.automation.name, version=version.semver)
            return False
        self.acting_as(deed.identity).rollback_resource(
            version.type,
            version.name,
            target.semver,
            message=deed.reason,
            request_id=f"automation:{deed.key}",
        )
        return True
