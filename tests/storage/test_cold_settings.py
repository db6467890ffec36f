"""Where a node's settings say that the cold tier is, and how an embedded manager finds the same one."""

from __future__ import annotations

import pytest

from alluxio_lance.embedded import open_embedded
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.storage.s3 import S3Bucket


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A working folder without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALLUXIO_LANCE_CONFIG", raising=False)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("endpoint=https://s3.example, region=eu-1", {"endpoint": "https://s3.example", "region": "eu-1"}),
        (
            '{"endpoint": "http://x", "allow_http": true, "retry_timeout": 5}',
            {"endpoint": "http://x", "allow_http": "true", "retry_timeout": "5"},
        ),
        ("secret_access_key=a=b==", {"secret_access_key": "a=b=="}),
    ],
)
def test_options_come_from_the_environment(monkeypatch, text, options):
    """As pairs or as JSON; they are not shown."""
    monkeypatch.setenv("ALLUXIO_LANCE_COLD_OPTIONS", text)
    settings = Settings()
    assert settings.cold_options == options
    assert "cold_options" not in repr(settings)


def test_options_come_from_the_file(tmp_path):
    """As a table."""
    (tmp_path / "alluxio-lance.toml").write_text(
        'cold = "s3://bucket/x"\n[cold_options]\nendpoint = "http://x"\nallow_http = true\n'
    )
    settings = Settings()
    assert settings.cold == "s3://bucket/x"
    assert settings.cold_options == {"endpoint": "http://x", "allow_http": "true"}


@pytest.mark.parametrize("text", ["hush", "hush=,=x", '{"hush": ["a"]}', '{"hush"', '["hush"]'])
def test_wrong_options_are_told_without_their_values(monkeypatch, text):
    """Secrets are among them."""
    monkeypatch.setenv("ALLUXIO_LANCE_COLD_OPTIONS", text)
    with pytest.raises(InvalidArgument, match=r"cold_options = … .*ALLUXIO_LANCE_COLD_OPTIONS") as caught:
        Settings()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "far", "s3://bucket/x"])
def test_an_embedded_manager_has_the_cold_tier_of_the_settings(tmp_path, monkeypatch, address):
    """By default it is in the root folder."""
    if address:
        monkeypatch.setenv("ALLUXIO_LANCE_COLD", address)
    with open_embedded(tmp_path / "root") as manager:
        cold = manager._rooms.store._cold
        if address.startswith("s3:"):
            assert isinstance(cold, S3Bucket)
        else:
            assert cold.root == tmp_path / (address or "root/cold")
