"""The checks of doctor, one by one on facts that are made up, and together on this machine."""

import errno
import json
import mmap
import os
import sqlite3
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alluxio_lance.cli.app import application
from alluxio_lance.cli.doctor import kernel as kernel_checks
from alluxio_lance.cli.doctor.alluxio import alluxio as alluxio_checks
from alluxio_lance.cli.doctor.alluxio import edition_of as edition_check
from alluxio_lance.cli.doctor.alluxio import mounted, short_circuit, sync_interval, tier_of, write_type
from alluxio_lance.cli.doctor.kernel import descriptors, populate, scratch, seals
from alluxio_lance.cli.doctor.memory import budget
from alluxio_lance.cli.doctor.pages import pages
from alluxio_lance.cli.doctor.places import catalog, folder, places
from alluxio_lance.cli.doctor.service import service
from alluxio_lance.cli.doctor.software import software
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.mounts import Mount
from alluxio_lance.sidecar.budget import Host
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.storage.alluxio.edition import edition_of
from alluxio_lance.storage.alluxio.probing import Tier


def made_root(tmp_path, *, total=0, free=0, setting=None):
    """Make /proc/meminfo and the setting of transparent huge pages under a root."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal: 1000 kB\nHugePages_Total: {total}\nHugePages_Free: {free}\nHugepagesize: 2048 kB\n"
    )
    if setting is not None:
        place = tmp_path / "sys/kernel/mm/transparent_hugepage"
        place.mkdir(parents=True)
        (place / "shmem_enabled").write_text(setting)
    return tmp_path


@pytest.mark.parametrize(
    ("facts", "status", "says"),
    [
        ({"total": 1024, "free": 1000}, "ok", "1,024 huge pages of 2.0 MiB reserved (2.0 GiB), 1,000 free"),
        ({"total": 8, "free": 0, "setting": "always [never] advise"}, "warn", "all 8 reserved huge pages are taken"),
        ({"setting": "always within_size [advise] never deny force"}, "ok", "advise"),
        ({"setting": "always within_size advise [never] deny force"}, "warn", "2.3 times slower"),
        ({}, "warn", "not in this kernel"),
    ],
)
def test_pages_are_reserved_or_transparent_or_small(tmp_path, facts, status, says):
    """Small pages are a warning that says what they cost and how to get others."""
    check = pages(made_root(tmp_path, **facts))
    assert check.status == status
    assert says in check.found
    assert ("vm.nr_hugepages" in check.remedy) == (status == "warn")


@pytest.mark.parametrize(("limit", "status"), [(-1, "ok"), (65536, "ok"), (1024, "ok"), (512, "warn"), (64, "fail")])
def test_descriptors_must_suffice(limit, status):
    """A reader holds one per column and shard."""
    check = descriptors(limit)
    assert check.status == status
    assert bool(check.remedy) == (status != "ok")


def test_this_kernel_has_what_we_need():
    """The checks try the real thing."""
    assert seals().status == "ok"
    assert populate().status == "ok"


def test_a_kernel_without_memfd_fails(monkeypatch):
    """With the way out of a container's profile."""

    def refuse(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refuse)
    check = seals()
    assert (check.status, check.found) == ("fail", "memfd_create: Function not implemented")


def test_a_seal_that_does_not_hold_fails(monkeypatch):
    """A stand-in for a kernel that takes seals and ignores them."""
    monkeypatch.setattr(kernel_checks, "_SEALS", 0)
    assert seals().status == "fail"


class OldMemory(mmap.mmap):
    """Memory of a kernel before 5.14, which this machine does not have."""

    def madvise(self, *arguments):
        raise OSError(errno.EINVAL, "Invalid argument")


def test_an_old_kernel_is_a_warning(monkeypatch):
    """Without MADV_POPULATE_READ all works, slower."""
    monkeypatch.setattr(mmap, "mmap", OldMemory)
    assert populate().status == "warn"


def test_little_room_for_workers_is_a_warning(monkeypatch, tmp_path):
    """Containers begin with 64 MiB in /dev/shm."""
    assert scratch(tmp_path / "none").status == "warn"
    assert scratch(tmp_path).status == "ok"
    monkeypatch.setattr(kernel_checks, "_SMALL_SCRATCH", 1 << 62)
    assert "--shm-size" in scratch(tmp_path).remedy


