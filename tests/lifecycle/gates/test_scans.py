"""Gates that look into the table: statistics of columns, licences, personal data, schemas."""

import decimal

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import Unavailable
from alluxio_lance.governance import Verdict
from alluxio_lance.lifecycle.gates.compliance import _sample, judge_compliance
from alluxio_lance.lifecycle.gates.expectation import judge_expectation
from alluxio_lance.lifecycle.gates.personal import count_personal
from alluxio_lance.lifecycle.gates.profile import Profiles
from alluxio_lance.lifecycle.rules.document import ComplianceGate, ExpectationGate

NAN = float("nan")
TABLE = pa.table(
    {
        "n": pa.array([1, 2, None, 3], pa.int64()),
        "f": pa.array([1.5, NAN, None, 2.5]),
        "nothing": pa.array([NAN] * 4),
        "d": pa.array([decimal.Decimal("1.5")] * 4, pa.decimal128(10, 2)),
        "s": ["a", "b", "a", None],
        "b": [True, False, True, True],
        "blob": [b"x"] * 4,
    }
)


@pytest.fixture
def manager(tmp_path):
    """Open a manager on a folder."""
    with al.ResourceManager.embedded(tmp_path / "root") as opened:
        yield opened


def registered(manager, table, name="a", **options):
    """Register a table and return its version as the catalog has it."""
    manager.register_resource("datasets", name, table, **options)
    return manager.catalog.versions("datasets", name)[0]


class Counting:
    """The real store, whose reads are counted."""

    def __init__(self, store):
        self._store = store
        self.opened = 0
        self.columns = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def open(self, location, version):
        self.opened += 1
        reader = self._store.open(location, version)
        real = reader.batches
        counting = self

        class Reader:
            def batches(self, columns):
                counting.columns.append(list(columns))
                return real(columns)

            def close(self):
                reader.close()

        return Reader()


def test_profile(manager):
    """Rows, nulls, ends, mean and number of values, each where it makes sense."""
    profile = Profiles(manager.store).of(registered(manager, TABLE), None)
    assert profile["rows"] == 4
    assert profile["columns"] == {
        "n": {"nulls": 1, "null_share": 0.25, "min": 1.0, "max": 3.0, "mean": 2.0, "distinct": 3},
        "f": {"nulls": 1, "null_share": 0.25, "min": 1.5, "max": 2.5, "mean": 2.0, "nans": 1},
        "nothing": {"nulls": 0, "null_share": 0.0, "nans": 4},
        "d": {"nulls": 0, "null_share": 0.0, "min": 1.5, "max": 1.5, "mean": 1.5},
        "s": {"nulls": 1, "null_share": 0.25, "distinct": 2},
        "b": {"nulls": 0, "null_share": 0.0, "distinct": 2},
        "blob": {"nulls": 0, "null_share": 0.0},
    }


def test_profile_of_many_values_and_batches(manager):
    """Columns with many values have no count of them; the statistics go over all batches."""
    rows = 200_000
    version = registered(manager, pa.table({"id": range(rows), "few": [n % 7 for n in range(rows)]}))
    columns = Profiles(manager.store).of(version, None)["columns"]
    assert columns["id"] == {"nulls": 0, "null_share": 0.0, "min": 0.0, "max": rows - 1.0, "mean": (rows - 1) / 2}
    assert columns["few"]["distinct"] == 7


def test_profile_of_an_empty_table(manager):
    """A table without rows has statistics too."""
    version = registered(manager, pa.table({"x": pa.array([], pa.int64())}))
    assert Profiles(manager.store).of(version, None) == {
        "rows": 0,
        "columns": {"x": {"nulls": 0, "null_share": 0.0, "distinct": 0}},
    }


def expectation(*require):
    """Describe a gate of expressions."""
    return ExpectationGate(name="e", on=("activate",), kind="expectation", require=require)


