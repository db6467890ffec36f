"""A version to judge, and a service to ask."""

import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from alluxio_lance.lifecycle.gates import Case
from alluxio_lance.values import State, Version


def make_version(semver="1.0.0", schema=None, **changes):
    """Describe a version that no table stands behind."""
    values = {
        "type": "datasets",
        "name": "a",
        "semver": semver,
        "version": 1,
        "content_hash": "ab" * 32,
        "state": State.REGISTERED,
        "location": "datasets/a.lance",
        "num_rows": 3,
        "num_bytes": 10,
        "schema": (schema or pa.schema({"x": pa.int64()})).serialize().to_pybytes(),
        "created_at": datetime.now(UTC),
        "created_by": "ann@x",
        "operation": "cd" * 16,
    }
    return Version(**(values | changes))


def make_case(version=None, **changes):
    """Describe a move to production."""
    values = {
        "promotion": "ef" * 16,
        "version": version or make_version(),
        "current": None,
        "labels": {"team": "vision"},
        "origin": "validation",
        "to": "production",
        "reason": "go",
        "requested_by": "ann@x",
    }
    return Case(**(values | changes))


class Service:
    """A real HTTP server that answers as told, and remembers what it was asked."""

    def __init__(self):
        self.answers = []
        self.asked = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.asked.append((self.path, dict(self.headers), body))
                status, answer, headers = service.answers.pop(0)
                if status is None:
                    answer(self)
                    return
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/gate?x=1"

    def will_answer(self, status, answer=b"", **headers):
        """Add an answer; with status None a function that gets the handler."""
        self.answers.append((status, answer, headers))

    def close(self):
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service():
    """Start a service."""
    running = Service()
    yield running
    running.close()


@pytest.fixture
def version():
    """Give the maker of versions."""
    return make_version


@pytest.fixture
def case():
    """Give the maker of cases."""
    return make_case
