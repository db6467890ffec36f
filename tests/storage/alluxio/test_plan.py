"""What a local Alluxio shall be."""

import json
import socket
from pathlib import Path

import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.storage.alluxio.cluster import ClusterPlan, Ports
from alluxio_lance.storage.alluxio.cluster.flags import jvm_flags, properties


def test_the_ports_are_alluxios_own_unless_a_base_is_given():
    """Five ports in a row from the base on."""
    assert Ports().proxy == 39999
    assert Ports.starting_at(5000) == Ports(master=5000, master_web=5001, worker=5002, worker_web=5003, proxy=5004)


@pytest.mark.parametrize("base", [0, -1, 65532, 70000])
def test_a_base_without_five_ports_is_refused(base):
    """The sentence names the option and the range."""
    with pytest.raises(InvalidArgument, match="--port-base"):
        Ports.starting_at(base)


def test_a_port_that_somebody_listens_on_is_found():
    """So that a start says so before three processes are up."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert Ports(master=port).taken()[0] == port


def test_a_plan_survives_its_record_without_its_secrets(tmp_path):
    """The state file that `down` reads holds no key of an object store."""
    plan = ClusterPlan(
        folder=tmp_path, under_store="s3://b/p", under_store_options={"s3a.secretKey": "hush"}, small=True
    )
    record = json.loads(json.dumps(plan.record()))
    assert "hush" not in json.dumps(record)
    assert ClusterPlan.of_record(record).ports == plan.ports
    assert ClusterPlan.of_record(record).folder == tmp_path


def test_the_options_of_the_under_store_become_those_of_the_root_mount():
    """Alluxio reads options of the root mount under a prefix."""
    plan = ClusterPlan(
        folder=Path("/x"), under_store="s3://b", under_store_options={"alluxio.underfs.s3.endpoint": "http://e"}
    )
    found = properties(plan)
    assert found["alluxio.master.mount.table.root.option.alluxio.underfs.s3.endpoint"] == "http://e"
    assert found["alluxio.master.mount.table.root.ufs"] == "s3://b"
    assert found["alluxio.proxy.s3.v2.version.enabled"] == "false"


def test_no_secret_stands_on_a_command_line():
    """Everybody on the node sees command lines; the properties go by a private file."""
    plan = ClusterPlan(folder=Path("/x"), under_store="s3://b", under_store_options={"s3a.secretKey": "hush"})
    assert not any("hush" in flag for flag in jvm_flags(plan))
