"""A catalog, rules, and an OpenID Connect issuer that is a real HTTP server with real keys."""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.lifecycle.ports import Note
from alluxio_lance.lifecycle.rules import RulesBook

_MAKERS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
_FAMILIES = {"RS256": "RSAAlgorithm", "ES256": "ECAlgorithm", "EdDSA": "OKPAlgorithm"}


class LocalIssuer:
    """An issuer on this host: it serves discovery and keys, and signs what it is told."""

    def __init__(self):
        self.keys = {}
        self.requests = []
        self.status = 200
        self.document = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                body = json.dumps(outer.answer(self.path)).encode()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(body)))
                if outer.status in (301, 302):
                    self.send_header("Location", f"{outer.url}/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def answer(self, path):
        """Return the document of a path."""
        if path == "/.well-known/openid-configuration":
            return self.document or {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [jwk for _, jwk in self.keys.values()]}

    def add_key(self, algorithm="ES256"):
        """Make a key and publish it; returns its id."""
        id, private = uuid.uuid4().hex, _MAKERS[algorithm]()
        public = getattr(jwt.algorithms, _FAMILIES[algorithm]).to_jwk(private.public_key(), as_dict=True)
        self.keys[id] = private, {**public, "kid": id, "use": "sig", "alg": algorithm}
        return id

    def sign(self, key, *, headers=None, **claims):
        """Sign claims; the usual ones are there unless they are given as None."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": "alluxio-lance",
            "exp": now + 300,
            "nbf": now - 5,
            "email": "alice@example.org",
            "groups": ["ml", "guests"],
        }
        facts = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        private, jwk = self.keys[key]
        return jwt.encode(facts, private, algorithm=jwk["alg"], headers={"kid": key, **(headers or {})})

    def close(self):
        """Stop listening; a second call does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def issuer():
    """An issuer."""
    issuer = LocalIssuer()
    yield issuer
    issuer.close()


@pytest.fixture
def catalog(tmp_path):
    """A catalog on SQLite."""
    catalog = DatabaseCatalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    yield catalog
    catalog.close()


@pytest.fixture
def book(catalog):
    """The rules over it."""
    return RulesBook(catalog)


@pytest.fixture
def configure(catalog):
    """Set the rules without asking anybody."""

    def configure(text):
        catalog.set_rules(text, revision=None, note=Note(actor="test", origin="", message=""))

    return configure
