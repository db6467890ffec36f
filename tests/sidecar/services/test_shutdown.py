"""A sidecar stops while one of its calls waits for a lock that another node holds."""

import threading
import time
import uuid
from datetime import UTC, datetime

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.client.door import Door
from alluxio_lance.embedded import catalog_url
from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.ports import Operation, Owner
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.values import Verb


def elsewhere():
    """Make an update of datasets/a on another node, which is at work."""
    now = datetime.now(UTC)
    return Operation(
        id=uuid.uuid4().hex,
        verb=Verb.UPDATE,
        type="datasets",
        name="a",
        actor="eve@node-b",
        owner=Owner(node="node-b", boot="other", pid=1, started=1),
        params={},
        created_at=now,
        heartbeat_at=now,
    )


def test_a_stop_does_not_wait_for_other_nodes(tmp_path):
    """The call that waits is told so; what it wanted was not done."""
    failed = []

    def update(manager):
        try:
            manager.update_resource("datasets", "a", pa.table({"id": [2]}))
        except Unavailable as error:
            failed.append(error)

    settings = Settings(root=tmp_path / "root", run_dir=tmp_path / "run")
    (tmp_path / "root").mkdir()
    with DatabaseCatalog.open(catalog_url(tmp_path / "root")) as catalog:
        with Sidecar(settings) as sidecar, al.ResourceManager.connect(sidecar.address.grpc) as manager:
            manager.register_resource("datasets", "a", pa.table({"id": [1]}))
            theirs = catalog.begin(elsewhere())
            assert catalog.try_lock("datasets", "a", theirs.id, 600) is None
            waiting = threading.Thread(target=update, args=(manager,))
            waiting.start()
            deadline = time.monotonic() + 20
            while len(catalog.open_operations()) < 2:
                assert time.monotonic() < deadline
            began = time.monotonic()
            sidecar.close()
            assert time.monotonic() - began < 20
            waiting.join(20)
        assert len(failed) == 1
        assert [version.semver for version in catalog.versions("datasets", "a")] == ["1.0.0"]
        assert [operation.id for operation in catalog.open_operations()] == [theirs.id]


def test_readers_are_let_go_before_the_memory(tmp_path, monkeypatch):
    """What was promised to one is never sent later, when the number of its descriptor may be another file's."""
    refusals = []
    settings = Settings(root=tmp_path / "root", run_dir=tmp_path / "run")
    with Sidecar(settings) as sidecar, Door.connect(sidecar.address) as door:
        plain = sidecar.residency.close

        def close():
            with pytest.raises(Unavailable, match="has gone") as refusal:
                door.attach("0" * 32)
            refusals.append(refusal)
            plain()

        monkeypatch.setattr(sidecar.residency, "close", close)
        sidecar.close()
    assert refusals
