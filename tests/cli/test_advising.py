"""What the command says after a refusal, and how the commands that mend end."""

import json
from datetime import UTC, datetime

import pytest

from alluxio_lance.cli.advising import advised, next_steps
from alluxio_lance.cli.session import Session, console
from alluxio_lance.errors import PolicyDenied
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.upkeep import Action, Planned, PolicyPlan
from alluxio_lance.values import Finding, Verb

AGAIN = "promote datasets/x@1.1.0 production"


def result(verdict, kind="expectation"):
    """Make the report of a gate."""
    return {"gate": "g", "kind": kind, "verdict": verdict, "summary": ""}


@pytest.mark.parametrize(
    ("report", "promotion", "steps"),
    [
        ([], "c0ffee00" * 4, []),
        (
            [result("failed")],
            "c0ffee00" * 4,
            ["next: al measure datasets/x@1.1.0", f"then: al {AGAIN}", "all reports: al promotions datasets/x"],
        ),
        ([result("error", "webhook")], "", [f"then: al {AGAIN}"]),
        (
            [result("passed"), result("waiting", "approval")],
            "c0ffee00" * 4,
            ["next: al approve c0ffee00", "all reports: al promotions datasets/x"],
        ),
    ],
)
def test_the_next_command_fits_the_report(report, promotion, steps):
    """A measurement for an expectation, the same command once more, an approval for what waits."""
    found = next_steps({"report": report, "promotion": promotion}, "al", "datasets/x@1.1.0", AGAIN)
    assert len(found) == len(steps)
    for text, beginning in zip(found, steps, strict=True):
        assert text.startswith(beginning)


def expectation(*expressions, **details):
    """Make the report of a gate whose expressions had no answer."""
    wrong = [{"expression": "…", "holds": None, "error": error} for error in expressions]
    return result("error") | {"details": {"expressions": wrong, **details}}


def test_it_is_the_version_compared_with_that_must_be_measured():
    """When that one lacks the metric no measurement of the new one helps."""
    lacks = expectation("there is no current.metrics.accuracy; it saw …", current="1.0.0")
    found = next_steps({"report": [lacks]}, "al", "datasets/x@1.1.0", AGAIN)
    assert found == ["next: al measure datasets/x@1.0.0 NAME=VALUE, which the gate compares with", f"then: al {AGAIN}"]
    both = expectation("there is no current.metrics.a", "there is no metrics.b", current="1.0.0")
    found = next_steps({"report": [both]}, "al", "datasets/x@1.1.0", AGAIN)
    assert [step.split()[3] for step in found[:2]] == ["datasets/x@1.0.0", "datasets/x@1.1.0"]


def test_a_new_version_that_was_kept_aside_is_named():
    """`update` names none, and `measure datasets/x` would measure the active one."""
    details = {"report": [result("failed")], "version": "1.1.0"}
    found = next_steps(details, "al", "datasets/x", "activate datasets/x@VERSION")
    assert found[0].startswith("next: al measure datasets/x@1.1.0 NAME=VALUE")
    assert found[1] == "then: al activate datasets/x@1.1.0"


def test_a_refusal_without_gates_is_left_as_it_is(tmp_path):
    """Its sentence says what to do."""
    session = Session(None, tmp_path, console(), console(stderr=True))
    with pytest.raises(PolicyDenied) as caught, advised(session, "datasets/x", "archive datasets/x"):
        raise PolicyDenied("a branch begins there")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(("outcome", "code"), [("completed", 0), ("undone", 0), ("failed", 1)])
def test_reconcile_reports_what_it_did(embedded, monkeypatch, outcome, code):
    """A stand-in has found something; that it could not be mended is exit code 1."""
    finding = Finding(operation="a" * 32, verb=Verb.ARCHIVE, type="datasets", name="x", outcome=outcome, reason="why")
    monkeypatch.setattr(LocalManager, "reconcile", lambda _self: [finding])
    line = embedded("reconcile", code=code).stdout.splitlines()[-1]
    assert line.split() == ["aaaaaaaa", "archive", "datasets/x", outcome, "why"]
    record = json.loads(embedded("reconcile", "--json", code=code).stdout)
    assert record["findings"][0]["outcome"] == outcome


@pytest.mark.parametrize(
    ("blocked", "outcome", "code"), [(None, "done", 0), (None, "the disk is full", 1), ("a tag", "a tag", 0)]
)
def test_a_policy_that_fails_is_exit_code_1(embedded, monkeypatch, blocked, outcome, code):
    """A stand-in has run them; one that is blocked is no failure."""
    row = Planned(
        action=Action.DELETE,
        type="datasets",
        name="x",
        semver="1.0.0",
        policy="few",
        reason="old",
        frees_hot=0,
        frees_cold=0,
        adds_cold=0,
        blocked=blocked,
    )
    plan = PolicyPlan(at=datetime(2026, 5, 17, tzinfo=UTC), rows=(row,), outcome={0: outcome})
    monkeypatch.setattr(LocalManager, "run_policies", lambda *_part: plan)
    assert outcome in embedded("policy", "run", code=code).stdout
