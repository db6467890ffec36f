"""What the system does by itself: on new versions, on metrics, on alerts; once for each cause, and never in a loop."""

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import InvalidArgument, InvalidURI, PermissionDenied
from alluxio_lance.governance import Identity, PromotionState
from alluxio_lance.lifecycle.automation import read_alerts
from alluxio_lance.values import State, Verb

ON_VERSION = '[[automations]]\nname = "up"\non = "version"\ndo = "promote"\nto = "validation"\n'
ON_METRICS = '[[automations]]\nname = "good"\non = "metrics"\nwhen = "metrics.accuracy >= 0.9"\ndo = "promote"\nto = "validation"\n'
BACK = '[[automations]]\nname = "bad"\non = "metrics"\nwhen = "metrics.errors > 10"\ndo = "rollback"\n'
ON_ALERT = (
    '[[automations]]\nname = "alarm"\non = "alert"\nnames = ["a*"]\n'
    'when = "alert.labels.severity == \'critical\'"\ndo = "rollback"\n'
)
GATE = '[[gates]]\nname = "g"\non = ["* -> validation"]\nkind = "expectation"\nrequire = ["version.num_rows > 100"]\n'


@pytest.fixture
def manager(tmp_path):
    """Open a manager with a resource of three versions, the last one active."""
    with al.ResourceManager.embedded(tmp_path / "root") as opened:
        opened.register_resource("datasets", "a", pa.table({"x": [1]}))
        for number in range(2):
            opened.update_resource("datasets", "a", pa.table({"x": [number]}))
        yield opened


def update(manager, **options):
    """Bring a version in."""
    return manager.update_resource("datasets", "a", pa.table({"x": [7]}), **options)


def measure(manager, version="1.2.0", **metrics):
    """Measure a version."""
    return manager.measure_resource("datasets", "a", version, metrics)


def verbs(manager):
    """Return what was done by automations."""
    return [(e.verb, e.semver) for e in manager.history("datasets", "a") if e.actor.startswith("automation:")]


def active(manager):
    """Return the active version."""
    return manager.find_version("datasets", "a").semver


def fire(manager, *, resource="datasets/a", status="firing", severity="critical", starts="2026-01-01T00:00:00Z"):
    """Send what Alertmanager sends."""
    alert = {
        "status": status,
        "labels": {"alertname": "Errors", "resource": resource, "severity": severity},
        "annotations": {"summary": "too many"},
        "startsAt": starts,
        "fingerprint": "abc",
    }
    return manager.alert({"version": "4", "status": status, "alerts": [alert]})


def test_on_version(manager):
    """A new version is promoted, and comes back to the caller with its stage."""
    manager.set_rules(ON_VERSION)
    assert update(manager).stage == "validation"
    assert manager.register_resource("datasets", "b", pa.table({"x": [1]})).stage == "validation"
    assert verbs(manager) == [(Verb.PROMOTE, "1.3.0")]
    assert manager.list_promotions("datasets", "a")[0].reason == "automation up (version)"


def test_denied_is_recorded_and_not_raised(manager):
    """A promotion that a gate denies is kept with its report, and the update is done all the same, also when repeated."""
    manager.set_rules(ON_VERSION + GATE)
    for _ in range(2):
        made = update(manager, request_id="r")
        assert (made.semver, made.stage, made.state) == ("1.3.0", None, State.ACTIVE)
    assert [each.state for each in manager.list_promotions()] == [PromotionState.DENIED]


def test_who_brought_it_in_cannot_approve_it(manager):
    """An automatic promotion counts as asked for by who made the version."""
    manager.set_rules(ON_VERSION + '[[gates]]\nname = "g"\non = ["* -> validation"]\nkind = "approval"\n')
    update(manager)
    waiting = manager.list_promotions()[0]
    with pytest.raises(PermissionDenied, match="himself"):
        manager.approve_promotion(waiting.id)
    bob = manager.acting_as(Identity(actor="bob", roles=("releaser",), method="peer"))
    assert bob.approve_promotion(waiting.id).state is PromotionState.DONE


def test_on_metrics(manager):
    """A version is promoted when it is measured well enough; a metric that is missing is no yes."""
    manager.set_rules(ON_METRICS)
    assert measure(manager, loss=1).stage is None
    assert measure(manager, accuracy=0.8).stage is None
    assert measure(manager, accuracy=0.95).stage == "validation"
    assert verbs(manager) == [(Verb.PROMOTE, "1.2.0")]
    measure(manager, accuracy=0.96)
    assert len(verbs(manager)) == 1  # it is there already


