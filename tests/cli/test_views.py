"""Tables made of values: what a person reads, at the widths that screens have."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from rich.console import Console

from alluxio_lance.cli.access_view import tokens_view
from alluxio_lance.cli.cache_records import cache_record
from alluxio_lance.cli.cache_view import cache_view
from alluxio_lance.cli.gate_view import gate_table, promotion_view, promotions_view
from alluxio_lance.cli.governance_records import gate_record, identity_record, promotion_record, token_record
from alluxio_lance.cli.history_view import history_view
from alluxio_lance.cli.policy_view import policy_view
from alluxio_lance.cli.storage_view import storage_view
from alluxio_lance.cli.upkeep_records import finding_record, plan_record, storage_record
from alluxio_lance.cli.version_view import version_view
from alluxio_lance.cli.views import deleted_view, list_view
from alluxio_lance.cli.ways_records import explanation_record
from alluxio_lance.cli.ways_view import explain_view
from alluxio_lance.client.statistics import CacheStatistics, ResidentVersion
from alluxio_lance.governance import Decision, GateResult, Identity, Promotion, PromotionState, Token, Verdict
from alluxio_lance.upkeep import Action, Planned, PolicyPlan, StorageReport, VersionStorage
from alluxio_lance.values import Event, Finding, Kind, Outcome, Resource, State, Verb, Version
from alluxio_lance.ways import CacheShare, DiskStatistics, Explanation, FileWay, Way

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
SCHEMA = pa.schema([("id", pa.int64())]).serialize().to_pybytes()
WIDTHS = pytest.mark.parametrize("width", [80, 120])


def shown(view, width=100, *, colour=False):
    """Return what a screen of a width shows."""
    screen = io.StringIO()
    system = "standard" if colour else None
    Console(file=screen, width=width, force_terminal=colour, color_system=system).print(view)
    return screen.getvalue()


def version(semver="1.1.0", **changes):
    """Make a version."""
    facts = {
        "type": "datasets",
        "name": "rows",
        "semver": semver,
        "version": 7,
        "content_hash": "3fa9c1d2" * 8,
        "state": State.REGISTERED,
        "location": "/data/rows.lance",
        "num_rows": 1200,
        "num_bytes": 1 << 20,
        "schema": SCHEMA,
        "created_at": NOW - timedelta(hours=2),
        "created_by": "alice@node",
        "operation": "0" * 32,
    }
    return Version(**facts | changes)


def gate(name, verdict, summary="", kind="expectation", seconds=0.0):
    """Make the report of a gate."""
    return GateResult(gate=name, kind=kind, verdict=verdict, summary=summary, seconds=seconds)


RESULTS = (
    gate("good-enough", Verdict.FAILED, "metrics.accuracy >= 0.92 is false: metrics.accuracy is 0.9"),
    gate("clean", Verdict.PASSED, "a licence, no personal data in 3 columns", "compliance", 1.3),
    gate("service", Verdict.ERROR, "no answer from https://gates.example.org within 10 s", "webhook", 10.0),
    gate("four-eyes", Verdict.WAITING, "0 of 1 approvals by the role releaser", "approval"),
)


def promotion(**changes):
    """Make a promotion that was denied."""
    facts = {
        "id": "c0ffee00" * 4,
        "type": "datasets",
        "name": "rows",
        "semver": "1.1.0",
        "origin": "validation",
        "to": "production",
        "reason": "the new one",
        "requested_by": "alice@node",
        "state": PromotionState.DENIED,
        "results": RESULTS,
        "created_at": NOW - timedelta(minutes=3),
    }
    return Promotion(**facts | changes)


def event(sequence, verb, **changes):
    """Make a row of the history."""
    facts = {
        "sequence": sequence,
        "at": NOW - timedelta(minutes=10 - sequence),
        "verb": verb,
        "type": "datasets",
        "name": "rows",
        "actor": "alice@node",
        "operation": "0" * 32,
        "before": None,
        "after": None,
        "semver": "1.1.0",
        "message": "",
    }
    return Event(**facts | changes)


# -- gates -------------------------------------------------------------------------------------------------------------


@WIDTHS
def test_a_report_has_a_row_per_gate_with_mark_verdict_and_sentence(width):
    """Nothing is cut, and no line is longer than the screen."""
    text = shown(gate_table([gate_record(result) for result in RESULTS]), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for mark, name, verdict in (
        ("✗", "good-enough", "failed"),
        ("✓", "clean", "passed"),
        ("!", "service", "error"),
        ("…", "four-eyes", "waiting"),
    ):
        (line,) = [line for line in lines if line.startswith(f"{mark}  {name}")]
        assert verdict in line
    flowed = " ".join(text.split())
    assert "metrics.accuracy" in flowed
    assert "1.3 s" in flowed


def test_verdicts_have_colours():
    """Red for no, green for yes, yellow for not yet."""
    text = shown(gate_table([gate_record(result) for result in RESULTS]), colour=True)
    for code, verdict in (("1;31m", "failed"), ("32m", "passed"), ("1;35m", "error"), ("33m", "waiting")):
        assert f"\x1b[{code}{verdict}" in text


def test_a_report_needs_no_more_than_gate_kind_and_verdict():
    """Another version's report may have less, or more."""
    assert "✓  a" in shown(gate_table([{"gate": "a", "kind": "python", "verdict": "passed", "more": 1}]))


