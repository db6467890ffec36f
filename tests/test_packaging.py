"""What an import brings with it, and what it must not."""

import subprocess
import sys

import pytest

FOLDERS = ["proto", "lifecycle", "catalog", "storage", "sidecar", "client", "frameworks", "cli", "bench"]
SERVER = ["lance", "sqlalchemy", "alembic", "pydantic", "structlog"]


def modules_after(statement):
    """Return the names in sys.modules of a fresh process after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import alluxio_lance", [*SERVER, "grpc", "torch", "tensorflow"]),
        ("import alluxio_lance.client.manager", [*SERVER, "torch", "tensorflow"]),
        pytest.param("import alluxio.torch", [*SERVER, "grpc", "tensorflow"], marks=pytest.mark.torch),
        pytest.param("import alluxio.tf", [*SERVER, "torch"], marks=pytest.mark.tf),
        ("import alluxio_lance.sidecar.server", ["torch", "tensorflow"]),
        ("import alluxio_lance.cli.entry", ["lance", "sqlalchemy", "grpc", "torch", "tensorflow"]),
    ],
)
def test_an_import_loads_what_it_needs_and_no_more(statement, absent):
    """Training processes load no database, servers no framework; and no folder of the checkout is a module by itself."""
    loaded = modules_after(statement)
    assert not loaded & set(absent)
    assert not loaded & set(FOLDERS)


@pytest.mark.torch
def test_the_door_and_the_room_are_one_class():
    """alluxio.torch.Dataset is not a second copy of the class."""
    import alluxio.torch
    from alluxio_lance.frameworks.torch import Dataset

    assert alluxio.torch.Dataset is Dataset


def test_the_package_alluxio_of_pypi_keeps_working():
    """Our doors live beside the REST client, they do not replace it."""
    import alluxio

    assert hasattr(alluxio, "Client")
