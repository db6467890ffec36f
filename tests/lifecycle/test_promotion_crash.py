"""kill -9 in the middle of promote, approve, reject, activate and rollback: the record of the one, or the move, never half."""

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import PolicyDenied
from alluxio_lance.governance import Identity, PromotionState
from alluxio_lance.values import Verb

CRASHER = Path(__file__).with_name("promotion_crasher.py")
APPROVAL = '[[gates]]\nname = "people"\non = ["* -> production", "activate"]\nkind = "approval"\n'
IMPOSSIBLE = '[[gates]]\nname = "no"\non = ["* -> production", "activate"]\nkind = "expectation"\nrequire = ["version.num_rows < 0"]\n'
BEFORE = {"1.0.0": ("validation", "registered"), "1.1.0": ("production", "active")}
MOVED = {"1.0.0": ("production", "active"), "1.1.0": ("archived", "registered")}
POINTED = {"1.0.0": ("validation", "active"), "1.1.0": ("production", "registered")}
WAITING, DENIED, DONE = PromotionState.WAITING, PromotionState.DENIED, PromotionState.DONE

CASES = [
    # rules, what, verb, step, how it stands, the newest promotion to production or active
    ("", "promote", "promote", "begun", BEFORE, None),
    ("", "promote", "promote", "committed", MOVED, DONE),
    (IMPOSSIBLE, "promote", "promote", "judged", BEFORE, None),
    (IMPOSSIBLE, "promote", "promote", "kept", BEFORE, DENIED),
    (APPROVAL, "promote", "promote", "judged", BEFORE, None),
    (APPROVAL, "promote", "promote", "kept", BEFORE, WAITING),
    (APPROVAL, "approve", "promote", "begun", BEFORE, WAITING),
    (APPROVAL, "approve", "approve", "begun", BEFORE, WAITING),
    (APPROVAL, "approve", "approve", "committed", BEFORE, WAITING),
    (APPROVAL, "approve", "promote", "judged", BEFORE, WAITING),
    (APPROVAL, "approve", "promote", "committed", MOVED, DONE),
    (APPROVAL, "reject", "reject", "begun", BEFORE, WAITING),
    (APPROVAL, "reject", "reject", "committed", BEFORE, DENIED),
    (IMPOSSIBLE, "activate", "activate", "kept", BEFORE, DENIED),
    ("", "activate", "activate", "begun", BEFORE, None),
    ("", "activate", "activate", "committed", POINTED, None),
    ("", "rollback", "rollback", "begun", BEFORE, None),
    ("", "rollback", "rollback", "committed", MOVED, None),
]


@pytest.fixture
def root(tmp_path):
    """Prepare a root where 1.1.0 is in production, and 1.0.0 one step before."""
    folder = tmp_path / "root"
    with al.ResourceManager.embedded(folder) as manager:
        manager.register_resource("datasets", "a", pa.table({"x": [1]}))
        manager.update_resource("datasets", "a", pa.table({"x": [2]}))
        for version, to in (("1.0.0", "validation"), ("1.1.0", "validation"), ("1.1.0", "production")):
            manager.promote_resource("datasets", "a", version, to=to)
    return folder


def crash(root, *arguments):
    """Do something in a process that kills itself at a step."""
    command = [sys.executable, "-W", "ignore", str(CRASHER), str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def stand(manager):
    """Return stage and state of each version."""
    return {v.semver: (v.stage, str(v.state)) for v in manager.list_versions("datasets", "a")}


def newest(manager):
    """Return the newest promotion of the older version to production, or to be active."""
    found = [each for each in manager.list_promotions("datasets", "a") if each.to in ("production", "active")]
    return next((each for each in found if each.semver == "1.0.0"), None)


@pytest.mark.parametrize(("rules", "what", "verb", "step", "stands", "state"), CASES)
def test_kill(root, rules, what, verb, step, stands, state):
    """What the next process finds is whole, and the same call again ends as it would have ended."""
    id = "-"
    with al.ResourceManager.embedded(root) as manager:
        manager.set_rules(rules)
        if what in ("approve", "reject"):
            with pytest.raises(PolicyDenied) as refused:
                manager.promote_resource("datasets", "a", "1.0.0", to="production")
            id = str(refused.value.details["promotion"])
    crash(root, what, verb, step, id)
    with al.ResourceManager.embedded(root) as manager:
        assert manager.catalog.open_operations() == []
        assert stand(manager) == stands
        found = newest(manager)
        assert (found.state if found else None) == state
        assert manager.catalog.verify_audit().fault is None
        if what == "approve" and state is WAITING:
            bob = manager.acting_as(Identity(actor="bob@x", roles=("releaser",), method="peer"))
            assert bob.approve_promotion(id).state is DONE
            assert len(newest(manager).decisions) == 1
            assert stand(manager) == MOVED
        elif what == "approve":
            assert manager._rooms.promoter.review(manager._identity, found) == found
        verbs = [event.verb for event in manager.history("datasets", "a")]
        assert verbs.count(Verb.PROMOTE) == 3 + (stand(manager) == MOVED and what != "rollback")
