"""Uploads that nobody will end: begun by hand at the real S3 service, as a killed writer or proxy leaves them."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
import requests

from alluxio_lance.errors import Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.storage.alluxio.leftovers import Uploads, is_part

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": range(1000)})
BYTES = 3000
STATE = "/.alluxio_s3_api_metadata/uploads"
"""Where the service keeps what it knows of uploads."""


@pytest.fixture
def store(alluxio, tmp_path, write, source):
    """A store with one table and a branch of it."""
    found = LanceStore.at(alluxio, tmp_path / "data")
    found.create(LOCATION, source(TABLE), write())
    found.branch(LOCATION, "exp", 1, write())
    return found


@pytest.fixture
def begin(alluxio):
    """Begin an upload, send one part of it, and leave it."""
    address = AlluxioAddress.parse(alluxio)
    uploads = Uploads(address)

    def make(path):
        url = f"{address.s3}{address.folder}/{path}"
        begun = requests.post(f"{url}?uploads", headers=uploads._headers, timeout=30)
        id = re.search("<UploadId>(.+)</UploadId>", begun.text)[1]
        part = {"uploadId": id, "partNumber": "1"}
        requests.put(url, params=part, headers=uploads._headers, data=bytes(BYTES), timeout=30).raise_for_status()
        return id

    return make


@pytest.fixture
def seen(alluxio, store):
    """List the open uploads of the store's folder, and those of them that the service keeps something of."""
    address, namespace = AlluxioAddress.parse(alluxio), store._place.namespace

    def look():
        known = {each.path.rpartition("/")[2] for each in namespace.list(STATE)} if namespace.exists(STATE) else set()
        parts = [each.path for each in namespace.list(address.folder, recursive=True) if is_part(each.path)]
        found = {each.id for each in Uploads(address).open_below(address.folder)}
        assert len(parts) == len(found)
        assert found <= known
        return found

    return look


def test_a_sweep_aborts_what_its_line_has_open(store, begin, seen):
    """Of the main line and of a branch apart; what others have open, elsewhere, stays."""
    main, branch = begin(f"{LOCATION}/data/x y.lance"), begin(f"{LOCATION}/tree/exp/data/x.lance")
    other = begin("datasets/deep/b.lance/data/x.lance")
    assert seen() == {main, branch, other}
    assert store.sweep(LOCATION, [1]) == BYTES
    assert seen() == {branch, other}
    assert store.sweep(store.branch_location(LOCATION, "exp"), [1, 2]) == BYTES
    assert seen() == {other}
    assert store.sweep(LOCATION, [1]) == 0
    assert store.open(LOCATION, 1).num_rows == 1000


@pytest.mark.parametrize("swept", [True, False])
def test_a_dropped_table_leaves_no_upload(store, begin, seen, swept):
    """Nor what the service knew of it."""
    begin(f"{LOCATION}/data/x.lance")
    before = sum(store._place.files(LOCATION).values())
    if swept:
        assert store.sweep(LOCATION, []) == before + BYTES
    else:
        store.drop(LOCATION)
    assert seen() == set()
    assert store._place.files(LOCATION) == {}


def test_parts_are_no_files_of_a_table(store, begin, write):
    """They count neither for what it takes nor for what a removal frees, and are not removed with versions."""
    used, known = store.usage(LOCATION, [1]), store.snapshot(LOCATION, 1, {})
    begin(f"{LOCATION}/data/x.lance")
    assert (store.usage(LOCATION, [1]), store.snapshot(LOCATION, 1, {})) == (used, known)
    assert store.removal(LOCATION, [99]) == store.remove(LOCATION, [99], write()) == 0


def test_an_upload_that_is_gone_is_no_error(alluxio, store, begin):
    """Two that abort at the same time do not disturb each other."""
    begin(f"{LOCATION}/data/x.lance")
    uploads = Uploads(AlluxioAddress.parse(alluxio))
    (found,) = uploads.open_below(f"{store._place.where.folder}/{LOCATION}")
    uploads.abort(found)
    assert uploads.bytes_of(found, store._place.namespace) == 0
    uploads.abort(found)


def test_an_upload_survives_its_proxy(cluster, alluxio, store, begin, seen):
    """A proxy that was restarted still tells of it."""
    id = begin(f"{LOCATION}/data/x.lance")
    cluster.restart("proxy")
    assert seen() == {id}
    store.sweep(LOCATION, [1])
    assert seen() == set()


def test_a_service_that_does_not_answer_is_told():
    """With the command that looks at it."""
    uploads = Uploads(AlluxioAddress.parse(f"alluxio://localhost/x?proxy={Ports.free().proxy}"))
    with pytest.raises(Unavailable, match="alluxio status"):
        uploads.open_below("/x")
