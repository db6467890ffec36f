"""Stages and gates as a pipeline and its people use them: the command as processes, on a running system of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from alluxio_lance.cli.app import application
from alluxio_lance.cli.demo.system import System

RULES = """
[[gates]]
name = "good-enough"
kind = "expectation"
on = ["* -> production"]
names = ["measured/*"]
require = ["metrics.accuracy >= 0.92"]

[[gates]]
name = "four-eyes"
kind = "approval"
on = ["validation -> production"]
names = ["careful/*"]
role = "releaser"

[[gates]]
name = "at-the-pointer"
kind = "expectation"
on = ["activate"]
names = ["pointed/*"]
require = ["metrics.accuracy >= 0.5"]

[[automations]]
name = "back"
names = ["measured/*"]
on = "alert"
when = "alert.labels.severity == 'critical'"
do = "rollback"
"""
ENTRY = str(Path(sys.executable).parent / "alluxio-lance")


class Person:
    """Somebody at a shell: the user of the node, or who has a token.

    What is called runs in this process, which is quicker; `shell` and `start` run the real command.
    """

    def __init__(self, address, token=""):
        self.address = address
        self._own = {"ALLUXIO_LANCE_ADDRESS": address, "ALLUXIO_LANCE_TOKEN": token, "COLUMNS": "100"}

    def start(self, *words):
        """Start the command, and leave it running."""
        environment, pipe = os.environ | self._own, subprocess.PIPE
        return subprocess.Popen([ENTRY, *map(str, words)], env=environment, stdout=pipe, stderr=pipe, text=True)

    def shell(self, *words, code=0):
        """Run the real command, check its exit code, and return what it printed."""
        started = self.start(*words)
        try:
            stdout, stderr = started.communicate(timeout=120)
        finally:
            started.kill()
            started.wait()
        assert started.returncode == code, (words, started.returncode, stdout, stderr)
        return SimpleNamespace(stdout=stdout, stderr=stderr)

    def __call__(self, *words, code=0, **how):
        """Run the command, check its exit code, and return what it printed."""
        result = CliRunner().invoke(application, [*map(str, words)], env=self._own, **how)
        assert result.exit_code == code, (words, result.exit_code, result.stdout, result.stderr)
        return result

    def json(self, *words):
        """Run it with ``--json`` and return the document."""
        return json.loads(self(*words, "--json").stdout)


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    """Give the node's user on a system with the rules above."""
    folder = tmp_path_factory.mktemp("governed")
    file = folder / "rules.toml"
    file.write_text(RULES)
    with System(folder / "root", folder / "run", folder / "up.log") as system:
        system.wait_until_ready()
        person = Person(system.address.grpc)
        person("rules", "set", file, "-m", "for the tests")
        yield person


@pytest.fixture(scope="module")
def releaser(admin):
    """Give somebody else, who has the role releaser."""
    secret = admin.json("token", "create", "bob", "--role", "releaser", "--lifetime", "1h")["secret"]
    return Person(admin.address, secret)


@pytest.fixture(scope="module")
def pipeline(admin):
    """Give a pipeline that may ask for promotions: its token and bob's were made by one person, and are two."""
    return Person(admin.address, admin.json("token", "create", "pipeline", "--role", "releaser")["secret"])


def grown(person, name, first, more):
    """Bring a resource in whose first version is in production, and return the second, which is in validation."""
    person("register", name, first)
    person("measure", f"{name}@1.0.0", "accuracy=0.95")
    for stage in ("validation", "production"):
        person("promote", f"{name}@1.0.0", stage)
    person("update", name, more, "--no-activate")
    person("promote", f"{name}@1.1.0", "validation")
    return f"{name}@1.1.0"


