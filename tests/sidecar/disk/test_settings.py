"""The settings of the disk tier: sizes and shares, and where it is on by itself."""

from __future__ import annotations

import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.sidecar.settings import Settings, Share

ALLUXIO = "alluxio://localhost:19998/lance?proxy=39999"


@pytest.mark.parametrize(
    ("text", "store", "share"),
    [
        (None, "", 0),
        (None, ALLUXIO, Share(0.1)),
        ("0", ALLUXIO, 0),
        (0, ALLUXIO, 0),
        ("20GiB", "", 20 << 30),
        ("25%", "", Share(0.25)),
    ],
)
def test_budgets_are_sizes_or_shares_of_the_free_disk(tmp_path, text, store, share):
    """Off for tables that lie on this disk anyway, a tenth of it for those in Alluxio."""
    settings = Settings(root=tmp_path, store=store, disk_budget=text)
    assert (settings.disk_share, type(settings.disk_share)) == (share, type(share))


@pytest.mark.parametrize("text", ["", "-1", "many", "0%", "101%", False])
def test_a_budget_that_is_neither_is_refused(text):
    """With examples of what is."""
    with pytest.raises(InvalidArgument, match=r"disk_budget = .*10%|share of the free disk|more than 0"):
        Settings(disk_budget=text)


def test_the_folder_is_in_the_root_unless_told_otherwise(tmp_path, monkeypatch):
    """A fast disk may be mounted elsewhere."""
    assert Settings(root=tmp_path).disk_folder == tmp_path / "disk"
    monkeypatch.setenv("ALLUXIO_LANCE_DISK_DIR", "/nvme/segments")
    assert str(Settings(root=tmp_path).disk_folder) == "/nvme/segments"


def test_the_alluxio_of_plain_files_is_a_known_key(tmp_path, monkeypatch):
    """It stands in the same file, and is read by others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alluxio-lance.toml").write_text('files = "alluxio://localhost:19998/?proxy=39999"\n')
    assert Settings().files == "alluxio://localhost:19998/?proxy=39999"
