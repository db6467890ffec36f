"""Hooks: who is told what and when; that nobody waits for them; and that none is started without need."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import AlreadyExists, NotFound
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.hooks import Notifier, lines, notifier, telling
from alluxio_lance.lifecycle.rules.document import RuleSet
from alluxio_lance.values import Verb

ANN = Identity(actor="ann@x", roles=("admin",), method="embedded", origin="here")


class Book:
    """Rules that stand in no catalog."""

    def __init__(self, *hooks):
        self._rules = RuleSet.model_validate({"hooks": list(hooks)})

    def current(self):
        return self._rules


def python_hook(**options):
    """Describe a hook that calls a function."""
    return {"name": "h", "kind": "python", "function": "told", **options}


class Told:
    """A function that is installed as an entry point, which a test cannot install; it remembers and can be held up."""

    def __init__(self, monkeypatch):
        self.news = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.error = None
        monkeypatch.setattr(telling, "installed", lambda *_, **__: self)

    def __call__(self, news):
        self.may_go.wait(30)
        self.news.append(news)
        if self.error:
            raise self.error


@pytest.fixture
def told(monkeypatch):
    """Give the function."""
    return Told(monkeypatch)


def until(condition):
    """Wait until something holds, 10 s at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def announce(one, verb=Verb.UPDATE, name="a"):
    """Tell of a verb, before and after."""
    one.before(verb, "datasets", name, ANN, message="why")
    one.after(verb, "datasets", name, ANN, message="why", semver="1.0.0", error=None)


def opened(*hooks):
    """Open a notifier over rules; no labels are asked for, so no catalog is."""
    return Notifier(Book(*hooks), None)


def test_after(told):
    """The news say who did what, to what, and how it ended; they come in order."""
    one = opened(python_hook())
    announce(one)
    announce(one, Verb.DELETE)
    one.close()
    assert [each["verb"] for each in told.news] == ["update", "delete"]
    first = told.news[0]
    assert {key: first[key] for key in ("hook", "when", "type", "name", "actor", "message", "version", "error")} == {
        "hook": "h",
        "when": "after",
        "type": "datasets",
        "name": "a",
        "actor": "ann@x",
        "message": "why",
        "version": "1.0.0",
        "error": None,
    }
    assert one.statistics() == notifier.NotifierStatistics(waiting=0, delivered=2, failed=0, dropped=0, hooks=1)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"when": "before"}, 1),
        ({"verbs": ["delete"]}, 0),
        ({"verbs": ["update"]}, 1),
        ({"names": ["b*"]}, 0),
        ({"types": ["models"]}, 0),
    ],
)
def test_who_is_told(told, options, count):
    """A hook is told of its verbs, before or after, about what its scope covers."""
    one = opened(python_hook(**options))
    announce(one)
    one.close()
    assert len(told.news) == count


def test_nothing_runs_without_hooks():
    """Without a hook in the rules there is no thread."""
    before = threading.active_count()
    one = opened()
    announce(one)
    assert threading.active_count() == before
    assert one.statistics().hooks == 0
    one.close()
    one.close()


def test_a_slow_hook_keeps_nobody_waiting(told):
    """Neither who works nor another hook waits for one that is slow; what is too much is dropped and counted."""
    told.may_go.clear()
    one = opened(python_hook(), python_hook(name="command", kind="command", command=["true"]))
    begun = time.monotonic()
    for _ in range(lines._LONGEST + 50):
        one.after(Verb.TAG, "datasets", "a", ANN, message="", semver=None, error=None)
    assert time.monotonic() - begun < 5
    until(lambda: one.statistics().delivered >= 1)  # the other one
    dropped = one.statistics().dropped
    assert dropped >= 49
    told.may_go.set()
    one.close()