@pytest.mark.parametrize(
    ("missing", "name", "status", "remedy"),
    [
        ("pyarrow", "client packages", "fail", "pip install alluxio-lance"),
        ("pylance", "server packages", "warn", "[server]"),
        ("torch", "PyTorch", "warn", "[torch]"),
        ("tensorflow", "TensorFlow", "warn", "[tf]"),
        ("alluxio", "PyPI's alluxio", "warn", "[torch]"),
    ],
)
def test_what_is_not_installed_is_named(missing, name, status, remedy):
    """A client package is a failure, an extra that may not be wanted a warning."""
    found = {check.name: check for check in software(lambda package: None if package.startswith(missing) else "0.1.4")}
    assert found[name].status == status
    assert remedy in found[name].remedy
    assert all(check.status == "ok" for other, check in found.items() if other != name)


def test_another_alluxio_is_a_warning():
    """The doors were tried beside one release."""
    found = {check.name: check for check in software(lambda _package: "9.9")}
    assert (found["PyPI's alluxio"].status, found["PyTorch"].status) == ("warn", "ok")


def test_an_old_python_fails(monkeypatch):
    """We need 3.11."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert next(iter(software(lambda _package: "1"))).status == "fail"


@pytest.mark.parametrize(
    ("value", "status", "says"),
    [
        (None, "ok", "of what this machine has"),
        ("50%", "ok", "of what this machine has"),
        ("600MiB", "ok", "600.0 MiB as configured"),
        ("64MiB", "warn", "64.0 MiB as configured"),
        ("1000TiB", "warn", "as configured"),
        ("lots", "fail", "memory_budget"),
    ],
)
def test_the_budget_and_where_it_comes_from(monkeypatch, value, status, says):
    """Worked out as a sidecar would; one that cannot be had is a warning."""
    monkeypatch.setattr(Host, "available", lambda _self: 8 << 30)
    monkeypatch.setattr(Host, "total", lambda _self: 16 << 30)
    monkeypatch.delenv("ALLUXIO_LANCE_MEMORY_BUDGET", raising=False)
    if value is not None:
        monkeypatch.setenv("ALLUXIO_LANCE_MEMORY_BUDGET", value)
    check = budget()
    assert (check.status, says in check.found) == (status, True), check


@pytest.fixture
def readonly(monkeypatch):
    """Refuse writing anywhere: these tests may run as root, who may write to any folder."""
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)


def test_places_are_made_or_there(tmp_path):
    """A folder that is not there yet is well if it can be made."""
    checks = {check.name: check for check in places(tmp_path / "new" / "root")}
    assert "will be made" in checks["root folder"].found
    assert "will be made" in checks["catalog"].found
    assert checks["root folder"].status == "ok"
    assert folder("x", tmp_path, "do").found == str(tmp_path)


def test_places_that_cannot_be_written_fail(tmp_path, readonly):
    """With the setting that names another one."""
    checks = {check.name: check for check in places(tmp_path)}
    assert checks["root folder"].status == "fail"
    assert "ALLUXIO_LANCE_ROOT" in checks["root folder"].remedy


def test_a_file_is_no_folder(tmp_path):
    """And is said to be none."""
    (tmp_path / "f").write_text("")
    assert "is no folder" in folder("x", tmp_path / "f" / "g", "do").found


def test_little_room_on_the_disk_is_a_warning(tmp_path, monkeypatch):
    """Tables need some."""
    from alluxio_lance.cli.doctor import places as module

    monkeypatch.setattr(module, "_LITTLE", 1 << 62)
    assert {check.name: check.status for check in places(tmp_path)}["root folder"] == "warn"


def test_a_wrong_configuration_fails(monkeypatch):
    """And no place is looked at."""
    monkeypatch.setenv("ALLUXIO_LANCE_KEEP_PREVIOUS", "many")
    (check,) = places(None)
    assert (check.name, check.status) == ("settings", "fail")


def test_the_catalog_takes_a_write_or_fails(tmp_path):
    """A database is opened for writing, and left as it was; a file that is none is a failure."""
    file = tmp_path / "catalog.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    before = file.read_bytes()
    assert catalog(f"sqlite:///{file}").status == "ok"
    assert file.read_bytes() == before
    file.write_text("this is no database, but it is long enough to look like one" * 20)
    assert catalog(f"sqlite:///{file}").status == "fail"


def test_a_database_server_is_asked(tmp_path):
    """One that answers is well; one that does not, or has no driver, is a failure without the password."""
    assert catalog(f"sqlite+pysqlite:///{tmp_path / 'c.db'}").status == "ok"
    check = catalog("postgresql+nodriver://me:secret@localhost/x")
    assert check.status == "fail"
    assert "secret" not in check.found


def test_no_sidecar_is_a_failure_only_where_one_was_named(tmp_path, monkeypatch):
    """A fresh machine has none yet."""
    monkeypatch.delenv("ALLUXIO_LANCE_ADDRESS", raising=False)
    monkeypatch.setenv("ALLUXIO_LANCE_RUN_DIR", str(tmp_path))
    assert (service(None).status, service(None).remedy) == ("warn", "alluxio-lance up")
    assert service(str(tmp_path)).status == "fail"
    assert service("nowhere").status == "fail"


def test_without_the_server_side_the_rest_is_still_checked(monkeypatch):
    """What needs it is a warning that names the extra."""
    monkeypatch.setitem(sys.modules, "alluxio_lance.sidecar.settings", None)
    assert "[server]" in budget().remedy
    (check,) = places(None)
    assert "[server]" in check.remedy


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_report_fits_the_screen(tmp_path, monkeypatch, columns):
    """Every check has a line, every remedy an arrow; the last line is the verdict."""
    monkeypatch.delenv("ALLUXIO_LANCE_ADDRESS", raising=False)
    monkeypatch.setenv("ALLUXIO_LANCE_RUN_DIR", str(tmp_path / "run"))
    result = CliRunner().invoke(application, ["doctor", "--root", str(tmp_path)], env={"COLUMNS": columns})
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert lines[-1].startswith("ready")
    assert "→ alluxio-lance up" in result.stdout


def test_a_failure_is_exit_code_1(tmp_path):
    """In text and in JSON."""
    (tmp_path / "f").write_text("")
    words = ["--address", str(tmp_path), "doctor", "--root", str(tmp_path / "f")]
    result = CliRunner().invoke(application, words)
    assert result.exit_code == 1
    assert "checks failed" in result.stdout
    result = CliRunner().invoke(application, [*words, "--json"])
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    assert {tuple(sorted(check)) for check in report["checks"]} == {("found", "name", "remedy", "status")}


def test_a_perfect_machine_is_ready(monkeypatch, tmp_path):
    """Nothing to improve, nothing to add."""
    from alluxio_lance.cli import doctoring
    from alluxio_lance.cli.doctor.check import ok

    for name in ("software", "kernel", "places", "alluxio"):
        monkeypatch.setattr(doctoring, name, lambda *_: iter(()))
    for name in ("pages", "budget", "service"):
        monkeypatch.setattr(doctoring, name, lambda *_: ok("x", "fine"))
    assert CliRunner().invoke(application, ["doctor"]).stdout.splitlines()[-1] == "ready"


@pytest.mark.parametrize(
    ("configuration", "status", "says"),
    [
        ({"alluxio.user.file.metadata.sync.interval": "0"}, "ok", "always looks"),
        ({"alluxio.user.file.metadata.sync.interval": "0sec"}, "ok", "always looks"),
        ({"alluxio.user.file.metadata.sync.interval": "-1"}, "fail", "is -1: a read of a file"),
        ({"alluxio.user.file.metadata.sync.interval": "1min"}, "fail", "is 1min"),
        ({}, "warn", "does not tell"),
    ],
)
def test_the_proxy_must_look_at_the_under_store(configuration, status, says):
    """Else reads of what was deleted below hang; the property to set is named."""
    check = sync_interval(configuration)
    assert (check.status, says in check.found) == (status, True), check
    assert ("sync.interval=0" in check.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("configuration", "status", "says"),
    [
        ({"alluxio.proxy.s3.writetype": "CACHE_THROUGH"}, "ok", "under-store"),
        ({"alluxio.proxy.s3.writetype": "THROUGH"}, "ok", "under-store"),
        ({"alluxio.proxy.s3.writetype": "ASYNC_THROUGH"}, "fail", "is ASYNC_THROUGH"),
        ({"alluxio.proxy.s3.writetype": "MUST_CACHE"}, "fail", "is MUST_CACHE"),
        ({}, "warn", "does not tell"),
    ],
)
def test_the_proxy_must_acknowledge_what_is_kept(configuration, status, says):
    """Else versions would be lost with a worker; the property to set is named."""
    check = write_type(configuration)
    assert (check.status, says in check.found) == (status, True), check
    assert ("s3.writetype=CACHE_THROUGH" in check.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("found", "status", "says"),
    [
        (Tier(workers=1, capacity_bytes=1 << 30, used_bytes=1 << 29), "ok", "512.0 MiB of 1.0 GiB used, 1 worker"),
        (Tier(workers=3, capacity_bytes=1 << 30, used_bytes=0), "ok", "3 workers"),
        (Tier(workers=0, capacity_bytes=0, used_bytes=0), "fail", "no worker serves"),
        (None, "warn", "not known"),
    ],
)
def test_workers_must_cache(found, status, says):
    """How much, and how full it is."""
    check = tier_of(found)
    assert (check.status, says in check.found) == (status, True), check


def test_a_stale_mount_is_a_warning(monkeypatch, tmp_path):
    """A stand-in for a mount whose process was killed, which needs FUSE."""
    from alluxio_lance.files import mounts as module

    monkeypatch.setattr(module, "mounts", lambda: [Mount(tmp_path)])
    assert (mounted().status, mounted().found) == ("ok", str(tmp_path))
    monkeypatch.setattr(Mount, "is_stale", True)
    assert mounted().remedy.startswith(f"alluxio-lance unmount {tmp_path}")
    monkeypatch.setattr(module, "mounts", list)
    assert (mounted().status, mounted().found.startswith("none")) == ("ok", True)


@pytest.mark.parametrize(("version", "status"), [("2.9.6", "ok"), ("313", "warn")])
def test_the_second_edition_is_a_warning(version, status):
    """It names what is lacking, and what happens instead."""
    check = edition_check(edition_of(version), AlluxioAddress.parse("alluxio://node1/lance"))
    assert (check.status, f"{version} at node1:39999, tables in /lance" in check.found) == (status, True)
    assert ("no free, no mount, no block files" in check.found) == (status == "warn")
    assert ("`cache free`" in check.remedy) == (status == "warn")


def test_a_node_without_a_worker_is_a_warning():
    """It says what that costs."""
    check = short_circuit(AlluxioAddress.parse("alluxio://localhost:1/x?worker=1"))
    assert check.status == "warn"
    assert "S3 service" in check.found


def test_a_store_is_checked_only_where_one_is_named(monkeypatch, tmp_path):
    """A folder needs none; a wrong address and one where nobody answers are failures."""
    monkeypatch.delenv("ALLUXIO_LANCE_STORE", raising=False)
    assert list(alluxio_checks(tmp_path)) == []
    monkeypatch.setenv("ALLUXIO_LANCE_STORE", "alluxio://localhost:1")
    (check,) = alluxio_checks(tmp_path)
    assert (check.status, "--store" in check.remedy) == ("fail", True)
    monkeypatch.setenv("ALLUXIO_LANCE_STORE", "alluxio://localhost:1/lance?proxy=1")
    (check,) = alluxio_checks(tmp_path)
    assert (check.status, check.name) == ("fail", "Alluxio")
    assert "alluxio up" in check.remedy
    monkeypatch.setenv("ALLUXIO_LANCE_KEEP_PREVIOUS", "many")
    assert list(alluxio_checks(None)) == []


def test_an_alluxio_that_is_down_is_told_in_one_sentence(tmp_path):
    """With the store as an option: where nobody answers, why, and where the right port stands."""
    port = Ports.free().proxy
    (check,) = alluxio_checks(tmp_path, f"alluxio://localhost:{port - 1}/lance?proxy={port}")
    assert (check.status, check.found) == (
        "fail",
        f"nobody answers at the proxy's port, localhost:{port} (Connection refused)",
    )
    assert "alluxio status" in check.remedy


def test_a_real_alluxio_passes(monkeypatch, tmp_path, alluxio):
    """Every line of it, before `up` has made the folder and after; nothing is left of the probe."""
    from alluxio_lance.storage.alluxio.place import AlluxioPlace

    monkeypatch.setenv("ALLUXIO_LANCE_STORE", alluxio)
    first = {check.name: check for check in alluxio_checks(tmp_path)}
    assert "is not there yet" in first["commits"].found
    place = AlluxioPlace.open(alluxio)
    checks = {check.name: check for check in alluxio_checks(tmp_path)}
    assert list(checks) == [
        *("Alluxio", "commits", "metadata sync", "writes", "short circuit", "cache", "FUSE mounts", "disk tier"),
    ]
    assert {name for name, check in checks.items() if check.status != "ok"} <= {"FUSE mounts"}
    assert "2.9.6" in checks["Alluxio"].found
    assert "this endpoint overwrites" in checks["commits"].found
    assert "256.0 MiB used, 1 worker" in checks["cache"].found
    assert place.namespace.list(place.where.folder) == []
    monkeypatch.setenv("ALLUXIO_LANCE_DISK_BUDGET", "0")
    assert {check.name: check.status for check in alluxio_checks(tmp_path)}["disk tier"] == "warn"


def test_proc_is_read_where_it_is():
    """The real one has what the check of pages wants."""
    from alluxio_lance.cli.doctor.proc import meminfo, selected, text_of

    assert meminfo(Path("/"))["MemTotal"] > 1 << 20
    assert text_of(Path("/proc/none")) is None
    assert selected("plain") is None
