"""Who may do what: tokens, and what one of a viewer opens."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from alluxio_lance.cli.app import application
from alluxio_lance.cli.demo.system import System

RULES = Path(__file__).parent.parent.parent / "examples" / "rules.toml"
TOKEN = "ALLUXIO_LANCE_TOKEN"
NAME = "datasets/guarded/rows"
MODEL = "models/guarded/weights"

LOOKING = [
    ("list",),
    ("list", "--deleted"),
    ("show", NAME),
    ("show", NAME, "--storage"),
    ("history", NAME),
    ("promotions",),
    ("promotions", NAME),
    ("policy", "plan"),
    ("rules", "show"),
    ("whoami",),
    ("token", "list"),
    ("cache", "status"),
    ("cache", "explain", NAME),
    ("model", "show", MODEL),
    ("model", "diff", MODEL, "1.0.0", "1.1.0"),
    ("model", "verify", MODEL),
    ("model", "load", MODEL, "OUT"),
]
"""What a viewer may do."""
CHANGING = [
    ("register", "datasets/guarded/new", "FILE"),
    ("update", NAME, "FILE"),
    ("branch", NAME, "other"),
    ("merge", NAME, "exp"),
    ("unbranch", NAME, "exp"),
    ("activate", f"{NAME}@1.0.0"),
    ("deprecate", f"{NAME}@1.0.0"),
    ("rollback", NAME),
    ("tag", f"{NAME}@1.0.0", "mine"),
    ("untag", NAME, "best"),
    ("label", NAME, "team=mine"),
    ("measure", NAME, "accuracy=1"),
    ("promote", f"{NAME}@1.0.0", "validation"),
    ("approve", "WAITING"),
    ("reject", "WAITING"),
    ("alert", "ALERT"),
    ("archive", f"{NAME}@1.0.0"),
    ("restore", f"{NAME}@1.1.0"),
    ("delete", NAME, "--yes"),
    ("delete", f"{NAME}@1.0.0", "--yes", "--force"),
    ("undelete", "datasets/guarded/gone"),
    ("purge", "datasets/guarded/gone", "--yes"),
    ("policy", "run"),
    ("rules", "set", "RULES"),
    ("rules", "edit"),
    ("token", "create", "mine", "--role", "viewer"),
    ("token", "revoke", "OTHER"),
    ("reconcile",),
    ("cache", "prefetch", NAME),
    ("cache", "evict", NAME),
    ("cache", "load", NAME),
    ("cache", "free", f"{NAME}@1.0.0"),
    ("model", "save", MODEL, "WEIGHTS"),
    ("model", "sign", MODEL, "--key", "KEY"),
]
"""What a viewer may not."""
ELSEWHERE = {
    "up", "demo", "doctor", "bench", "rules check", "rules default",
    "catalog upgrade", "catalog check", "audit verify", "audit export",
    "mount", "unmount", "alluxio up", "alluxio down", "alluxio status", "model key",
}  # fmt: skip
"""What asks no manager: it starts something of its own, works on a file, or on a database by its URL."""


def leaves(command, path=()):
    """Yield the words of every command that does something."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path)
    for name, each in (below or {}).items():
        yield from leaves(each, (*path, name))


def words_of(row):
    """Return the words of a row that name its command."""
    groups = ("cache", "model", "policy", "rules", "token")
    return " ".join(row[: 2 if row[0] in groups else 1])


