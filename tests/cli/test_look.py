"""The pieces that tables are made of."""

import pytest

from alluxio_lance.cli.look import meter, version_column


@pytest.mark.parametrize(
    ("parts", "whole", "bar"),
    [
        ([(50, "green")], 100, "█████░░░░░"),
        ([(30, "green"), (70, "yellow")], 100, "██████████"),
        ([(1, "green"), (0, "yellow")], 1000, "█░░░░░░░░░"),
        ([(96, "green"), (96, "yellow")], 100, "██████████"),
        ([], 0, "░░░░░░░░░░"),
        ([(0, "green")], 0, "░░░░░░░░░░"),
    ],
)
def test_a_bar_has_its_width_whatever_it_shows(parts, whole, bar):
    """A part that is there has a character at least; what is too much is cut."""
    assert meter(parts, whole, 10).plain == bar


def test_a_version_with_a_long_branch_flows():
    """Others are never cut."""
    assert version_column("Version", ["1.0.0+3fa9c1d2"]).no_wrap
    assert version_column("Version", []).no_wrap
    assert not version_column("Version", ["1.0.0-a-branch-with-a-long-name.1+3fa9c1d2"]).no_wrap
