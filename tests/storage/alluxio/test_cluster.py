"""A local Alluxio: started, found again, looked at, stopped; every test here runs the real one."""

import os
import signal

import pytest

from alluxio_lance.errors import AlreadyExists, Conflict, NotFound, Unavailable
from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports
from alluxio_lance.storage.alluxio.cluster.jars import java


def test_it_serves_and_is_found_by_its_folder(cluster):
    """Another process finds ports, processes and logs."""
    status = Cluster.find(cluster.plan.folder).status()
    assert status.ready
    assert [node.name for node in status.nodes] == ["master", "worker", "proxy"]
    assert all(node.alive and node.log.exists() for node in status.nodes)
    assert status.capacity_bytes == 256 << 20
    assert str(cluster.plan.ports.proxy) in status.s3


def test_a_second_start_in_the_folder_is_refused(cluster):
    """With the command that ends the first one."""
    with pytest.raises(AlreadyExists, match="alluxio down"):
        Cluster.start(ClusterPlan(folder=cluster.plan.folder, ports=Ports.free(), small=True))


def test_a_start_on_taken_ports_is_refused_and_leaves_nothing(cluster, tmp_path):
    """The sentence names the port and the option that chooses others."""
    with pytest.raises(Conflict, match="--port-base"):
        Cluster.start(ClusterPlan(folder=tmp_path, ports=cluster.plan.ports, small=True))
    with pytest.raises(NotFound):
        Cluster.find(tmp_path)


def test_only_this_user_can_read_the_properties(cluster):
    """They may hold the keys of an object store."""
    for name in ("conf/alluxio-site.properties", "cluster.json"):
        assert (cluster.plan.folder / name).stat().st_mode & 0o077 == 0


def test_a_restart_keeps_the_files_and_a_killed_process_is_told(tmp_path):
    """`down` leaves no process; what was written is there after the next `up`; a killed worker is not ready."""
    plan = ClusterPlan(folder=tmp_path, ports=Ports.free(), heap_bytes=256 << 20, small=True)
    steps = []
    first = Cluster.start(plan, steps.append)
    assert "make the journal" in steps
    os.kill(first.node("worker").pid, signal.SIGKILL)
    while first.node("worker").is_alive:
        pass
    assert not first.status().ready
    (tmp_path / "ufs" / "kept").write_text("x", encoding="utf-8")
    first.stop()
    assert not any(first.node(name).is_alive for name in ("master", "worker", "proxy"))
    with pytest.raises(NotFound, match="alluxio up"):
        Cluster.find(tmp_path)
    steps.clear()
    second = Cluster.start(plan, steps.append)
    try:
        assert "make the journal" not in steps
        assert second.status().ready
        assert (tmp_path / "ufs" / "kept").exists()
    finally:
        second.stop()
        second.stop()


def test_a_process_that_ends_at_once_is_told_with_its_log(tmp_path):
    """An under-store that does not exist ends the master: the sentence names its log, and nothing is left running."""
    plan = ClusterPlan(folder=tmp_path, ports=Ports.free(), under_store="nope://x", heap_bytes=128 << 20, small=True)
    with pytest.raises(Unavailable, match=r"master\.out"):
        Cluster.start(plan)
    with pytest.raises(NotFound):
        Cluster.find(tmp_path)


def test_without_java_there_is_one_sentence(monkeypatch, tmp_path):
    """It says what to install."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="JDK"):
        java()


@pytest.mark.parametrize("version", ["1.8.0_402", "25.0.1", "?"])
def test_a_java_that_does_not_fit_is_refused(monkeypatch, tmp_path, version):
    """Alluxio 2.9 runs on 11, 17 and 21."""
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="11, 17 or 21"):
        java()