@WIDTHS
def test_promotions_show_the_marks_of_their_gates(width):
    """Newest first as they come, with the short id that commands take."""
    decided = promotion(origin=None, to="active", state=PromotionState.DONE, results=RESULTS[1:2])
    text = shown(promotions_view([promotion(), decided], NOW), width)
    assert max(map(len, text.splitlines())) <= width
    first, second = text.split("c0ffee00")[1:]
    for part in ("validation", "→", "denied", "✗ good-enough", "! service", "… four-eyes", "✓ 1 passed"):
        assert part in first
    for part in ("activation", "done", "✓ 1 passed"):
        assert part in second


def test_one_promotion_tells_who_decided_and_why():
    """With the whole report."""
    decisions = (
        Decision(by="bob@node", at=NOW, approved=True),
        Decision(by="carol@node", at=NOW, approved=False, reason="too early"),
    )
    text = shown(promotion_view(promotion(decisions=decisions, origin=None), NOW))
    assert "no stage → production" in text
    assert "approved   just now by bob@node\n" in "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    assert "carol@node: too early" in text
    assert "the new one" in text
    assert "good-enough" in text
    assert "Gate" not in shown(promotion_view(promotion(results=(), reason=""), NOW))


def test_the_record_of_a_promotion_is_json_of_all_of_it():
    """Moments are ISO 8601, what is missing is null."""
    decided = promotion(decisions=(Decision(by="bob@node", at=NOW, approved=True),), decided_at=NOW)
    record = promotion_record(decided)
    assert record["decisions"] == [
        {"by": "bob@node", "at": "2026-05-17T12:00:00+00:00", "approved": True, "reason": ""}
    ]
    assert (record["from"], record["to"], record["decided_at"]) == (
        "validation",
        "production",
        "2026-05-17T12:00:00+00:00",
    )
    assert [result["verdict"] for result in record["results"]] == ["failed", "passed", "error", "waiting"]
    assert promotion_record(promotion())["decided_at"] is None


# -- policies ----------------------------------------------------------------------------------------------------------

PLAN = PolicyPlan(
    at=NOW,
    rows=(
        Planned(
            action=Action.ARCHIVE,
            type="datasets",
            name="rows",
            semver="1.0.0",
            policy="unread",
            reason="not read for 41 days (limit 30)",
            frees_hot=3 << 20,
            frees_cold=0,
            adds_cold=2 << 20,
        ),
        Planned(
            action=Action.DELETE,
            type="datasets",
            name="rows",
            semver="1.1.0",
            policy="unread",
            reason="not read for 400 days (limit 365)",
            frees_hot=5 << 20,
            frees_cold=0,
            adds_cold=0,
            blocked="1 reader holds it",
            holders=({"user": "alice", "node": "b", "pid": 4711},),
        ),
        Planned(
            action=Action.PURGE,
            type="datasets",
            name="old",
            semver=None,
            policy="grace",
            reason="its grace time is over",
            frees_hot=1 << 20,
            frees_cold=4 << 20,
            adds_cold=0,
        ),
    ),
)