def test_profile_is_read_once_and_only_where_it_is_named(manager, case):
    """Only the columns that an expression names are read, and no column twice."""
    version = registered(manager, TABLE)
    store = Counting(manager.store)
    profiles = Profiles(store)
    judge_expectation(expectation("version.num_rows > 1"), case(version), profiles)
    judge_expectation(expectation("profile.rows > 1"), case(version), profiles)
    assert store.opened == 0
    for _ in range(2):
        said = judge_expectation(
            expectation("profile.columns.n.max < 9", "profile.columns['s'].distinct == 2"), case(version), profiles
        )
        assert said.verdict is Verdict.PASSED, said
    assert store.columns == [["n"], ["s"]]
    judge_expectation(expectation("profile.columns.all(c, profile.columns[c].nulls < 9)"), case(version), profiles)
    assert store.columns[2:] == [["f", "nothing", "d", "b", "blob"]]


def test_profiles_of_old_versions_are_forgotten(manager, version):
    """Only so many are kept in memory."""
    profiles = Profiles(manager.store)
    for number in range(70):
        profiles.of(version(content_hash=f"{number:064x}", num_rows=number), frozenset())
    assert len(profiles._known) == 64


def test_expectation_relative_to_the_profile_of_the_current(manager, case):
    """The version that would be displaced has statistics as well."""
    version = registered(manager, TABLE)
    gate = expectation(
        "profile.columns.n.mean <= current.profile.columns.n.mean", "profile.rows == current.profile.rows"
    )
    said = judge_expectation(gate, case(version, current=version), Profiles(manager.store))
    assert said.verdict is Verdict.PASSED
    assert said.details["expressions"][0]["values"]["current.profile.columns.n.mean"] == 2


def test_expectation_report(manager, case, version):
    """The report has every expression, and one that errs is worse than one that fails."""
    gate = expectation("metrics.a > 1", "metrics.b > 1", "version.num_rows == 3")
    said = judge_expectation(gate, case(version(metrics={"b": 0.5})), Profiles(manager.store))
    assert said.verdict is Verdict.ERROR
    assert [each["holds"] for each in said.details["expressions"]] == [None, False, True]
    assert "metrics.b > 1 does not hold: metrics.b = 0.5" in said.summary
    failed = judge_expectation(expectation("metrics.b > 1"), case(version(metrics={"b": 0.5})), Profiles(manager.store))
    assert failed.verdict is Verdict.FAILED


class Broken:
    """A store whose tables cannot be read."""

    def branch_location(self, location, branch):
        return location

    def open(self, location, version):
        raise Unavailable("the disk is away", what="disk")

    def dataset(self, location, version):
        return self.open(location, version)


def test_table_that_cannot_be_read(case, version):
    """A table that cannot be read blocks."""
    said = judge_expectation(expectation("profile.columns.x.nulls == 0"), case(), Profiles(Broken()))
    assert said.verdict is Verdict.ERROR
    assert "the disk is away" in said.summary
    schema = pa.schema({"s": pa.string()})
    said = judge_compliance(compliance(licence=False), case(version(schema=schema)), Broken())
    assert said.verdict is Verdict.ERROR


def compliance(**options):
    """Describe the built-in scan."""
    return ComplianceGate(name="c", on=("activate",), kind="compliance", **options)


PERSONAL = {
    "e-mail address": ["write to ann.lee+x@mail.example.org!", "a@b.co"],
    "card number": ["4111 1111 1111 1111", "paid with 5500-0000-0000-0004."],
    "IBAN": ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19"],
    "US social security number": ["ssn 123-45-6789"],
    "phone number": ["+49 30 901820", "call (212) 555-0123 now", "212-555-0123", "+1-415-555-2671"],
}
HARMLESS = [
    "a@b", "foo@bar.", "@name", "4111 1111 1111 1112", "1234567890123456", "0000 0000 0000 0000", "DE89370400440532013001",
    "000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "2024-01-15", "2024-01-15 10:20:30.123", "10.0.0.1",
    "3.14159265358979", "1.2.3", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "550e8400-e29b-41d4-a716-446655440000", "12345678", "",
]  # fmt: skip


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal(kind):
    """Each kind of personal data is found in the midst of a text."""
    for text in PERSONAL[kind]:
        assert kind in count_personal([text]), text


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless(text):
    """Numbers and texts that only look alike are left alone."""
    assert count_personal([text]) == {}


