"""Settings: where they come from, which one wins, and what a bad one is told."""

from pathlib import Path

import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.sidecar.settings import Settings, Share


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder to work in, and a home without settings."""
    for name in ("CONFIG", "ROOT", "RUN_DIR", "CATALOG", "NODE", "PREFETCH", "ALLOW_USERS", "MEMORY_BUDGET"):
        monkeypatch.delenv(f"ALLUXIO_LANCE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_everything_has_a_default_for_a_laptop(place):
    """Catalog and tables in the user's own folder."""
    settings = Settings()
    assert settings.root == place / "home/.local/share/alluxio-lance"
    assert settings.catalog_url == f"sqlite:///{settings.root}/catalog.db"
    assert (settings.memory_budget, settings.keep_previous, settings.prefetch) == (None, 1, "active")
    assert settings.node
    assert settings.allow_users == ()


def test_arguments_win_over_the_environment_and_that_over_the_file(place, monkeypatch):
    """Each key by itself."""
    (place / "alluxio-lance.toml").write_text("node = 'file'\nkeep_previous = 3\nlease_ttl = 7\n")
    monkeypatch.setenv("ALLUXIO_LANCE_NODE", "environment")
    monkeypatch.setenv("ALLUXIO_LANCE_KEEP_PREVIOUS", "2")
    settings = Settings(node="argument")
    assert (settings.node, settings.keep_previous, settings.lease_ttl) == ("argument", 2, 7)


def test_the_file_is_looked_for_in_three_places(place, monkeypatch):
    """The one that is named, the one here, the one at home."""
    home = place / "home/.config/alluxio-lance"
    home.mkdir(parents=True)
    (home / "alluxio-lance.toml").write_text("node = 'home'")
    assert Settings().node == "home"
    (place / "alluxio-lance.toml").write_text("node = 'here'")
    assert Settings().node == "here"
    (place / "other.toml").write_text("node = 'named'")
    monkeypatch.setenv("ALLUXIO_LANCE_CONFIG", "other.toml")
    assert Settings().node == "named"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1000", 1000),
        ("1 KiB", 1024),
        ("4GiB", 4 << 30),
        ("4gib", 4 << 30),
        ("2GB", 2_000_000_000),
        ("1.5MiB", 3 << 19),
        ("60%", Share(0.6)),
        ("100 %", Share(1.0)),
        (4096, 4096),
        (Share(0.5), Share(0.5)),
        (None, None),
    ],
)
def test_budgets_are_sizes_or_shares(text, value):
    """With units of 1024 and of 1000."""
    found = Settings(memory_budget=text).memory_budget
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "4XB", "0%", "101%", "1e9", True])
def test_a_budget_that_is_neither_is_refused(text):
    """With examples of what is."""
    with pytest.raises(InvalidArgument, match=r"memory_budget = .*argument.*60%|share of the memory|more than 0"):
        Settings(memory_budget=text)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("keep_previous", "-1", "greater than or equal to 0"),
        ("keep_previous", "x", "valid integer"),
        ("prefetch", "all", "'active' or 'none'"),
        ("lease_ttl", "0", "greater than"),
        ("lease_pending", "0", "greater than"),
        ("shard_bytes", "huge", "512MiB"),
        ("node", "", "at least 1"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_where_it_was_read(place, monkeypatch, key, value, why):
    """In the environment, in the file, in the call."""
    with pytest.raises(InvalidArgument, match=rf"^{key} = .*an argument.*{why}"):
        Settings(**{key: value})
    monkeypatch.setenv(f"ALLUXIO_LANCE_{key.upper()}", value)
    with pytest.raises(InvalidArgument, match=rf"^{key} = .*ALLUXIO_LANCE_{key.upper()}.*{why}") as caught:
        Settings()
    assert caught.value.details == {"key": key}
    monkeypatch.delenv(f"ALLUXIO_LANCE_{key.upper()}")
    (place / "alluxio-lance.toml").write_text(f"{key} = '{value}'")
    with pytest.raises(InvalidArgument, match=rf"^{key} = .*{place}/alluxio-lance.toml.*{why}"):
        Settings()


def test_a_key_that_there_is_none_of_is_refused(place):
    """A misspelt one would be left out in silence."""
    (place / "alluxio-lance.toml").write_text("keep_prevoius = 1")
    with pytest.raises(InvalidArgument, match=r"'keep_prevoius'.*the keys are allow_users"):
        Settings()
    (place / "alluxio-lance.toml").unlink()
    with pytest.raises(InvalidArgument, match="an argument has a key 'nodes'"):
        Settings(nodes=1)


@pytest.mark.parametrize(("content", "why"), [(b"[[", "is no TOML"), (b"\xff", "is no TOML"), (None, "cannot be read")])
def test_a_file_that_cannot_be_read_is_named(place, content, why, monkeypatch):
    """With the reason."""
    file = place / "alluxio-lance.toml"
    file.write_bytes(content or b"")
    if content is None:
        monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError(13, "Permission denied")))
    with pytest.raises(InvalidArgument, match=rf"alluxio-lance\.toml {why}"):
        Settings()


def test_a_named_file_that_is_missing_is_said_so(monkeypatch):
    """Its defaults would be a surprise."""
    monkeypatch.setenv("ALLUXIO_LANCE_CONFIG", "/no/such.toml")
    with pytest.raises(InvalidArgument, match=r"ALLUXIO_LANCE_CONFIG names /no/such\.toml"):
        Settings()


def test_users_are_a_list_or_a_text_with_commas(monkeypatch):
    """As the environment and the file have them."""
    assert Settings(allow_users=["a", "b"]).allow_users == ("a", "b")
    monkeypatch.setenv("ALLUXIO_LANCE_ALLOW_USERS", "a, b,")
    assert Settings().allow_users == ("a", "b")