@WIDTHS
def test_a_plan_says_what_why_how_much_and_what_is_in_the_way(width):
    """Blocked rows are not in the sums."""
    text = shown(policy_view(PLAN, ran=False), width)
    assert max(map(len, text.splitlines())) <= width
    flowed = " ".join(text.split())
    assert "-3.0 MiB" in flowed
    assert "+2.0 MiB" in flowed
    assert "1 to archive, 1 to purge: 4.0 MiB get free in the hot tier" in flowed
    assert "the cold tier shrinks by 2.0 MiB; 1 waits" in flowed


def test_a_plan_names_the_readers_that_stand_in_the_way():
    """User, node and process."""
    assert "1 reader holds it: alice@b process 4711" in shown(policy_view(PLAN, ran=False), 200)


def test_a_run_says_how_each_row_went():
    """Only what was done is in the sums."""
    ran = PolicyPlan(at=NOW, rows=PLAN.rows, outcome={0: "done", 2: "the disk is full"})
    text = shown(policy_view(ran, ran=True), 200)
    assert "✓ done" in text
    assert "✗ the disk is full" in text
    assert "1 archived: 3.0 MiB are free in the hot tier, the cold tier grew by 2.0 MiB; 2 wait" in text
    nothing = PolicyPlan(at=NOW, rows=PLAN.rows[:1])
    assert "not begun" in shown(policy_view(nothing, ran=True), 200)
    assert "nothing was done; 1 waits" in shown(policy_view(nothing, ran=True), 200)
    assert "nothing can be done now" in shown(policy_view(PolicyPlan(at=NOW, rows=PLAN.rows[1:2]), ran=False), 200)


def test_the_record_of_a_run_has_the_outcome_in_its_rows():
    """Null where nothing was tried."""
    record = plan_record(PolicyPlan(at=NOW, rows=PLAN.rows, outcome={0: "done"}))
    assert [row["outcome"] for row in record["rows"]] == ["done", None, None]
    assert record["rows"][1]["holders"] == [{"user": "alice", "node": "b", "pid": 4711}]


# -- storage -----------------------------------------------------------------------------------------------------------

STORAGE = StorageReport(
    type="datasets",
    name="rows",
    table_bytes=6 << 20,
    cold_bytes=2 << 20,
    versions=(
        VersionStorage(
            semver="1.1.0",
            branch="",
            state=State.ACTIVE,
            hot_bytes=4 << 20,
            unique_bytes=1 << 20,
            shared_bytes=3 << 20,
            cold_bytes=0,
        ),
        VersionStorage(
            semver="1.0.0",
            branch="",
            state=State.ARCHIVED,
            hot_bytes=0,
            unique_bytes=0,
            shared_bytes=0,
            cold_bytes=2 << 20,
        ),
    ),
)


@WIDTHS
def test_storage_has_a_bar_per_version_on_one_scale(width):
    """What is its own, what is shared, what is cold."""
    text = shown(storage_view(STORAGE), width)
    assert max(map(len, text.splitlines())) <= width
    first, second = (line for line in text.splitlines() if line.startswith("1."))
    assert first.split()[-1] == "█" * 16
    assert second.split()[-1] == "█" * 8 + "░" * 8
    assert (
        "the table takes 6.0 MiB, its versions one by one would take 4.0 MiB; 2.0 MiB are in the cold tier"
        in " ".join(text.split())
    )


def test_a_resource_without_versions_takes_nothing():
    """No bar, no division by zero."""
    empty = StorageReport(type="datasets", name="rows", table_bytes=0, cold_bytes=0, versions=())
    assert "the table takes 0 B" in shown(storage_view(empty))
    assert storage_record(STORAGE)["versions"][0]["unique_bytes"] == 1 << 20


# -- the cache below -----------------------------------------------------------------------------------------------------

LONG = "data/001011111101011101111100155a02a46febea0fdee35a54896.lance"
EXPLAINED = Explanation(
    files=(
        FileWay(path=LONG, bytes=99 << 20, way=Way.SHORT_CIRCUIT, why="its block lies in /cache", cached_percent=100),
        FileWay(path="data/b.lance", bytes=1 << 10, way=Way.ENDPOINT, why="block 1 of 1 is not here", cached_percent=0),
    ),
    share=CacheShare(bytes=(99 << 20) + 1024, cached_bytes=99 << 20, pinned=True),
)


