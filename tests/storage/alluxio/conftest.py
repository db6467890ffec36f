"""One real Alluxio for all tests of a run, started when the first of them asks."""

import pytest

from alluxio_lance.errors import Unavailable
from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports
from alluxio_lance.storage.alluxio.cluster.jars import class_path, java


@pytest.fixture(scope="session", autouse=True)
def jars():
    """Java and the jars, without which there is no Alluxio here; `make servers` brings both."""
    try:
        java()
        class_path(lambda _: None)
    except Unavailable as missing:
        pytest.skip(missing.message)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, jars):
    """A running Alluxio: small, quick, on ports that were free."""
    folder = tmp_path_factory.mktemp("alluxio")
    plan = ClusterPlan(folder=folder, ports=Ports.free(), tier_bytes=256 << 20, heap_bytes=256 << 20, small=True)
    found = Cluster.start(plan)
    yield found
    found.stop()
