"""The examples: the pipeline's script runs for real, on a running system with the example's rules."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from alluxio_lance.cli.demo.system import System
from alluxio_lance.lifecycle.rules import read_rules

from .conftest import Command

FOLDER = Path(__file__).parent.parent.parent / "examples"
SCRIPT = FOLDER / "ci" / "release.sh"
NAME = "datasets/vision/signs"


def test_the_rules_are_sound_and_show_what_they_promise():
    """Gates of several kinds, policies, roles, protected tags, an automatic rollback."""
    rules = read_rules((FOLDER / "rules.toml").read_text())
    assert {gate.kind for gate in rules.gates} == {"expectation", "compliance", "command", "approval"}
    assert {each.do for each in rules.automations} == {"promote", "rollback"}
    assert [policy.name for policy in rules.policies] == ["scratch", "unread"]
    assert set(rules.roles) == {"vision", "pipeline", "curator"}
    assert rules.tags.protected == ("golden", "release-*")
    assert tomllib.loads((FOLDER / "rules.toml").read_text())["deletion"] == {"grace": "7d"}


@pytest.mark.parametrize("name", ["github.yml", "gitlab.yml"])
def test_the_workflows_call_the_script_with_what_it_takes(name):
    """Its variables are those that the script reads, and the rollback is a command that there is."""
    script, workflow = SCRIPT.read_text(), (FOLDER / "ci" / name).read_text()
    assert f"examples/ci/release.sh {NAME} build/rows.parquet build/metrics.json" in workflow
    for variable in ("RELEASE_RUN", "RELEASE_REASON", "RELEASE_METADATA", "RELEASE_TIMEOUT"):
        assert variable in workflow
        assert variable in script
    assert f"alluxio-lance rollback {NAME} -m" in workflow


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """Give the script as the pipeline runs it, and the node's admin."""
    folder = tmp_path_factory.mktemp("pipeline")
    with System(folder / "root", folder / "run", folder / "up.log") as system:
        system.wait_until_ready()
        admin = Command(["--address", system.address.grpc])
        admin("rules", "set", FOLDER / "rules.toml")
        secret = admin.json("token", "create", "ci", "--role", "pipeline", "--lifetime", "1h")["secret"]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ALLUXIO_LANCE_ADDRESS": system.address.grpc,
            "ALLUXIO_LANCE_TOKEN": secret,
            "RELEASE_PAUSE": "0",
        }

        def run(*words, code=0, **more):
            done = subprocess.run(
                [SCRIPT, *map(str, words)],
                env=environment | more,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
            return done

        yield run, admin


def test_a_pipeline_releases_is_refused_and_is_harmless_twice(pipeline, first, more, tmp_path):
    """0 and it is live; the same run again makes no second version; a worse one is 3 with the report, and not live."""
    run, admin = pipeline
    metrics = tmp_path / "metrics.json"
    about = tmp_path / "about.json"
    about.write_text(json.dumps({"license": "MIT"}))
    metrics.write_text(json.dumps({"accuracy": 0.95}))
    done = run(NAME, first, metrics, RELEASE_RUN="one", RELEASE_REASON="the first one", RELEASE_METADATA=str(about))
    assert done.stdout.splitlines() == [
        f"{NAME}@1.0.0 is in",
        f"{NAME}@1.0.0 is in validation",
        f"{NAME}@1.0.0 is in production",
    ]
    live = admin.json("show", f"{NAME}@production")["version"]
    assert (live["semver"], live["state"], live["metrics"]) == ("1.0.0", "active", {"accuracy": 0.95})

    metrics.write_text(json.dumps({"accuracy": 0.93}))
    refused = run(NAME, more, metrics, code=3, RELEASE_RUN="two")
    assert "✗  good-enough" in refused.stderr
    assert f"{NAME}@1.1.0 stays out of production: the report says why" in refused.stderr
    assert admin.json("show", NAME)["version"]["semver"] == "1.0.0"
    again = run(NAME, more, metrics, code=3, RELEASE_RUN="two")
    assert f"{NAME}@1.1.0 is in\n" in again.stdout
    assert [each["semver"] for each in admin.json("show", NAME)["versions"]] == ["1.1.0", "1.0.0"]
    actors = {event["actor"] for event in admin.json("history", NAME)["events"]}
    assert actors == {"token:ci"}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "usage: release.sh"),
        ((NAME, "/nope", "/nope"), 4, "there is no /nope"),
        (("nonsense", "/nope", "/nope"), 2, "TYPE/NAME"),
        (("datasets/x", "FIRST", "/nope"), 2, "--file /nope cannot be read"),
    ],
)
def test_what_is_wrong_ends_with_the_code_of_the_command(pipeline, first, words, code, says):
    """And its message."""
    run, _ = pipeline
    assert says in run(*[first if word == "FIRST" else word for word in words], code=code).stderr


def test_a_system_that_is_down_is_tried_again_and_then_given_up(pipeline, first, tmp_path):
    """Exit code 1: worth another run."""
    run, _ = pipeline
    done = run(NAME, first, first, code=1, ALLUXIO_LANCE_ADDRESS=f"unix:{tmp_path}/grpc.sock")
    assert "alluxio-lance up" in done.stderr