@WIDTHS
def test_an_explanation_says_how_each_file_comes_and_why(width):
    """A row per file with its reason, a sum by way in which no part is lost, and the share."""
    text = shown(explain_view(EXPLAINED), width)
    assert max(map(len, text.splitlines())) <= width
    flowed = " ".join(text.split())
    assert LONG in text.replace("\n", "").replace(" ", "") or width < 120
    for part in ("99.0 MiB short-circuit 100%", "1.0 KiB endpoint 0%", "its block lies in /cache", "block 1 of 1"):
        assert part in flowed
    assert "short-circuit 99.0 MiB (99%), endpoint 1.0 KiB (1%)" in flowed
    assert flowed.endswith("cached 99% of 99.0 MiB in Alluxio, pinned")
    record = explanation_record(EXPLAINED)
    assert record["ways"] == {"short-circuit": 99 << 20, "endpoint": 1024}
    assert record["share"]["percent"] == 99
    assert [file["way"] for file in record["files"]] == ["short-circuit", "endpoint"]


def test_without_a_cache_no_percentage_is_shown():
    """A folder has none, and a version without files no way."""
    local = FileWay(path="data/a.lance", bytes=10, way=Way.LOCAL, why="it lies below /data")
    text = shown(explain_view(Explanation(files=(local,), share=None)))
    assert "ached" not in text
    assert "local 10 B (100%)" in text
    assert explanation_record(Explanation(files=(), share=None)) == {"files": [], "ways": {}, "share": None}
    assert "%" not in shown(explain_view(Explanation(files=(), share=None)))


@WIDTHS
def test_cached_shares_stand_beside_each_version(width):
    """In the storage and among the siblings; why it is not known stands there too."""
    report = replace(STORAGE, versions=tuple(replace(each, cached_bytes=1 << 20) for each in STORAGE.versions))
    lines = shown(storage_view(report), width).splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split().count("25%") for line in lines if line.startswith("1.")] == [1, 0]
    assert storage_record(report)["versions"][0]["cached_bytes"] == 1 << 20
    one, two = version(), version("1.0.0")
    share = CacheShare(bytes=4 << 20, cached_bytes=1 << 20)
    text = shown(version_view(one, None, [one, two], NOW, share=share, cached={"1.1.0": 25}), width)
    assert max(map(len, text.splitlines())) <= width
    assert "cached 25% of 4.0 MiB in Alluxio" in " ".join(text.split())
    assert text.count("25%") == 2
    failed = shown(version_view(one, None, [one, two], NOW, share="not known: Alluxio is down"), width)
    assert "cached not known: Alluxio is down" in " ".join(failed.split())
    assert "Cached" not in failed


@WIDTHS
def test_the_cache_shows_ways_and_disk(width):
    """What came how, and what the node's disk keeps, where it keeps anything."""
    hot = ResidentVersion(
        type="datasets",
        name="images/of/some/length",
        semver="1.1.0",
        version=7,
        role="active",
        status="hot",
        bytes=1 << 30,
        segments=4,
        columns=("a", "b"),
        rows=1_000_000,
        pages=None,
        leases=0,
        last_opened_at=None,
        load_seconds=2.5,
        ways={Way.DISK: 1 << 20, Way.SHORT_CIRCUIT: 1 << 29, Way.ENDPOINT: 1 << 29},
        cached_percent=73,
    )
    disk = DiskStatistics(
        budget_bytes=1 << 30,
        used_bytes=1 << 29,
        columns=12,
        hits=3,
        misses=9,
        dropped_writes=1,
        corrupt=2,
        mapped_bytes=3 << 20,
    )
    found = CacheStatistics(
        budget_bytes=2 << 30,
        used_bytes=1 << 30,
        versions=(hot,),
        leases=(),
        opens=0,
        hits=0,
        evictions=0,
        failed_loads=0,
        node="here",
        pid=1,
        started_at=NOW,
        disk=disk,
    )
    text = shown(cache_view(found, NOW), width)
    assert max(map(len, text.splitlines())) <= width
    flowed = " ".join(text.split())
    assert "512.0 MiB of 1.0 GiB on disk (50%)" in flowed
    assert "12 columns kept, 3 found there, 9 not found, 1 not kept, 2 corrupt, 3.0 MiB mapped now" in flowed
    for part in ("disk 1.0 MiB (1%)", "short-circuit 512.0 MiB (50%)", "endpoint 512.0 MiB (50%)", "73%", "2.5 s"):
        assert part in flowed
    record = cache_record(found)
    assert record["versions"][0]["ways"] == {"disk": 1 << 20, "short-circuit": 1 << 29, "endpoint": 1 << 29}
    assert record["disk"]["corrupt"] == 2
    bare = replace(found, versions=(replace(hot, ways={}),), disk=replace(disk, budget_bytes=0))
    plain = shown(cache_view(bare, NOW), width)
    assert "Hot versions" in plain
    assert "Last loads" not in plain
    assert "on disk" not in plain