def test_close_is_bounded(told, monkeypatch):
    """The end waits for a short while only; what was not told by then is counted as dropped, and what comes later too."""
    monkeypatch.setattr(notifier, "_PATIENCE", 0.1)
    told.may_go.clear()
    one = opened(python_hook())
    for _ in range(3):
        announce(one)
    until(lambda: one.statistics().waiting == 3)
    begun = time.monotonic()
    one.close()
    assert time.monotonic() - begun < 2
    assert one.statistics().dropped >= 2
    announce(one)
    assert one.statistics().dropped >= 3
    told.may_go.set()
    until(lambda: one.statistics().waiting == 0)


def test_a_new_hook_after_the_end(told):
    """Who is told for the first time after the end is not told."""
    one = opened(python_hook())
    one.close()
    announce(one)
    assert one.statistics().dropped == 1
    assert told.news == []


def test_errors_are_counted(told):
    """A hook that raises is counted, and told the next time again."""
    told.error = ValueError("boom")
    one = opened(python_hook())
    announce(one)
    announce(one)
    until(lambda: one.statistics().failed == 2)
    one.close()


def test_telling_never_raises(monkeypatch, told):
    """Whatever happens on the way, the verb goes on; a fault of the house itself ends no thread."""
    one = opened(python_hook())
    monkeypatch.setattr(one, "_book", None)
    announce(one)
    one.close()
    two = opened(python_hook())
    monkeypatch.setattr(lines, "tell", lambda *_: 1 / 0)
    announce(two)
    announce(two)
    until(lambda: two.statistics().failed == 2)
    two.close()


def test_a_function_that_takes_too_long(told):
    """It is given up."""
    told.may_go.clear()
    one = opened(python_hook(timeout="0.1s"))
    announce(one)
    until(lambda: one.statistics().failed == 1)
    told.may_go.set()
    one.close()


@pytest.mark.parametrize(
    ("command", "delivered"),
    [(["true"], 1), (["false"], 0), (["/no/such"], 0), (["sleep", "60"], 0)],
)
def test_commands(command, delivered):
    """A program is told on its standard input, within limits, and its exit code says whether it took it."""
    one = opened({"name": "h", "kind": "command", "command": command, "timeout": "1s" if "sleep" in command else "60s"})
    announce(one)
    until(lambda: one.statistics().delivered + one.statistics().failed == 1)
    assert one.statistics().delivered == delivered
    one.close()


def test_webhook():
    """A service gets the news as JSON; while the end waits nothing is tried again."""
    asked, answers = [], [204]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop(0) if answers else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        one = opened({"name": "h", "kind": "webhook", "url": url, "allow_private": True, "retries": 9})
        announce(one)
        until(lambda: one.statistics().delivered == 1)
        announce(one)
        until(lambda: len(asked) >= 2)
        one.close()
        server.shutdown()
        thread.join()
    assert asked[0]["verb"] == "update"
    assert one.statistics().failed == 1


def test_in_a_manager(tmp_path, told):
    """Every verb is told before and after, with the error when there is one; labels limit a hook too."""
    rules = """
        [[hooks]]
        name = "all"
        kind = "python"
        function = "told"
        [[hooks]]
        name = "early"
        when = "before"
        kind = "python"
        function = "told"
        [[hooks]]
        name = "vision"
        kind = "python"
        function = "told"
        labels = {team = "vision"}
    """
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.set_rules(rules)
        manager.register_resource("datasets", "a", pa.table({"x": [1]}), message="first")
        manager.label_resource("datasets", "a", {"team": "vision"})
        with pytest.raises(NotFound):
            manager.deprecate_resource("datasets", "a", "9.9.9")
        with pytest.raises(AlreadyExists):
            manager.register_resource("datasets", "a", pa.table({"x": [1]}), request_id="r")
    by_hook = {name: [each for each in told.news if each["hook"] == name] for name in ("all", "early", "vision")}
    assert [(each["verb"], each["error"] is None) for each in by_hook["all"] if each["verb"] != "configure"] == [
        ("register", True),
        ("label", True),
        ("deprecate", False),
        ("register", False),
    ]
    assert by_hook["all"][-4]["message"] == "first"
    assert {"register", "label", "deprecate"} <= {each["verb"] for each in by_hook["early"]}
    assert [each["verb"] for each in by_hook["vision"]] == ["label", "deprecate", "register"]
