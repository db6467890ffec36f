"""What is found out about endpoints, on a real Alluxio and on a real S3 server."""

import obstore
import pytest

from alluxio_lance.errors import NotFound, Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.storage.alluxio.place import AlluxioPlace
from alluxio_lance.storage.alluxio.probing import honours_conditions, proxy_configuration, tier
from alluxio_lance.storage.s3 import S3Bucket


@pytest.fixture
def place(alluxio):
    """A folder of tables in Alluxio."""
    return AlluxioPlace.open(alluxio)


def test_alluxio_overwrites_what_is_there(place):
    """So that commits need the catalog's lock; the probe leaves nothing, also of one that was killed an hour ago."""
    client, left = place._bucket.client, ".alluxio-lance-probe/1000000000-dead"
    obstore.put(client, left, b"1")
    obstore.put(client, ".alluxio-lance-probe/99999999999-alive", b"1")
    assert place.honours_conditions() is False
    scratch = f"{place.where.folder}/.alluxio-lance-probe"
    assert [each.path for each in place.namespace.list(scratch)] == [f"{scratch}/99999999999-alive"]
    place.namespace.remove(f"{scratch}/99999999999-alive")
    assert place.honours_conditions() is False
    with pytest.raises(NotFound):
        place.namespace.status(scratch)


def test_an_endpoint_that_honours_conditions_is_known(place, s3_server):
    """The probe tells the two apart."""
    bucket = S3Bucket.open("s3://bucket/probed", s3_server.options)
    assert honours_conditions(bucket.client, place.namespace, place.where.folder) is True


def test_an_endpoint_that_takes_nothing_is_said_so(place, s3_server):
    """With what it answered."""
    bucket = S3Bucket.open("s3://no-such-bucket/x", s3_server.options)
    with pytest.raises(Unavailable, match=r"does not take an object of one byte .*404"):
        honours_conditions(bucket.client, place.namespace, place.where.folder)


def test_the_proxy_tells_how_it_is_configured_and_the_master_how_full_it_is(place, cluster):
    """The master's port is found in the configuration of the proxy."""
    found = proxy_configuration(place.where)
    assert found["alluxio.user.file.metadata.sync.interval"] == "0"
    told = tier(place.where, found)
    assert (told.workers, told.capacity_bytes) == (1, cluster.plan.tier_bytes)
    assert 0 <= told.used_bytes <= told.capacity_bytes


def test_nobody_there_is_unavailable_or_unknown():
    """The proxy is needed, the web port of the master is not."""
    address = AlluxioAddress.parse("alluxio://localhost:1/x?proxy=1")
    with pytest.raises(Unavailable, match="localhost:1 "):
        proxy_configuration(address)
    assert tier(address, {"alluxio.master.web.port": 1}) is None
