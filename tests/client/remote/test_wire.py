"""Values on both ends of the wire: what the sidecar writes the client reads as the same."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.client import governed
from alluxio_lance.client import wire as client
from alluxio_lance.codes import KINDS, PAGES, STATES, WAYS, read_verb
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.governance import Decision, GateResult, Promotion, PromotionState, Rules, Token, Verdict
from alluxio_lance.layout import Column, ColumnKind, Layout, Pages, Region, Segment
from alluxio_lance.sidecar.services import governed as governing
from alluxio_lance.sidecar.services import wire as server
from alluxio_lance.structs import from_struct, to_struct
from alluxio_lance.upkeep import Action, Planned, PolicyPlan
from alluxio_lance.v1 import cache_pb2, common_pb2, governance_pb2
from alluxio_lance.values import Event, Finding, Kind, Outcome, Progress, Resource, State, Verb, Version
from alluxio_lance.ways import CacheShare, FileWay, Way

NOW = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)


def version(state=State.ACTIVE):
    """Make a version with everything set."""
    return Version(
        type="datasets",
        name="a/b",
        semver="1.2.3",
        version=7,
        content_hash="ab" * 32,
        state=state,
        location="/x/y.lance",
        num_rows=1 << 40,
        num_bytes=1 << 50,
        schema=b"\xff\x00schema",
        message="why",
        metadata={"a": [1, 2.5, None, True, "x", {"y": []}]},
        provenance={"from": "here"},
        created_at=NOW,
        created_by="me@here",
        operation="0" * 32,
    )


def governed_version():
    """Make a version with everything set that came after it was made."""
    return replace(
        version(State.ARCHIVED),
        branch="exp",
        semver="1.2.3-exp.1",
        stage="production",
        tags=("best", "golden"),
        metrics={"accuracy": 0.93},
        cold_bytes=0,
        archived_at=NOW,
        read_at=NOW,
        purge_at=NOW,
    )


def segment(number, pages):
    """Make a segment with everything set."""
    return Segment(
        id=number,
        rows=4096,
        length=1 << 33,
        pages=pages,
        data=Region(4096, 1 << 32),
        offsets=Region(1, 2),
        validity=Region(3, 4),
    )


VALUES = [
    *[(server.version, client.version, common_pb2.Version, version(state)) for state in State],
    (server.version, client.version, common_pb2.Version, governed_version()),
    *[
        (
            server.resource,
            client.resource,
            common_pb2.Resource,
            Resource(
                type="t",
                name="n",
                kind=kind,
                active=active,
                versions=3,
                created_at=NOW,
                updated_at=NOW,
                labels={"team": "vision"} if active else {},
                branches=("a", "b") if active else (),
                purge_at=NOW if active else None,
            ),
        )
        for kind, active in zip(Kind, (None, governed_version()), strict=True)
    ],
    *[
        (
            server.event,
            client.event,
            common_pb2.Event,
            Event(
                sequence=9,
                at=NOW,
                verb=verb,
                type="t",
                name="n",
                actor="me@here",
                operation="0" * 32,
                before=optional,
                after=optional,
                semver=optional,
                message="",
                origin="unix:pid=7",
                request_id=optional,
                outcome=outcome,
                hash="ab" * 32,
            ),
        )
        for verb in Verb
        for optional, outcome in zip((None, "1.0.0"), Outcome, strict=True)
    ],
    (server.progress, client.progress, common_pb2.Progress, Progress(step="write")),
    (
        server.progress,
        client.progress,
        common_pb2.Progress,
        Progress(step="write", rows=1, total_rows=0, bytes=2, total_bytes=0),
    ),
    (
        server.layout,
        client.layout,
        cache_pb2.Layout,
        Layout(
            type="t",
            name="n",
            semver="1.0.0",
            version=1,
            content_hash="0" * 64,
            num_rows=10,
            shard_rows=4096,
            branch="exp",
            columns=tuple(
                Column(
                    name=kind.value,
                    kind=kind,
                    dtype="float32",
                    shape=(3, 224, 224),
                    nullable=True,
                    null_count=5,
                    schema=b"schema",
                    segments=tuple(segment(number, pages) for number, pages in enumerate(Pages)),
                )
                for kind in ColumnKind
            ),
        ),
    ),
]


GOVERNED = [
    *[
        (
            governing.promotion,
            governed.promotion,
            governance_pb2.Promotion,
            Promotion(
                id="ab" * 16,
                type="t",
                name="n",
                semver="1.0.0",
                origin=optional,
                to="production",
                reason="why",
                requested_by="me@here",
                state=state,
                results=tuple(
                    GateResult(
                        gate="g", kind="command", verdict=verdict, summary="s", details={"exit": 3}, seconds=0.25
                    )
                    for verdict in Verdict
                ),
                decisions=(Decision(by="you@there", at=NOW, approved=optional is None, reason="r"),),
                created_at=NOW,
                decided_at=None if optional is None else NOW,
            ),
        )
        for state in PromotionState
        for optional in (None, "validation")
    ],
    *[
        (
            governing.rules,
            governed.rules,
            governance_pb2.Rules,
            Rules(text="[stages]", revision=7, changed_at=moment, changed_by="me@here"),
        )
        for moment in (None, NOW)
    ],
    *[
        (
            governing.token,
            governed.token,
            governance_pb2.Token,
            Token(
                id="abcdefabcdef",
                name="ci",
                roles=("a", "b"),
                created_by="me@here",
                created_at=NOW,
                expires_at=moment,
                revoked_at=moment,
                used_at=moment,
            ),
        )
        for moment in (None, NOW)
    ],
    (
        governing.plan,
        governed.plan,
        governance_pb2.PolicyPlan,
        PolicyPlan(
            at=NOW,
            rows=tuple(
                Planned(
                    action=action,
                    type="t",
                    name="n",
                    semver=optional,
                    policy="p",
                    reason="r",
                    frees_hot=1 << 40,
                    frees_cold=1,
                    adds_cold=2,
                    blocked=optional,
                    holders=({"node": "b", "pid": 7},) if optional else (),
                )
                for action in Action
                for optional in (None, "1.0.0")
            ),
            outcome={0: "done", 1: "somebody reads it"},
        ),
    ),
    (
        governing.finding,
        governed.finding,
        governance_pb2.Finding,
        Finding(operation="0" * 32, verb=Verb.ARCHIVE, type="t", name="n", outcome="completed", reason=""),
    ),
]


CACHED = [
    (server.share, client.share, common_pb2.CacheShare, CacheShare(bytes=1 << 40, cached_bytes=7, pinned=True)),
    *[
        (
            server.file_way,
            client.file_way,
            common_pb2.FileWay,
            FileWay(path="data/a.lance", bytes=1 << 40, way=way, why="because", cached_percent=percent),
        )
        for way in Way
        for percent in (None, 0, 100)
    ],
]


@pytest.mark.parametrize(("write", "read", "message", "value"), [*VALUES, *GOVERNED, *CACHED])
def test_values_survive_the_wire(write, read, message, value):
    """Through bytes, field for field."""
    assert read(message.FromString(write(value).SerializeToString())) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON))
def test_json_objects_survive_the_wire(value):
    """Whole numbers come back as int, whatever they went as; nothing else changes."""
    assert from_struct(to_struct("metadata", value)) == value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": {"b": [0, {1}]}}, r"metadata\.a\.b\[1\]"),
        ({"a": {2: 3}}, r"metadata\.a must be JSON: its key 2"),
        ({"a": float("inf")}, r"metadata\.a .*no number inf"),
        ({"a": [float("nan")]}, r"metadata\.a\[0\] .*no number nan"),
        ({"a": 2**53 + 1}, r"metadata\.a = 9007199254740993 is too large"),
        ({"a": b"x"}, r"metadata\.a .*is a bytes"),
    ],
)
def test_what_is_no_json_is_refused_with_its_path(value, path):
    """The sentence shows where in the object it is."""
    with pytest.raises(InvalidArgument, match=path):
        to_struct("metadata", value)


@pytest.mark.parametrize(
    "read",
    [
        lambda: STATES.value(99),
        lambda: KINDS.value(0),
        lambda: PAGES.value_if_any(99),
        lambda: WAYS.value(99),
        lambda: read_verb("fly"),
    ],
    ids=["state", "unspecified", "pages", "way", "verb"],
)
def test_what_this_release_does_not_know_is_said_so(read):
    """The other side is newer, or older: no traceback of an enum."""
    with pytest.raises(Unavailable, match="same version of alluxio-lance"):
        read()


def test_what_means_nothing_is_none():
    """A version that has no segment yet has no pages."""
    assert PAGES.value_if_any(cache_pb2.PAGES_UNSPECIFIED) is None
