"""The HTTP side of a model server, for any framework: Python's own server, with a thread for each connection.

::

    POST /predict   {"pixels": [[64 numbers from 0 to 16], …]}   →   {"version": "1.1.0", "digits": […], "logits": [[…], …]}
    GET  /version   what is served and what was done
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.models.watching import ModelWatcher, OnSwap, Swap

__all__ = ["PIXELS", "Server", "serve"]

PIXELS = 64
_MOST_BYTES = 1 << 20
_LONGEST_NUMBER = 20

Pixels = npt.NDArray[np.float32]
Predict = Callable[[Any, Pixels], npt.NDArray[Any]]
"""Asks a model about ``[N, 64]`` pixels and gives ``[N, 10]`` logits."""


class Server(ThreadingHTTPServer):
    """A server whose answers are each of one version."""

    def __init__(self, port: int, watcher: ModelWatcher[Any], predict: Predict) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.watcher = watcher
        self._predict = predict

    def predict(self, pixels: Pixels) -> dict[str, Any]:
        """Answer with the version that serves now: a swap meanwhile changes nothing of this answer."""
        with self.watcher.use() as served:
            logits = self._predict(served.model, pixels)
            version = served.layout.semver
        return {"version": version, "digits": logits.argmax(1).tolist(), "logits": logits.tolist()}


class Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers, both JSON."""

    server: Server
    protocol_version = "HTTP/1.1"
    # An answer goes out as one packet, at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer what is asked of the network."""
        said = self.headers.get("Content-Length", "")
        length = int(said) if said.isdecimal() and len(said) <= _LONGEST_NUMBER else 0
        if not 0 < length <= _MOST_BYTES:
            # The rest of it would be taken for the next request.
            self.close_connection = True
            self.answer(413, {"error": f"a request has 1 to {_MOST_BYTES} bytes and says how many"})
            return
        text = self.rfile.read(length)
        if self.path != "/predict":
            self.answer(404, {"error": "ask POST /predict or GET /version"})
            return
        try:
            pixels = np.asarray(json.loads(text)["pixels"], np.float32).reshape(-1, PIXELS)
        except (ValueError, TypeError, KeyError, OverflowError):
            self.answer(400, {"error": f'send {{"pixels": [[{PIXELS} numbers], …]}}'})
            return
        self.answer(200, self.server.predict(pixels))

    def do_GET(self) -> None:
        """Say what is served."""
        if self.path == "/version":
            self.answer(200, asdict(self.server.watcher.statistics()))
        else:
            self.answer(404, {"error": "ask POST /predict or GET /version"})

    def answer(self, status: int, what: dict[str, Any]) -> None:
        """Send JSON."""
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write no line for each request."""


def serve(watch: Callable[[str, OnSwap], ModelWatcher[Any]], predict: Predict) -> None:
    """Serve the model of the command line until SIGTERM or Ctrl-C.

    Parameters
    ----------
    watch
        Makes the watcher of a URI, which calls a function after each swap.
    """
    parser = argparse.ArgumentParser(description="Serve the active version of the digits network over HTTP.")
    parser.add_argument("uri", help="alluxio://models/NAME")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    given = parser.parse_args()
    with watch(given.uri, report) as watcher, Server(given.port, watcher, predict) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            # `shutdown` waits for the loop that the handler interrupts, hence a thread.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        say(f"{watcher.statistics().semver} on port {server.server_port}")
        server.serve_forever()


def report(swap: Swap) -> None:
    """Say that another version serves."""
    say(f"{swap.before} -> {swap.semver}")


def say(text: str) -> None:
    """Write a line at once."""
    print(text, flush=True)  # noqa: T201 - an example
