"""The two managers under one name."""

import pytest

import alluxio_lance as al


@pytest.fixture(params=["embedded", "connected"])
def manager(request, tmp_path):
    """Give an embedded manager, and one that is connected to a real sidecar in this process."""
    if request.param == "embedded":
        with al.ResourceManager.embedded(tmp_path / "root") as manager:
            yield manager
        return
    from alluxio_lance.sidecar.server import Sidecar
    from alluxio_lance.sidecar.settings import Settings

    settings = Settings(root=tmp_path / "root", run_dir=tmp_path / "run")
    with Sidecar(settings) as sidecar, al.ResourceManager.connect(sidecar.address.grpc) as manager:
        yield manager
