"""What a policy wants, and what stands in its way: pure decisions over plain versions."""

from datetime import UTC, datetime, timedelta

import pytest

from alluxio_lance.lifecycle.policies.due import governing, span, wishes
from alluxio_lance.lifecycle.policies.protection import Protection, holds_stage
from alluxio_lance.lifecycle.ports import Holder, Operation, OperationState, Owner
from alluxio_lance.lifecycle.rules import read_rules
from alluxio_lance.upkeep import Action
from alluxio_lance.values import Kind, Resource, State, Verb, Version

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def version(number, *, age=100, read=None, state=State.REGISTERED, branch="", **more):
    """Make a version that is so many days old, and was read so many days ago."""
    semver = f"1.{number}.0" if not branch else f"1.0.0-{branch}.{number}"
    return Version(
        type="datasets",
        name="a",
        semver=semver,
        version=number,
        branch=branch,
        content_hash="0" * 64,
        state=state,
        location="datasets/a.lance",
        num_rows=1,
        num_bytes=1,
        schema=b"",
        created_at=NOW - age * DAY,
        created_by="me",
        operation="0" * 32,
        read_at=None if read is None else NOW - read * DAY,
        **more,
    )


def policy(text):
    """Read one policy."""
    return read_rules(f"[[policies]]\nname = 'p'\n{text}").policies[0]


def wanted(text, versions, restored=None):
    """List what a policy wants, as text."""
    found = wishes(policy(text), versions, NOW, lambda _: restored)
    return [(wish.action.value, wish.version.semver) for wish in found]


@pytest.mark.parametrize(
    ("text", "made", "expected"),
    [
        ("archive_after = '30d'", {"read": 41}, "archive"),
        ("archive_after = '30d'", {"read": 29}, None),
        ("archive_after = '30d'", {"read": 30}, "archive"),
        ("archive_after = '30d'", {"age": 31}, "archive"),
        ("archive_after = '30d'", {"age": 29}, None),
        ("archive_after = '30d'", {"age": 100, "read": 1}, None),
        ("archive_after = '30d'", {"state": State.ACTIVE}, None),
        ("archive_after = '30d'", {"state": State.ARCHIVED}, None),
        ("archive_after = '30d'", {"state": State.DEPRECATED}, "archive"),
        ("archive_after = '30d'\nstates = ['deprecated']", {}, None),
        ("archive_after = '30d'", {"branch": "exp"}, None),
        ("delete_after = '30d'", {"state": State.ARCHIVED}, "delete"),
        ("delete_after = '30d'", {"state": State.ACTIVE}, None),
        ("delete_after = '30d'", {"branch": "exp"}, "delete"),
        ("delete_after = '30d'\narchive_after = '10d'", {}, "delete"),
        ("delete_after = '200d'\narchive_after = '10d'", {}, "archive"),
        ("", {}, None),
    ],
)
def test_a_policy_wants_what_nobody_has_read_for_long_enough(text, made, expected):
    """The last read counts, else the age; the active version is never wanted; a deletion comes before the cold tier."""
    one = version(1, **made)
    assert wanted(text, [one]) == ([] if expected is None else [(expected, one.semver)])


def test_the_newest_of_each_line_stay():
    """Each branch is a line of its own, and the active version counts among the newest wherever it stands."""
    main = [version(n, state=State.ACTIVE if n == 1 else State.REGISTERED) for n in (1, 2, 3, 4)]
    branch = [version(n, branch="exp") for n in (1, 2, 3)]
    assert wanted("keep_last = 2", [*main, *branch]) == [("delete", "1.2.0"), ("delete", "1.0.0-exp.1")]


def test_what_was_restored_by_hand_is_not_archived_again_at_once():
    """It stays hot for as long as if it had been read."""
    assert wanted("archive_after = '30d'", [version(1)], restored=NOW - 29 * DAY) == []
    assert wanted("archive_after = '30d'", [version(1)], restored=NOW - 30 * DAY) == [("archive", "1.1.0")]


def test_reasons_name_time_and_limit():
    """A person can tell from the sentence what to change."""
    versions = [version(1, read=41), version(2, age=70, state=State.DEPRECATED)]
    reasons = [wish.reason for wish in wishes(policy("archive_after = '30d'"), versions, NOW, lambda _: None)]
    assert reasons == ["not read for 41 days (limit 30 days)", "never read, 70 days old (limit 30 days)"]
    kept = [wish.reason for wish in wishes(policy("keep_last = 1"), versions, NOW, lambda _: None)]
    assert kept == ["number 2 of the main line, of which the newest 1 stay"]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (timedelta(days=41, hours=3), "41 days"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(minutes=119), "119 minutes"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(0), "0 seconds"),
    ],
)
def test_times_are_told_in_a_unit_that_fits(time, text):
    """At least two of the unit, so that nothing is rounded by half."""
    assert span(time) == text


