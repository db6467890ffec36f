"""The one tree of errors and its table of codes."""

import pickle

import grpc
import pytest

from alluxio_lance import errors

TABLE = [
    ("InvalidURI", "INVALID_ARGUMENT", 400, 2),
    ("InvalidArgument", "INVALID_ARGUMENT", 400, 2),
    ("NotFound", "NOT_FOUND", 404, 4),
    ("AlreadyExists", "ALREADY_EXISTS", 409, 5),
    ("Conflict", "ABORTED", 409, 5),
    ("NotActive", "FAILED_PRECONDITION", 409, 3),
    ("Restoring", "UNAVAILABLE", 503, 1),
    ("Leased", "FAILED_PRECONDITION", 409, 3),
    ("PolicyDenied", "FAILED_PRECONDITION", 403, 3),
    ("PermissionDenied", "PERMISSION_DENIED", 403, 3),
    ("NoSpace", "RESOURCE_EXHAUSTED", 507, 1),
    ("Unavailable", "UNAVAILABLE", 503, 1),
    ("Corrupt", "DATA_LOSS", 500, 1),
    ("Internal", "INTERNAL", 500, 1),
]


@pytest.mark.parametrize(("name", "status", "http", "exit_code"), TABLE)
def test_an_error_has_its_codes_and_survives_wire_and_pickle(name, status, http, exit_code):
    """Class, sentence and details arrive on the other side, of gRPC and of a worker's queue."""
    kind = getattr(errors, name)
    assert (kind.grpc, kind.http, kind.exit_code) == (status, http, exit_code)
    assert hasattr(grpc.StatusCode, status)
    error = kind("what, where, what to do", need=7, names=["a"])
    for copy in (errors.from_wire(errors.to_wire(error)), pickle.loads(pickle.dumps(error))):
        assert type(copy) is kind
        assert copy.message == str(copy) == "what, where, what to do"
        assert copy.details == {"need": 7, "names": ["a"]}


def test_the_table_is_complete():
    """No error of the tree is missing above."""
    kinds = {kind.__name__ for kind in errors.AlluxioLanceError.__subclasses__()}
    assert kinds == {row[0] for row in TABLE}


def test_a_foreign_exception_becomes_internal_on_the_wire():
    """A bug arrives as Internal with its own words, and an unknown kind keeps its sentence."""
    arrived = errors.from_wire(errors.to_wire(ZeroDivisionError("division by zero")))
    assert isinstance(arrived, errors.Internal)
    assert "ZeroDivisionError: division by zero" in arrived.message
    newer = errors.from_wire(b'{"kind": "FromTheFuture", "message": "m", "details": {}}')
    assert type(newer) is errors.Internal
    assert newer.message == "m"
