"""Numbers and moments as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from alluxio_lance.cli.human import age, count, duration, rate, read_duration, size, until
from alluxio_lance.errors import InvalidArgument

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (123_456_789, "117.7 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**5, "3.0 PiB"),
        (3000 * 1024**5, "3,000.0 PiB"),
    ],
)
def test_sizes_have_binary_units(number, text):
    """The unit is the largest that leaves a number of at least one; rounding up takes the next."""
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "just now"),
        (-3, "just now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3600, "1 h ago"),
        (86399, "23 h ago"),
        (86400, "1 day ago"),
        (3 * 86400, "3 days ago"),
    ],
)
def test_ages_are_relative_for_a_month(seconds, text):
    """A clock that is a little ahead says just now."""
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_old_moments_are_dates():
    """After a month the date tells more."""
    moment = NOW - timedelta(days=31)
    assert age(moment, NOW) == f"{moment.astimezone():%Y-%m-%d}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "12 ms"), (4.21, "4.2 s"), (60, "1 min 0 s"), (185.4, "3 min 5 s")]
)
def test_durations_take_a_fitting_unit(seconds, text):
    """From milliseconds to minutes."""
    assert duration(seconds) == text


def test_counts_and_rates():
    """Thousands are apart, and a rate is a size per second."""
    assert count(1234567) == "1,234,567"
    assert rate(2048) == "2.0 KiB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "now"),
        (0.5, "now"),
        (59, "in 59 s"),
        (3599, "in 59 min"),
        (7200, "in 2 h"),
        (86400, "in 1 day"),
        (7 * 86400 - 1, "in 7 days"),
        (400 * 86400, "in 400 days"),
    ],
)
def test_moments_to_come_are_relative(seconds, text):
    """What has passed is now; a week that has just begun is seven days."""
    assert until(NOW + timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", timedelta(seconds=30)),
        (" 10 m ", timedelta(minutes=10)),
        ("1.5h", timedelta(minutes=90)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_lengths_of_time_have_a_unit(text, length):
    """As in the rules."""
    assert read_duration("--timeout", text) == length


@pytest.mark.parametrize("text", ["10", "", "m", "ten m", "-1s", "1y", "10min"])
def test_what_is_no_length_of_time_names_the_option(text):
    """And the units that there are."""
    with pytest.raises(InvalidArgument, match=r"--timeout.*30s, 10m"):
        read_duration("--timeout", text)
