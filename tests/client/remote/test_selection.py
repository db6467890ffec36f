"""Rows selected by a real sidecar, on exactly the version that a reader holds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client.lease import Lease
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.client.selection import selected_rows
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import InvalidArgument, NotFound, Unavailable
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.v1 import selection_pb2 as pb
from alluxio_lance.v1.selection_pb2_grpc import SelectionStub


def numbers(rows, start=0):
    """Make a table that tells its rows by their values."""
    return pa.table({"id": np.arange(start, start + rows), "text": [f"s{i % 3}" for i in range(rows)]})


@pytest.fixture
def opened(manager, sidecar):
    """Open a version of 300,000 rows, with one of its two columns."""
    version = manager.register_resource("datasets", "x", numbers(300_000))
    with Table.open(version.uri, ["id"], str(sidecar.address.run_folder)) as table:
        yield table


@pytest.mark.parametrize(
    ("filter", "rows"),
    [
        ("id % 100000 = 7", [7, 100_007, 200_007]),
        ("id < 0", []),
        ("true", range(300_000)),
        ("text = 's1' AND id < 9", [1, 4, 7]),
    ],
)
def test_rows_are_selected(opened, filter, rows):
    """None, some or all; also by a column that was not opened."""
    found = selected_rows(opened, filter)
    assert found.dtype == np.int64
    assert found.tolist() == list(rows)


def test_rows_of_a_stream_are_selected(manager, sidecar):
    """Its lease is one like any other; closed, that is said without asking."""
    uri = manager.register_resource("datasets", "x", numbers(9000)).uri
    with StreamedVersion.open(uri, ["id"], str(sidecar.address.run_folder)) as stream:
        assert selected_rows(stream, "text = 's1' AND id < 9").tolist() == [1, 4, 7]
        with pytest.raises(InvalidArgument, match="nope, which is no column"):
            selected_rows(stream, "nope = 1")
        stream.close()
        with pytest.raises(Unavailable, match="was closed"):
            selected_rows(stream, "id = 1")


def test_a_wrong_filter_comes_home_as_such(opened):
    """With the reason and the columns."""
    with pytest.raises(InvalidArgument, match="nope, which is no column; its columns are id, text"):
        selected_rows(opened, "nope = 1")
    with pytest.raises(InvalidArgument, match="could not convert"):
        selected_rows(opened, "id = 'x'")
    with pytest.raises(InvalidArgument, match=r"expression in SQL.*not 3"):
        selected_rows(opened, 3)


def test_the_version_that_is_open_counts(opened, manager, sidecar):
    """Not the active one: an update, a rollback and another update change nothing for whoever holds the old one."""
    before = selected_rows(opened, "id >= 299998").tolist()
    manager.update_resource("datasets", "x", numbers(10, 299_998), mode="overwrite")
    manager.update_resource("datasets", "x", numbers(20, 299_998))
    manager.rollback_resource("datasets", "x", "1.0.0")
    manager.update_resource("datasets", "x", numbers(5, 299_998))
    assert selected_rows(opened, "id >= 299998").tolist() == before == [299_998, 299_999]
    with Table.open("alluxio://datasets/x@1.1.0", None, str(sidecar.address.run_folder)) as other:
        assert selected_rows(other, "id >= 299998").tolist() == list(range(10))


def test_a_version_with_deleted_rows(opened, manager, sidecar):
    """After an upsert, which deletes the old rows and appends new ones, rows are numbered as they lie in memory."""
    changed = pa.table({"id": [5, 7, 300_000], "text": ["new"] * 3})
    version = manager.update_resource("datasets", "x", changed, mode="upsert", on="id")
    with Table.open(version.uri, None, str(sidecar.address.run_folder)) as table:
        found = selected_rows(table, "text = 'new' OR id = 6")
        assert sorted(table.column("id").array[found].tolist()) == [5, 6, 7, 300_000]
        assert table.rows == 300_001


def test_a_lease_that_has_ended(opened):
    """Closed here: said without asking. Unknown there: the sidecar says so."""
    lease = opened.lease
    stranger = Lease(lease.address, "0" * 32, lease.layout, lease.descriptors, None)
    with pytest.raises(NotFound, match="open the version again"):
        selected_rows(Table(stranger), "id = 1")
    stranger.close()
    opened.close()
    with pytest.raises(Unavailable, match="was closed"):
        selected_rows(opened, "id = 1")


def test_after_a_restart_of_the_sidecar(start):
    """The memory stays readable, and the filter says that the version has to be opened again."""
    node = start()
    with RemoteManager.open(node.address) as manager:
        uri = manager.register_resource("datasets", "x", numbers(100)).uri
    with Table.open(uri, None, str(node.address.run_folder)) as table:
        node.kill()
        with pytest.raises(Unavailable, match="no sidecar answers"):
            selected_rows(table, "id = 1", timeout=1.0)
        start()
        with pytest.raises(NotFound, match="open the version again"):
            selected_rows(table, "id = 1")
        assert table.column("id").array[1] == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take another user's place")
def test_a_lease_of_another_user_is_refused(make_shared):
    """Who may connect may not thereby ask about what somebody else has open."""
    address, token = make_shared
    code = (
        "import os, sys\n"
        "from alluxio_lance.address import Address\n"
        "from alluxio_lance.client.channel import Channel\n"
        "from alluxio_lance.errors import PermissionDenied\n"
        "from alluxio_lance.v1 import selection_pb2 as pb\n"
        "with Channel.connect(Address.find(sys.argv[1])):  # loads all that it needs: nobody may not read the checkout\n"
        "    pass\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "with Channel.connect(Address.find(sys.argv[1])) as channel:\n"
        "    try:\n"
        "        with channel.speaking() as stubs:\n"
        "            list(stubs.selection.Select(pb.SelectRequest(lease=sys.argv[2], filter='id = 1')))\n"
        "    except PermissionDenied as error:\n"
        "        print(error.message)\n"
    )
    # Nobody may not write a coverage file into the checkout.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code, address, token], env=plain, capture_output=True, text=True, check=False
    )
    assert "belongs to root - open the version yourself" in done.stdout, done.stderr


@pytest.fixture
def make_shared():
    """Run a sidecar that serves nobody, too, with a version that this user has open."""
    with tempfile.TemporaryDirectory(prefix="al-") as folder:
        Path(folder).chmod(0o755)
        settings = Settings(root=Path(folder) / "root", run_dir=Path(folder) / "run", allow_users=["nobody"])
        with Sidecar(settings) as sidecar, RemoteManager.open(sidecar.address) as manager:
            uri = manager.register_resource("datasets", "x", numbers(10)).uri
            with Table.open(uri, None, str(sidecar.address.run_folder)) as table:
                yield str(sidecar.address.run_folder), table.lease.token


def test_a_caller_without_a_session_is_refused(opened):
    """The socket alone proves nothing."""
    with grpc.insecure_channel(opened.lease.address.grpc) as plain:
        call = SelectionStub(plain).Select(pb.SelectRequest(lease=opened.lease.token, filter="id = 1"))
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