@pytest.mark.parametrize("text", ["a" * 60_000, "1 " * 30_000, "a@" * 30_000, "DE89" + "1A " * 20_000, "+1 " * 20_000])
def test_no_text_makes_it_slow(text):
    """A hostile text takes no longer than any other."""
    import time

    begun = time.monotonic()
    count_personal([text])
    assert time.monotonic() - begun < 2


def scan(manager, case, table, gate, current=None, **options):
    """Register a table and scan it."""
    return judge_compliance(gate, case(registered(manager, table, **options), current=current), manager.store)


def test_personal_data_in_a_table(manager, case):
    """Columns with personal data are named with counts, in lists, structs and dictionaries too, and never what was found."""
    table = pa.table(
        {
            "id": [1, 2],
            "text": ["fine", None],
            "mail": ["ann@example.org", "bob@example.org"],
            "many": [["x", "ann@example.org"], []],
            "inner": [{"a": "ann@example.org", "n": 1}, None],
            "coded": pa.array(["ann@example.org", "x"]).dictionary_encode(),
        }
    )
    said = scan(manager, case, table, compliance(licence=False))
    assert said.verdict is Verdict.FAILED
    one = {"e-mail address": 1}
    assert said.details["personal"] == {"mail": {"e-mail address": 2}, "many": one, "inner": one, "coded": one}
    assert "example.org" not in said.summary + str(said.details)
    allowed = compliance(licence=False, pii_allow=("mail", "many", "inner", "coded"))
    version = manager.catalog.versions("datasets", "a")[0]
    assert judge_compliance(allowed, case(version), manager.store).verdict is Verdict.PASSED
    assert (
        judge_compliance(compliance(licence=False, pii=False), case(version), manager.store).verdict is Verdict.PASSED
    )


def test_sample(manager, case, version):
    """A large table is sampled from its beginning to its end, the same way each time."""
    rows = _sample(version(num_rows=100_000), 100)
    assert rows == _sample(version(num_rows=100_000), 100)
    assert [row // 1000 for row in rows] == list(range(100))
    table = pa.table({"s": ["x"] * 9000 + ["ann@example.org"] * 1000})
    said = scan(manager, case, table, compliance(licence=False, sample_rows=5000))
    assert said.details["personal"] == {"s": {"e-mail address": 500}}


LICENCES = {
    "none": ({}, {}, Verdict.FAILED, "no license"),
    "blank": ({"license": " "}, {}, Verdict.FAILED, "no license"),
    "any": ({"licence": "MIT"}, {}, Verdict.PASSED, "licence MIT"),
    "allowed": ({"license": "mit"}, {"licences": ("MIT",)}, Verdict.PASSED, "licence mit"),
    "other": ({"license": "GPL-3.0"}, {"licences": ("MIT", "BSD")}, Verdict.FAILED, "is not one of MIT, BSD"),
    "not asked": ({}, {"licence": False}, Verdict.PASSED, "no personal data"),
}


@pytest.mark.parametrize("kind", LICENCES)
def test_licence(manager, case, kind):
    """A licence must be there, and one of those allowed."""
    metadata, options, verdict, words = LICENCES[kind]
    said = scan(manager, case, pa.table({"x": [1]}), compliance(**options), metadata=metadata)
    assert (said.verdict, words in said.summary) == (verdict, True), said


def test_schema(manager, case, version):
    """Readers of the version that is displaced must be able to read the new one."""
    gate = compliance(licence=False)
    same = version("0.9.0", pa.schema({"x": pa.int64()}))
    said = scan(manager, case, pa.table({"x": [1]}), gate, current=same)
    assert (said.verdict, said.details["compatible"]) == (Verdict.PASSED, True)
    more = version("0.9.0", pa.schema({"x": pa.int64(), "y": pa.int64()}))
    said = scan(manager, case, pa.table({"x": [1]}), gate, current=more, name="b")
    assert said.verdict is Verdict.FAILED
    assert "readers of 0.9.0 cannot read 1.0.0: see column y" in said.summary
    off = compliance(licence=False, compatible_schema=False)
    version = manager.catalog.versions("datasets", "b")[0]
    assert judge_compliance(off, case(version, current=more), manager.store).verdict is Verdict.PASSED