def test_a_gate_blocks_passes_and_is_rolled_back(admin, first, more):
    """Below the threshold: exit code 3 and the report. Above: promoted. Bad after all: one command, and history has both."""
    version = grown(admin, "datasets/measured/a", first, more)
    admin.shell("measure", version, "accuracy=0.90")
    refused = admin.shell("promote", version, "production", "--reason", "the new one", code=3)
    assert refused.stdout == ""
    (row,) = [line for line in refused.stderr.splitlines() if line.startswith("✗  good-enough")]
    assert "expectation" in row
    assert "failed" in row
    assert "0.92" in refused.stderr
    assert "0.9" in refused.stderr
    assert re.search(rf"next: alluxio-lance measure {version} NAME=VALUE", refused.stderr)
    assert re.search(rf"then: alluxio-lance promote {version} production --reason 'the new one'", refused.stderr)
    assert admin.json("show", "datasets/measured/a@production")["version"]["semver"] == "1.0.0"

    admin.shell("measure", version, "accuracy=0.93")
    assert "stage production" in admin.shell("promote", version, "production", "--reason", "measured again").stdout
    assert admin.json("show", "datasets/measured/a")["version"]["semver"] == "1.1.0"

    assert "1.0.0+" in admin.shell("rollback", "datasets/measured/a", "-m", "it was bad").stdout
    shown = admin.json("show", "datasets/measured/a@production")["version"]
    assert (shown["semver"], shown["state"]) == ("1.0.0", "active")
    events = admin.json("history", "datasets/measured/a")["events"]
    assert [event["verb"] for event in events][-2:] == ["promote", "rollback"]
    assert (events[-2]["after"][:5], events[-1]["after"][:5]) == ("1.1.0", "1.0.0")
    text = admin.shell("history", "datasets/measured/a").stdout
    assert "validation → production" in " ".join(text.split())
    assert "unix:pid=" in text
    assert "measured again" in text
    assert "it was bad" in text


def test_a_refusal_is_json_for_a_pipeline(admin, first, more):
    """With the same report, and nothing on stdout."""
    version = grown(admin, "datasets/measured/json", first, more)
    refused = admin("promote", version, "production", "--json", code=3)
    error = json.loads(refused.stderr)["error"]
    assert (error["kind"], error["exit_code"], refused.stdout) == ("PolicyDenied", 3, "")
    (result,) = error["details"]["report"]
    # There is no metric to compare: the gate could not look, which blocks as well.
    assert (result["gate"], result["verdict"]) == ("good-enough", "error")
    (kept,) = [
        each
        for each in admin.json("promotions", "datasets/measured/json", "--state", "denied")["promotions"]
        if each["id"] == error["details"]["promotion"]
    ]
    assert (kept["from"], kept["to"], kept["state"]) == ("validation", "production", "denied")


def test_an_approval_waits_and_completes(admin, pipeline, releaser, first, more):
    """Exit code 3 with who must approve; another's yes completes it; his own, and his token's maker's, do not count."""
    admin("register", "datasets/careful/a", first)
    admin("promote", "datasets/careful/a", "validation")
    refused = pipeline("promote", "datasets/careful/a@1.0.0", "production", code=3)
    assert "…  four-eyes" in refused.stderr
    short = re.search(r"next: alluxio-lance approve ([0-9a-f]{8})", refused.stderr)[1]
    assert short in admin("promotions", "--state", "waiting").stdout
    assert "four-eyes" in admin("promotions", "datasets/careful/a").stdout
    pipeline("approve", short, code=3)
    admin("approve", short, code=3)
    assert "done" in releaser("approve", short, "--reason", "looks good").stdout
    assert admin.json("show", "datasets/careful/a@production")["version"]["semver"] == "1.0.0"
    (decided,) = [
        each
        for each in admin.json("promotions", "datasets/careful/a", "--state", "done")["promotions"]
        if each["to"] == "production"
    ]
    assert [(each["approved"], each["reason"]) for each in decided["decisions"]] == [(True, "looks good")]