def test_the_tables_name_every_command():
    """A new command has to say on which side it is."""
    assert {words_of(row) for row in (*LOOKING, *CHANGING)} | ELSEWHERE == set(leaves(get_command(application)))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Give a system with a resource of everything, what its rows are called, and the token of a viewer."""
    from .conftest import Command, write_rows

    folder = tmp_path_factory.mktemp("guarded")
    first, more = write_rows(folder / "first.parquet", 0, 100), write_rows(folder / "more.parquet", 100, 20)
    alert = folder / "alert.json"
    alert.write_text(
        json.dumps({"alerts": [{"status": "firing", "labels": {"resource": NAME, "severity": "critical"}}]})
    )
    waiting = folder / "waiting.toml"
    waiting.write_text('[[gates]]\nname = "eyes"\nkind = "approval"\non = ["* -> production"]\n')
    with System(folder / "root", folder / "run", folder / "up.log") as system:
        system.wait_until_ready()
        admin = Command(["--address", system.address.grpc])
        admin("rules", "set", waiting)
        admin("register", NAME, first)
        admin("update", NAME, more)
        admin("branch", NAME, "exp")
        admin("tag", f"{NAME}@1.0.0", "best")
        admin("register", "datasets/guarded/gone", first)
        admin("delete", "datasets/guarded/gone", "--yes")
        admin("promote", f"{NAME}@1.1.0", "validation")
        admin("promote", f"{NAME}@1.1.0", "production", code=3)
        (promotion,) = admin.json("promotions", "--state", "waiting")["promotions"]
        for value in (1.0, 2.0):
            np.savez(folder / "weights.npz", w=np.full(4, value))
            admin("model", "save", MODEL, folder / "weights.npz")
        admin("model", "key", folder / "key")
        other = admin.json("token", "create", "other", "--role", "viewer")["token"]["id"]
        made = admin.json("token", "create", "eve", "--role", "viewer", "--lifetime", "1h")
        known = {
            "FILE": str(more),
            "ALERT": str(alert),
            "RULES": str(RULES),
            "WAITING": promotion["id"],
            "OTHER": other,
            "WEIGHTS": str(folder / "weights.npz"),
            "KEY": str(folder / "key"),
            "OUT": str(folder / "out.safetensors"),
        }
        yield admin, made["secret"], known, folder / "root" / "catalog.db"


def everything(database):
    """Return what the catalog holds, but for its audit rows, clocks and counters."""
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = {
            table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}")))
            for table in tables
            if table in {"resources", "versions", "tags", "labels", "branches", "promotions", "rules", "metrics"}
        }
    connection.close()
    assert {"resources", "versions", "promotions"} <= set(kept)
    return kept


@pytest.mark.parametrize("row", LOOKING, ids=" ".join)
def test_a_viewer_may_look(guarded, row):
    """Exit code 0, with the token in the environment."""
    admin, secret, known, _ = guarded
    words = [known.get(word, word) for word in row]
    assert json.loads(admin(*words, "--json", env={TOKEN: secret}).stdout) is not None


@pytest.mark.parametrize("row", CHANGING, ids=" ".join)
def test_a_viewer_may_change_nothing(guarded, row):
    """Exit code 3 and one sentence; the catalog is as before; the admin may, so it is the token that decides."""
    admin, secret, known, database = guarded
    before = everything(database)
    env = {TOKEN: secret, "EDITOR": "sh -c 'echo \"# changed\" >> $0'"}
    result = admin(*[known.get(word, word) for word in row], code=3, env=env)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "viewer" in result.stderr
    assert secret not in result.stderr
    assert everything(database) == before


def test_denied_calls_are_in_the_audit_trail(guarded):
    """With who and from where, and never with the token."""
    admin, secret, _, database = guarded
    admin("deprecate", f"{NAME}@1.0.0", code=3, env={TOKEN: secret})
    exported = type(admin)([])("audit", "export", "--catalog", f"sqlite:///{database}").stdout
    last = json.loads(exported.splitlines()[-1])
    assert (last["verb"], last["outcome"], last["actor"]) == ("deprecate", "denied", "token:eve")
    assert last["origin"].startswith("unix:pid=")
    assert secret not in exported


def test_the_option_is_as_good_as_the_variable(guarded, process):
    """And stands before the command."""
    admin, secret, _, _ = guarded
    done = process(*admin.options, "--token", secret, "whoami", "--json")
    assert json.loads(done.stdout)["actor"] == "token:eve"
    assert json.loads(done.stdout)["roles"] == ["viewer"]
    assert "admin" in admin("whoami").stdout


def test_a_token_is_shown_once_and_ends_when_it_is_revoked(guarded):
    """The list has no secret, and what was revoked opens nothing."""
    admin, _, _, _ = guarded
    shown = admin("token", "create", "ci", "--role", "developer", "--role", "viewer", "--lifetime", "30d").stdout
    secret = next(line.split()[1] for line in shown.splitlines() if line.split()[:1] == ["token"])
    assert "expires  in 30 days" in shown
    id = next(line.split()[2] for line in shown.splitlines() if line.startswith("made token"))
    listed = admin("token", "list").stdout
    assert id in listed
    assert "developer, viewer" in listed
    assert secret not in listed
    assert "token:ci" in admin("whoami", env={TOKEN: secret}).stdout
    assert f"revoked token {id} of ci" in admin("token", "revoke", id, "-m", "lost").stdout
    refused = admin("whoami", code=3, env={TOKEN: secret})
    assert secret not in refused.stderr
    (token,) = [each for each in admin.json("token", "list")["tokens"] if each["id"] == id]
    assert token["revoked_at"] is not None
    assert admin.json("token", "revoke", id)["token"]["id"] == id


@pytest.mark.parametrize(
    ("options", "words", "code", "says"),
    [
        (["--token", "x", "--embedded", "/tmp/none"], ["list"], 2, "--token is for a sidecar"),
        ([], ["token", "create", "ci"], 2, "a token needs a role"),
        ([], ["token", "create", "ci", "--role", "viewer", "--lifetime", "soon"], 2, "--lifetime 'soon'"),
        ([], ["token", "create", "ci", "--role", "emperor"], 2, "emperor"),
        ([], ["token", "revoke", "none"], 4, "none"),
    ],
)
def test_wrong_usage_of_tokens(guarded, options, words, code, says):
    """One sentence each, before anything is made."""
    admin, _, _, _ = guarded
    command = type(admin)(options or admin.options)
    assert says in command(*words, code=code).stderr


def test_a_folder_without_tokens_says_how_to_make_one(embedded):
    """Its user is admin."""
    assert "token create NAME --role ROLE" in embedded("token", "list").stdout
    assert "admin" in embedded("whoami").stdout
    assert embedded.json("whoami")["method"] == "embedded"