# -- resources and versions --------------------------------------------------------------------------------------------


def resource(**changes):
    """Make a resource."""
    facts = {
        "type": "datasets",
        "name": "rows",
        "kind": Kind.DATASET,
        "active": version(state=State.ACTIVE, stage="production"),
        "versions": 2,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Resource(**facts | changes)


@WIDTHS
def test_a_list_shows_stages_and_labels_where_there_are_any(width):
    """A catalog without has no empty columns for them."""
    text = shown(list_view([resource(labels={"team": "vision"}), resource(name="x", active=None)], NOW), width)
    assert max(map(len, text.splitlines())) <= width
    assert "production" in text
    assert "team=vision" in " ".join(text.split())
    plain = shown(list_view([resource(active=version())], NOW), width)
    assert "Stage" not in plain
    assert "=" not in plain


def test_a_list_breaks_no_name_of_an_ordinary_length():
    """On 80 columns, beside a stage: who reads a list wants to copy names from it."""
    long = resource(name="traffic-signs", labels={"promote": "automatic"}, active=version(stage="production"))
    text = shown(list_view([long], NOW), 80)
    assert "datasets/traffic-signs" in text
    assert "promote=automatic" in text


def test_stages_are_not_broken_beside_the_versions_of_a_branch():
    """The message makes room for them."""
    versions = [
        version(stage="archived", message="a thousand more"),
        version("1.0.0", stage="production", tags=("golden",)),
        version("1.0.0-exp.2", branch="exp"),
    ]
    text = shown(version_view(versions[0], None, versions, NOW), 80)
    assert max(map(len, text.splitlines())) <= 80
    for word in ("archived", "production", "golden"):
        assert word in text.partition("Versions")[2]


def test_what_was_deleted_says_until_when_it_can_come_back():
    """The moment, and how far off it is."""
    text = shown(deleted_view([resource(purge_at=NOW + timedelta(days=7)), resource(name="x")], NOW))
    assert "in 7 days" in text
    assert f"{(NOW + timedelta(days=7)).astimezone():%Y-%m-%d %H:%M}" in text


@WIDTHS
def test_a_version_shows_where_it_stands(width):
    """Stage, tags, metrics, branch, labels, its copy in the cold tier, and its siblings."""
    archived = version(
        state=State.ARCHIVED,
        stage="validation",
        tags=("golden", "best"),
        metrics={"accuracy": 0.93},
        metadata={"license": "MIT"},
        branch="exp",
        message="m",
        cold_bytes=1 << 20,
        archived_at=NOW - timedelta(days=2),
        read_at=NOW - timedelta(days=40),
    )
    gone = version("1.0.0", state=State.DELETED, purge_at=NOW + timedelta(days=3))
    owner = resource(labels={"team": "vision"}, branches=("exp",))
    text = shown(version_view(archived, owner, [archived, gone], NOW), width)
    assert max(map(len, text.splitlines())) <= width
    flowed = " ".join(text.split())
    for part in ("stage validation", "tags golden, best", "branch exp", "labels team=vision", "branches exp"):
        assert part in flowed
    assert "archived 1.0 MiB in the cold tier since 2 days ago" in flowed
    assert "accuracy 0.93" in flowed
    assert "purge in 3 days" in flowed
    plain = shown(version_view(version(), None, [version()], NOW), width)
    for word in ("stage", "Stage", "tags", "Metrics", "archived"):
        assert word not in plain


# -- history, people, what was mended ------------------------------------------------------------------------------------


@WIDTHS
def test_a_history_shows_stages_origins_and_what_was_denied(width):
    """The stage stands beside the event that moved it."""
    events = [
        event(1, Verb.REGISTER, after="1.1.0+3fa9c1d2", origin="unix:pid=12"),
        event(2, Verb.PROMOTE, outcome=Outcome.DENIED, message="not granted"),
        event(3, Verb.PROMOTE, before="1.0.0+x", after="1.1.0+x"),
    ]
    moves = [
        promotion(state=PromotionState.DONE, decided_at=events[2].at),
        promotion(),
        promotion(semver="9.9.9", state=PromotionState.DONE, decided_at=NOW),
    ]
    text = shown(history_view(events, NOW, moves), width)
    assert max(map(len, text.splitlines())) <= width
    assert "unix:pid=12" in text
    assert "promote ✗" in text
    flowed = " ".join(text.split())
    assert "1.0.0 → 1.1.0" in flowed
    assert flowed.count("production") == 1
    assert "stage" not in shown(history_view(events, NOW), width)
    assert "datasets/rows" in shown(history_view(events, NOW, whole_name=True), 200)


def turned_back():
    """Return the events of a promotion with the pointer and of its rollback, and the promotions."""
    events = [
        event(1, Verb.PROMOTE, semver="1.0.0", before="1.0.0+x", after="1.0.0+x"),
        event(2, Verb.PROMOTE, before="1.0.0+x", after="1.1.0+x"),
        event(3, Verb.ROLLBACK, semver="1.0.0", before="1.1.0+x", after="1.0.0+x"),
        event(4, Verb.ROLLBACK, semver="1.0.0", before="1.0.0+x", after="1.0.0+x"),
    ]
    done = {"state": PromotionState.DONE, "results": ()}
    moves = [
        promotion(semver="1.0.0", origin=None, to="validation", decided_at=events[0].at, **done),
        promotion(decided_at=events[1].at, **done),
    ]
    return events, moves


@WIDTHS
def test_a_history_tells_the_stage_that_a_rollback_took_along(width):
    """Only a stage that came with the pointer, and only where the pointer moved."""
    events, moves = turned_back()
    now = [version("1.0.0", stage="production"), version("1.1.0", stage="archived")]
    flowed = " ".join(shown(history_view(events, NOW, moves, now), width).split())
    assert flowed.count("production: 1.1.0 → 1.0.0") == 1
    assert "validation: " not in flowed


def test_a_history_says_nothing_that_the_versions_deny():
    """The rules have changed: the stage goes with the pointer no more."""
    events, moves = turned_back()
    now = [version("1.0.0", stage="validation"), version("1.1.0", stage="production")]
    assert "production: " not in shown(history_view(events, NOW, moves, now))


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "does not expire"),
        ({"expires_at": NOW + timedelta(days=30)}, "expires in 30 days"),
        ({"expires_at": NOW - timedelta(hours=1)}, "expired 1 h ago"),
        ({"revoked_at": NOW - timedelta(minutes=1), "expires_at": NOW}, "revoked 1 min ago"),
    ],
)
def test_a_token_says_whether_it_still_opens(changes, state):
    """Without its secret, which nobody has."""
    facts = {"id": "abcdefghijkl", "name": "ci", "roles": ("viewer",), "created_by": "root@node", "created_at": NOW}
    token = Token(**facts | {"expires_at": None} | changes)
    text = shown(tokens_view([token], NOW))
    assert state in text
    assert "never" in text
    assert token_record(token)["roles"] == ["viewer"]


def test_records_of_people_and_findings():
    """Everything, under stable names."""
    who = Identity(actor="token:ci", roles=("viewer",), method="token", origin="unix:pid=1")
    assert identity_record(who) == {"actor": "token:ci", "roles": ["viewer"], "method": "token", "origin": "unix:pid=1"}
    finding = Finding(operation="0" * 32, verb=Verb.ARCHIVE, type="a", name="b", outcome="undone", reason="r")
    assert finding_record(finding) == {
        "operation": "0" * 32,
        "verb": "archive",
        "type": "a",
        "name": "b",
        "outcome": "undone",
        "reason": "r",
    }
