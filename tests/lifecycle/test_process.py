"""Whether the process that works on an operation still lives."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alluxio_lance.lifecycle.ports import Operation
from alluxio_lance.lifecycle.process import current_owner, default_actor, is_dead
from alluxio_lance.values import Verb

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def operation(owner, beat=NOW):
    """Make an operation of a process."""
    return Operation(
        id="0" * 32,
        verb=Verb.UPDATE,
        type="datasets",
        name="x",
        actor="a@b",
        owner=owner,
        params={},
        created_at=beat,
        heartbeat_at=beat,
    )


def test_this_process_lives():
    """The operations of a running process are not dead."""
    here = current_owner("n")
    assert not is_dead(operation(here), here, NOW, ttl=30)


def test_a_process_that_ended_is_dead_at_once():
    """On the same node nobody waits for a heartbeat to run out."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = current_owner()
    stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    owner = replace(here, pid=child.pid, started=int(stat[19]))
    assert not is_dead(operation(owner), here, NOW, ttl=30)
    child.kill()
    child.wait()
    child.stdin.close()
    assert is_dead(operation(owner), here, NOW, ttl=30)


def test_a_reused_pid_does_not_bring_the_dead_back():
    """The start time tells two processes with one pid apart."""
    here = current_owner()
    assert is_dead(operation(replace(here, started=here.started - 1)), here, NOW, ttl=30)


def test_of_another_boot_or_node_only_the_heartbeat_tells():
    """A pid means nothing elsewhere: two missed time-outs do."""
    here = current_owner()
    other = replace(here, boot="elsewhere", pid=2**22 + 1)
    assert not is_dead(operation(other, NOW - timedelta(seconds=59)), here, NOW, ttl=30)
    assert is_dead(operation(other, NOW - timedelta(seconds=61)), here, NOW, ttl=30)


def test_the_default_actor_is_the_user_at_the_node(monkeypatch):
    """Audit rows name a person, or at least a number."""
    monkeypatch.setenv("LOGNAME", "ada")
    assert default_actor("n1") == "ada@n1"
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    assert default_actor("n1") == f"uid{os.getuid()}@n1"