def test_the_first_policy_that_covers_a_resource_governs_it():
    """By type, name and labels; the others are not asked, even when the first wants nothing."""
    rules = read_rules(
        """
        [[policies]]
        name = "vision"
        labels = { team = "vision" }
        [[policies]]
        name = "tmp"
        names = ["tmp/*"]
        archive_after = "1d"
        """
    )

    def governs(name, labels):
        resource = Resource(
            type="datasets",
            name=name,
            kind=Kind.DATASET,
            active=None,
            versions=0,
            created_at=NOW,
            updated_at=NOW,
            labels=labels,
        )
        found = governing(rules.policies, resource)
        return found.name if found else None

    assert governs("tmp/a", {}) == "tmp"
    assert governs("tmp/a", {"team": "vision"}) == "vision"
    assert governs("a", {"team": "audio"}) is None


STAGES = """
initial_stage = "draft"
[stages.draft]
to = ["review"]
[stages.review]
to = ["live"]
[stages.live]
to = ["old"]
holders = "one"
displaced = "old"
[stages.old]
[stages.archived]
"""


@pytest.mark.parametrize(
    ("rules", "stage", "holds"),
    [
        ("", None, False),
        ("", "experiment", False),
        ("", "validation", True),
        ("", "production", True),
        ("", "archived", False),
        ("", "gone", True),
        (STAGES, "draft", False),
        (STAGES, "review", True),
        (STAGES, "live", True),
        (STAGES, "old", False),
        (STAGES, "archived", False),
        (STAGES, "experiment", True),
        (STAGES.replace("[stages.draft]", "[stages.draft]\nholders = 'one'"), "draft", True),
    ],
)
def test_stages_keep_their_versions_but_the_first_and_the_last(rules, stage, holds):
    """The initial one, `archived`, and where the displaced go keep nothing; one that the rules lost keeps everything."""
    assert holds_stage(read_rules(rules), stage) is holds


def operation(verb, name="a", state=OperationState.PENDING):
    """Make an operation of somebody else."""
    owner = Owner(node="n", boot="b", pid=1, started=1)
    return Operation(
        id="f" * 32,
        verb=verb,
        type="datasets",
        name=name,
        actor="eve@n",
        owner=owner,
        params={},
        state=state,
        created_at=NOW,
        heartbeat_at=NOW,
    )


def holder(number, semver="1.1.0"):
    """Make a reader."""
    return Holder(
        id=f"{number:032x}",
        type="datasets",
        name="a",
        semver=semver,
        node="node-b",
        pid=number,
        user="alice",
        command="train.py",
        since=NOW - timedelta(hours=3),
    )


def protection(**known):
    """Know nothing but what is given."""
    nothing = {"rules": read_rules(""), "now": NOW, "bases": {}, "newest": {}, "holders": (), "under_way": None}
    return Protection(**(nothing | known))


@pytest.mark.parametrize(
    ("known", "made", "sentence"),
    [
        ({}, {}, None),
        ({}, {"tags": ("golden",)}, "it has the tag golden"),
        ({}, {"tags": ("a", "b")}, "it has the tags a, b"),
        ({}, {"stage": "production"}, "it holds the stage production"),
        ({"bases": {"1.1.0": ("exp", "try")}}, {}, "the branches exp, try began at it"),
        ({"newest": {"exp": "1.0.0-exp.1"}}, {"branch": "exp"}, "it is the newest version of the branch exp"),
        ({"newest": {"exp": "1.0.0-exp.2"}}, {"branch": "exp"}, None),
        (
            {"holders": [holder(7)]},
            {},
            "it is read by train.py (process 7 of alice on node-b), the first one for 3 hours",
        ),
        ({"holders": [holder(7, "1.2.0")]}, {}, None),
        (
            {"under_way": operation(Verb.UPDATE)},
            {},
            "the verb update by eve@n (operation ffffffff) is under way on the resource",
        ),
    ],
)
def test_whatever_protects_a_version_is_said(known, made, sentence):
    """One sentence that names it."""
    blocked, _ = protection(**known).blocked(Action.ARCHIVE, version(1, **made))
    assert blocked == sentence


def test_a_purge_is_stopped_by_readers_only():
    """Tags and stages protect what is not deleted; many readers are counted, and all are told to a program."""
    tagged = version(1, tags=("golden",), stage="production")
    assert protection().blocked(Action.PURGE, tagged) == (None, ())
    readers = [holder(number) for number in range(1, 6)]
    blocked, told = protection(holders=readers).blocked(Action.PURGE, tagged)
    assert "process 3" in blocked
    assert "and 2 more" in blocked
    assert [each["pid"] for each in told] == [1, 2, 3, 4, 5]
    assert told[0] == {
        "id": "00000000",
        "semver": "1.1.0",
        "node": "node-b",
        "pid": 1,
        "user": "alice",
        "command": "train.py",
        "since": "2026-05-31T21:00:00+00:00",
        "age": 10800.0,
    }
    assert protection(holders=readers).resource_blocked() == (blocked, told)
