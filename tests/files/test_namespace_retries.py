"""Which calls of the namespace are made again when the proxy hangs up, and which may have been done already."""

import socket
import threading

import pytest

from alluxio_lance.errors import Unavailable
from alluxio_lance.files.namespace import Namespace


@pytest.fixture
def rude():
    """A port at which everybody is heard and nobody answered, and how often somebody came."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    heard.append(caller.recv(65536).partition(b"\r\n")[0])

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize(
    ("call", "times"),
    [
        (lambda namespace: namespace.status("/a"), 5),
        (lambda namespace: namespace.free("/a"), 5),
        # Done and not answered, a second one would tell of a path that is not there, or take another one's.
        (lambda namespace: namespace.rename("/a", "/b"), 1),
        (lambda namespace: namespace.mount("/a", "s3://b/", {}), 1),
        (lambda namespace: namespace.unmount("/a"), 1),
    ],
    ids=["status", "free", "rename", "mount", "unmount"],
)
def test_only_what_may_be_done_twice_is_tried_again(rude, call, times):
    """The caller is told in the end that nobody answers, and where."""
    port, heard = rude
    with (
        Namespace("localhost", port) as namespace,
        pytest.raises(Unavailable, match=f"localhost:{port} does not answer"),
    ):
        call(namespace)
    assert len(heard) == times