def test_rolls_back_on_metrics(manager):
    """Bad measurements of the active version lead back, step by step; those of another one change nothing."""
    manager.set_rules(BACK)
    measure(manager, "1.0.0", errors=50)
    assert active(manager) == "1.2.0"
    measure(manager, errors=50)
    assert active(manager) == "1.1.0"
    measure(manager, "1.1.0", errors=60)
    assert active(manager) == "1.0.0"
    measure(manager, "1.0.0", errors=70)
    assert active(manager) == "1.0.0"  # nothing is below, and what was left is never gone back to
    assert verbs(manager) == [(Verb.ROLLBACK, "1.1.0"), (Verb.ROLLBACK, "1.0.0")]


def test_relative_automation(manager):
    """`current` is there in conditions too."""
    manager.set_rules(ON_METRICS.replace("metrics.accuracy >= 0.9", "metrics.accuracy > current.metrics.accuracy"))
    measure(manager, accuracy=0.5)
    assert measure(manager, "1.0.0", accuracy=0.4).stage is None
    assert measure(manager, "1.0.0", accuracy=0.6).stage == "validation"


def test_no_edge_is_no_error(manager):
    """An automation that cannot do what it says is logged, and the cause stands."""
    manager.set_rules(ON_METRICS.replace('to = "validation"', 'to = "production"'))
    assert measure(manager, accuracy=1).metrics == {"accuracy": 1}
    assert verbs(manager) == []


def test_alert_rolls_back_once(manager):
    """An alert that fires rolls back once, however often it is delivered; when it fires anew, further back."""
    manager.set_rules(ON_ALERT)
    events = fire(manager)
    assert [(e.verb, e.before[:5], e.after[:5], e.actor) for e in events] == [
        (Verb.ROLLBACK, "1.2.0", "1.1.0", "automation:alarm")
    ]
    for _ in range(3):
        assert fire(manager) == []
    assert active(manager) == "1.1.0"
    assert len(fire(manager, starts="2026-01-02T00:00:00Z")) == 1
    assert active(manager) == "1.0.0"
    assert fire(manager, starts="2026-01-03T00:00:00Z") == []
    assert active(manager) == "1.0.0"


def test_alerts_that_do_nothing(manager):
    """Alerts that are resolved, are of no concern, or are about nothing do nothing."""
    manager.set_rules(ON_ALERT)
    assert fire(manager, status="resolved") == []
    assert fire(manager, severity="warning") == []
    assert fire(manager, resource="datasets/missing") == []
    manager.register_resource("datasets", "b", pa.table({"x": [1]}))
    assert fire(manager, resource="alluxio://datasets/b") == []
    assert active(manager) == "1.2.0"


def test_alert_needs_the_right_to_roll_back(manager):
    """Who may not roll back may not have it done by an alert."""
    manager.set_rules(ON_ALERT)
    viewer = manager.acting_as(Identity(actor="vic", roles=("viewer",), method="token"))
    with pytest.raises(PermissionDenied):
        fire(viewer)
    assert active(manager) == "1.2.0"


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, InvalidArgument),
        ({"alerts": {}}, InvalidArgument),
        ({"alerts": [1]}, InvalidArgument),
        ({"alerts": [{"status": "firing", "labels": {"resource": "a"}}]}, InvalidURI),
        ({"alerts": [{"status": "firing", "labels": {"resource": "alluxio:///a/b"}}]}, InvalidURI),
    ],
)
def test_no_alert(document, error):
    """What is no alert is refused."""
    with pytest.raises(error):
        read_alerts(document)


def test_alerts_without_a_resource():
    """Alerts about something else are left out; one without a fingerprint is known by its labels."""
    firing = {"status": "firing", "labels": {"resource": "datasets/a"}, "annotations": None}
    alerts = read_alerts({"alerts": [{"status": "firing"}, {"status": "firing", "labels": {}}, firing]})
    assert [(each.type, each.name, each.key) for each in alerts] == [("datasets", "a", '{"resource": "datasets/a"}:')]


def test_labels_and_patterns(manager):
    """An automation is about the resources that its scope covers."""
    manager.set_rules(ON_VERSION + 'labels = {team = "vision"}\n')
    assert update(manager).stage is None
    manager.label_resource("datasets", "a", {"team": "vision"})
    assert update(manager).stage == "validation"


def test_no_loop(manager):
    """All automations at once end: what they do is no cause of any."""
    manager.set_rules(ON_VERSION + ON_METRICS + BACK + ON_ALERT)
    update(manager)
    measure(manager, "1.3.0", accuracy=1, errors=99)
    fire(manager)
    assert verbs(manager) == [(Verb.PROMOTE, "1.3.0"), (Verb.ROLLBACK, "1.2.0"), (Verb.ROLLBACK, "1.1.0")]