def test_promote_wait_ends_with_the_answer(admin, pipeline, releaser, first):
    """A yes ends it with 0, a no with 3, and silence with 3 after the time that it was given."""
    for name in ("yes", "no", "silence"):
        admin("register", f"datasets/careful/{name}", first)
        admin("promote", f"datasets/careful/{name}", "validation")
    late = admin("promote", "datasets/careful/silence", "production", "--wait", "--timeout", "1s", code=3)
    assert "four-eyes" in late.stderr
    for name, verb, code in (("yes", "approve", 0), ("no", "reject", 3)):
        resource = f"datasets/careful/{name}"
        waiting = pipeline.start("promote", resource, "production", "--wait", "--timeout", "60s")
        try:
            found = []
            while not found:
                assert waiting.poll() is None, waiting.stderr.read()
                found = admin.json("promotions", resource, "--state", "waiting")["promotions"]
            releaser(verb, found[0]["id"][:8], "-m", "an answer")
            out, err = waiting.communicate(timeout=60)
        finally:
            if waiting.poll() is None:
                waiting.kill()
            waiting.communicate()
        assert waiting.returncode == code, (out, err)


def test_a_gate_on_activation_keeps_what_came_in(admin, first, more):
    """The version is there, not active; the command says so, and activates it when the gate has its metric."""
    refused = admin("register", "datasets/pointed/a", first, code=3)
    assert "at-the-pointer" in refused.stderr
    shown = admin.json("show", "datasets/pointed/a@1.0.0")["version"]
    assert shown["state"] == "registered"
    assert "at-the-pointer" in admin("activate", "datasets/pointed/a@1.0.0", code=3).stderr
    admin("measure", "datasets/pointed/a@1.0.0", "accuracy=0.6")
    assert "active" in admin("activate", "datasets/pointed/a@1.0.0").stdout


def test_an_alert_rolls_back(admin, first, more):
    """Alertmanager's JSON, from a file or stdin; what no rule is about does nothing."""
    version = grown(admin, "datasets/measured/alerted", first, more)
    admin("measure", version, "accuracy=0.99")
    admin("promote", version, "production")
    alert = {
        "version": "4",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": {
                    "alertname": "ErrorRate",
                    "severity": "critical",
                    "resource": "datasets/measured/alerted",
                },
                "annotations": {},
            }
        ],
    }
    mild = json.loads(json.dumps(alert).replace("critical", "warning"))
    assert "no rule has anything to do" in admin("alert", "-", input=json.dumps(mild)).stdout
    done = admin("alert", "-", "--json", input=json.dumps(alert)).stdout
    (event,) = json.loads(done)["events"]
    assert (event["verb"], event["name"], event["actor"]) == ("rollback", "measured/alerted", "automation:back")
    assert admin.json("show", "datasets/measured/alerted")["version"]["semver"] == "1.0.0"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["promote", "datasets/measured/none", "validation"], 4, "datasets/measured/none"),
        (["promote", "datasets/measured/none", "validation", "--timeout", "5s"], 2, "--timeout goes with --wait"),
        (["promote", "datasets/measured/none", "validation", "--wait", "--timeout", "5"], 2, "with its unit"),
        (["measure", "datasets/measured/none"], 2, "nothing to measure"),
        (["measure", "datasets/measured/none", "accuracy"], 2, "is no KEY=VALUE"),
        (["measure", "datasets/measured/none", "--file", "/nope"], 2, "--file /nope cannot be read"),
        (["approve", "00000000"], 4, "00000000"),
        (["promotions", "--state", "sideways"], 2, "sideways"),
        (["alert", "/nope"], 2, "/nope cannot be read"),
    ],
)
def test_what_cannot_be_is_one_sentence(admin, words, code, says):
    """With the exit code of its kind."""
    assert says in admin(*words, code=code).stderr


def test_no_promotion_says_so(admin):
    """Whether one was looked for or all."""
    assert (
        admin("promotions", "datasets/measured/none").stdout == "nothing of datasets/measured/none was promoted yet\n"
    )
