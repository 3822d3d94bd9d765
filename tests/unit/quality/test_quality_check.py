"""Validation: exact counts, severities, and suites and data that cannot be meant."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.errors import InputError, IntegrityError
from penstock.quality.check import validate
from penstock.quality.spec import Contract, ContractColumn, Expectation
from penstock.quality.suite import load_suite
from penstock.records.quality import Finding, Validation

AGES = [25, 17, -3, 200, None, 40, -3, 61, 18, 33]


def expect(check: str, *, severity: str = "block", **kwargs) -> Expectation:
    return Expectation(type=f"expect_{check}", kwargs=kwargs, severity=severity)


def contract(extra: str = "warn", **columns: str) -> Contract:
    return Contract(
        columns=tuple(ContractColumn(name=n, type=t) for n, t in columns.items()), extra=extra
    )


@pytest.fixture
def check(tmp_path: Path):
    """Validate and return the record, as read back from its file."""

    def run(folder: Path, *expectations: Expectation, due: Contract | None = None) -> Validation:
        out = tmp_path / "out"
        returned = validate(
            folder,
            contract=due or Contract(),
            expectations=expectations,
            results=out / "validation.json",
            report=out / "report.html",
            suite=out / "suite.json",
        )
        read = Validation.read(out / "validation.json")
        assert read == returned
        assert load_suite(out / "suite.json") == expectations
        return read

    return run


def only(validation: Validation) -> Finding:
    (finding,) = validation.findings
    return finding


# ---- the schema


def test_right_schema_holds(make, check, capsys) -> None:
    found = check(make(a=[1, 2], b=["x", "y"]), due=contract(a="integer", b="string"))
    assert found.passed
    assert only(found).sentence == "All 2 columns of the contract are there, each with its type."
    verdict = (
        "The data passed: 1 check holds. There were no expectations: only the schema was checked."
    )
    assert found.reason() == verdict
    assert capsys.readouterr().out == f"penstock| {verdict}\n"


def test_missing_column_fails_and_names_the_likely_new_name(make, check) -> None:
    found = check(make(Income=["x"], a=[1]), due=contract(income="string", a="integer"))
    assert not found.passed
    missing, extra = found.findings
    assert (missing.check, missing.column, missing.severity) == (
        "schema_missing",
        "income",
        "block",
    )
    assert missing.sentence == (
        "The column 'income' (string) is missing. Is it now called 'Income'?"
    )
    assert (extra.check, extra.column, extra.severity) == ("schema_extra", "Income", "warn")


@pytest.mark.parametrize(
    ("extra", "passed", "checks"),
    [
        ("block", False, ["schema", "schema_extra"]),
        ("warn", True, ["schema", "schema_extra"]),
        ("ignore", True, ["schema"]),
    ],
)
def test_extra_column_means_what_the_contract_says(make, check, extra, passed, checks) -> None:
    found = check(make(a=[1], b=[1]), due=contract(extra, a="integer"))
    assert found.passed is passed
    assert [finding.check for finding in found.findings] == checks


def test_retyped_column_fails_and_integer_passes_for_number(make, check) -> None:
    folder = make(n=[1], s=["1"], f=[1.5], b=[True])
    found = check(folder, due=contract(n="number", s="integer", f="integer", b="boolean"))
    assert [(f.check, f.column) for f in found.findings] == [
        ("schema_retyped", "s"),
        ("schema_retyped", "f"),
    ]
    assert found.findings[0].sentence == (
        "The column 's' holds string values; the contract says integer."
    )
    assert found.reason().startswith("The data failed 2 checks: The column 's'")


def test_empty_contract_accepts_any_schema(make, check) -> None:
    found = check(make(a=[1]))
    assert found.passed
    assert found.findings == ()


# ---- the rows


def test_unexpected_values_are_counted_exactly(make, check) -> None:
    found = only(
        check(
            make(age=AGES),
            expect("column_values_to_be_between", column="age", min_value=17, max_value=90),
        )
    )
    assert not found.passed
    assert (found.checked, found.unexpected) == (9, 3)
    assert found.samples == ("-3", "200")
    assert found.sentence == (
        "'age' must lie between 17 and 90: 3 of 9 values (33.3%) break this (for example -3, 200)."
    )


def test_samples_are_bounded_and_the_count_is_not(make, check) -> None:
    texts = [f"{n:04}" + "z" * 500 for n in range(1500)] + ["ok"]
    found = only(
        check(make(t=texts), expect("column_values_to_be_in_set", column="t", value_set=["ok"]))
    )
    assert (found.checked, found.unexpected) == (1501, 1500)
    assert len(found.samples) == 20
    assert max(map(len, found.samples)) == 120


def test_severity_decides_whether_the_data_fail(make, check) -> None:
    kwargs = {"column": "age", "min_value": 0}
    folder = make(age=AGES)
    warning = check(folder, expect("column_values_to_be_between", severity="warn", **kwargs))
    assert warning.passed
    assert (only(warning).passed, only(warning).severity) == (False, "warn")
    assert warning.reason() == "The data passed: 0 checks hold; 1 failed (warn)."
    assert check(folder, expect("column_values_to_be_between", severity="info", **kwargs)).passed
    assert not check(folder, expect("column_values_to_be_between", **kwargs)).passed


def test_mostly_tolerates_a_share_and_says_so(make, check) -> None:
    # 2 of 9 values are negative: 77.8% hold.
    kwargs = {"column": "age", "min_value": 0}
    folder = make(age=AGES)
    kept = only(check(folder, expect("column_values_to_be_between", mostly=0.77, **kwargs)))
    assert kept.passed
    assert kept.unexpected == 2
    assert kept.sentence == (
        "'age' must be at least 0 (77% of the values suffice): 2 of 9 values (22.2%) break this "
        "(for example -3), which is tolerated."
    )
    assert not check(folder, expect("column_values_to_be_between", mostly=0.78, **kwargs)).passed


def test_missing_values_count_against_not_null_alone(make, check) -> None:
    folder = make(age=AGES, void=[None] * 10, y=[1] * 10)
    absent = only(check(folder, expect("column_values_to_not_be_null", column="age")))
    assert (absent.passed, absent.checked, absent.unexpected) == (False, 10, 1)
    empty = only(
        check(folder, expect("column_values_to_be_in_set", column="void", value_set=["x"]))
    )
    assert empty.passed
    assert empty.sentence.endswith("there is no value to check.")


@pytest.mark.parametrize("ages", [AGES, [*AGES, 2**60 + 1]], ids=["small", "beyond 2**53"])
@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("match_regex", {"regex": "^-?[0-9]+$"}),
        ("not_match_regex", {"regex": r"\."}),
        ("be_of_type", {"type_": "int"}),
        ("be_of_type", {"type_": "int64"}),
        ("be_in_type_list", {"type_list": ["int", "int64"]}),
        ("be_in_set", {"value_set": sorted({age for age in AGES if age} | {2**60 + 1})}),
    ],
)
def test_a_missing_value_makes_whole_numbers_no_floats(make, check, ages, kind, kwargs) -> None:
    folder = make(age=ages)
    finding = only(check(folder, expect(f"column_values_to_{kind}", column="age", **kwargs)))
    assert finding.passed, finding.sentence


def test_whole_column_figures_are_shown(make, check) -> None:
    folder = make(age=AGES)
    mean, rows, name = check(
        folder,
        expect("column_mean_to_be_between", column="age", max_value=40),
        expect("table_row_count_to_be_between", min_value=1000),
        expect("column_to_exist", column="agee"),
    ).findings
    assert mean.sentence.startswith("The mean of 'age' must be at most 40: found 43.11")
    assert rows.sentence == "The number of rows must be at least 1,000: found 10."
    assert name.sentence == "A column 'agee' must be there: it does not."
    assert (name.passed, name.severity) == (False, "block")


def test_table_expectations_see_every_column(make, check) -> None:
    folder = make(a=[1, 2], b=["x", None], c=[True, False])
    found = check(
        folder,
        expect("table_columns_to_match_set", column_set=["a", "b", "c"]),
        expect("table_column_count_to_equal", value=3),
        expect("column_values_to_be_unique", column="a"),
    )
    assert found.passed
    wrong = check(folder, expect("table_columns_to_match_set", column_set=["a", "b"]))
    assert only(wrong).sentence.startswith("Table columns to match set (column_set")


def test_expectations_about_several_columns(make, check) -> None:
    folder = make(low=[1, 5, 3], high=[2, 4, 9], other=["x", "y", "x"])
    pair, unique, conditioned = check(
        folder,
        expect("column_pair_values_a_to_be_greater_than_b", column_A="high", column_B="low"),
        expect("compound_columns_to_be_unique", column_list=["low", "other"]),
        expect(
            "column_values_to_be_between",
            column="low",
            max_value=1,
            row_condition='other=="x"',
            condition_parser="pandas",
        ),
    ).findings
    assert (pair.passed, pair.unexpected, pair.samples) == (False, 1, ("4, 5",))
    assert pair.column == "high, low"
    assert unique.passed
    assert (conditioned.checked, conditioned.unexpected, conditioned.samples) == (2, 1, ("3",))


@pytest.mark.parametrize(
    "bound", ["2024-01-02", "2024-01-02T00:00:00+00:00", "2024-01-02T01:00+01:00"]
)
def test_times_are_compared_in_utc(make, check, bound: str) -> None:
    days = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)] + [None]
    found = check(
        make(day=days),
        expect("column_values_to_be_between", column="day", min_value=bound),
        expect("column_values_to_be_in_set", column="day", value_set=[bound]),
        expect("column_max_to_be_between", column="day", max_value=bound),
    )
    between, members, newest = found.findings
    assert (between.checked, between.unexpected) == (3, 1)
    assert between.samples == ("2024-01-01T00:00:00+00:00",)
    assert members.unexpected == 2
    assert newest.sentence.endswith("found 2024-01-03T00:00:00+00:00.")


def test_large_integers_with_gaps_keep_their_digits(make, check) -> None:
    # As doubles, these are all the same number.
    found = check(
        make(id=[2**60, 2**60 + 1, None, 2**60 + 2]),
        expect("column_values_to_be_unique", column="id"),
    )
    assert found.passed
    assert only(found).checked == 3


def test_booleans_with_gaps(make, check) -> None:
    folder = make(b=[True, None, False, True])
    found = only(check(folder, expect("column_values_to_be_in_set", column="b", value_set=[True])))
    assert (found.checked, found.unexpected, found.samples) == (3, 1, ("False",))


def test_each_of_several_equal_expectations_gets_its_own_result(make, check) -> None:
    one = expect("column_values_to_be_between", column="age", min_value=0)
    soft = one.model_copy(update={"severity": "warn"})
    found = check(make(age=AGES), one, soft, one).findings
    assert [f.severity for f in found] == ["block", "warn", "block"]
    assert [f.unexpected for f in found] == [2, 2, 2]


# ---- suites and data that cannot be meant


def test_suite_naming_an_absent_column_is_refused(make, check, tmp_path: Path) -> None:
    folder = make(age=[1], job=["x"])
    fine = expect("column_values_to_be_unique", column="age")
    with pytest.raises(InputError) as caught:
        check(folder, fine, expect("column_values_to_not_be_null", column="agee"))
    assert str(caught.value) == (
        "expectations[1], expect_column_values_to_not_be_null: the table has no column 'agee'. "
        "Did you mean 'age'? Its columns are: age, job."
    )
    assert not (tmp_path / "out").exists()


def test_column_that_the_contract_promised_fails_the_data_instead(make, check) -> None:
    found = check(
        make(job=["x"]),
        expect("column_values_to_not_be_null", column="age", severity="warn"),
        expect("column_values_to_not_be_null", column="job"),
        due=contract(age="integer", job="string"),
    )
    missing, unchecked, fine = found.findings
    assert missing.check == "schema_missing"
    assert (unchecked.passed, unchecked.severity) == (False, "block")
    assert unchecked.sentence == (
        "'age' must not be missing: this could not be checked, because the column 'age' is missing."
    )
    assert fine.passed


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        (
            expect("column_values_to_be_betwen", column="age"),
            r"expectations\[1\]\.type: Great Expectations knows no 'expect_column_values_to_be_"
            r"betwen'\. Did you mean expect_column_values_to_be_between\?",
        ),
        (
            expect("column_values_to_be_between", column="age", min_valu=3, max_value=5),
            r"expectations\[1\]\.kwargs: .*min_valu: extra fields not permitted",
        ),
        (expect("column_values_to_be_between", column="age"), r"cannot both be None"),
        (expect("column_values_to_be_unique"), r"column: field required"),
        (
            expect("column_values_to_not_be_null", column="age", mostly=1.5),
            r"mostly: ensure this value is less than or equal to 1\.0",
        ),
        (
            expect("column_values_to_be_between", column="age", min_value={"$PARAMETER": "low"}),
            r"expectations\[1\]\.kwargs\.min_value: the suite parameter 'low' has no value",
        ),
        (
            expect("column_values_to_be_in_set", column="age", value_set=[1, -(2**1100)]),
            r"expectations\[1\]\.kwargs\.value_set: a number is larger than every value can be",
        ),
        (
            expect("column_sum_to_be_between", column="age", max_value=2**1100),
            r"expectations\[1\]\.kwargs\.max_value: a number is larger than every value can be",
        ),
    ],
)
def test_expectation_that_cannot_be_meant_is_refused(
    make, check, tmp_path: Path, expectation, message
) -> None:
    fine = expect("column_values_to_be_unique", column="age")
    with pytest.raises(InputError, match=message):
        check(make(age=[1]), fine, expectation)
    assert not (tmp_path / "out").exists()


def test_error_inside_great_expectations_is_never_a_pass(make, check) -> None:
    found = check(
        make(job=["x", "y"], age=[1, 2]),
        expect("column_values_to_match_regex", column="job", regex="^[A-Z", severity="warn"),
        expect("column_values_to_be_between", column="job", min_value=3, mostly=0.01),
        expect("column_values_to_not_be_null", column="job"),
        expect("table_row_count_to_equal_other_table", other_table_name="elsewhere"),
        expect("column_values_to_be_unique", column="age"),
    )
    regex, retyped, present, other, unique = found.findings
    for broken in (regex, retyped, other):
        assert (broken.passed, broken.severity) == (False, "block")
        assert "this could not be checked, because " in broken.sentence
    assert "unterminated character set" in regex.sentence
    assert present.passed
    assert unique.passed
    assert not found.passed


def test_altered_dataset_is_refused(make, check) -> None:
    folder = make(age=AGES)
    (part,) = folder.glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="ingest the data again"):
        check(folder, expect("column_values_to_be_unique", column="age"))


# ---- the page


def test_report_puts_failures_first_and_escapes_data(make, check, tmp_path: Path) -> None:
    expectation = expect("column_values_to_be_in_set", column="<b>", value_set=["a"]).model_copy(
        update={"meta": {"notes": "Only <a> is known."}}
    )
    folder = make(**{"<b>": ["a", "<script>x</script>"], "n": [1, 2]})
    check(
        folder,
        expectation,
        expect("column_values_to_be_between", column="n", max_value=1, severity="warn"),
    )
    html = (tmp_path / "out" / "report.html").read_text()
    assert "<strong>Failed</strong>" in html
    assert "<script" not in html
    assert "&lt;script&gt;x&lt;/script&gt;" in html
    assert "Only &lt;a&gt; is known." in html
    titles = [html.index(t) for t in (">Refused by<", ">Warnings<", ">Everything that was")]
    assert titles == sorted(titles)


def test_report_says_when_only_the_schema_was_checked(make, check, tmp_path: Path) -> None:
    check(make(a=[1]), due=contract(a="integer"))
    html = (tmp_path / "out" / "report.html").read_text()
    assert "There were no expectations: only the schema was checked." in html
    assert "no value was looked at" in html


def test_same_data_give_the_same_report(make, check, tmp_path: Path) -> None:
    folder = make(age=AGES)
    written = []
    for _ in range(2):
        check(folder, expect("column_values_to_be_between", column="age", min_value=0))
        written.append({p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()})
    assert written[0] == written[1]


# ---- what it does to the machine

ALONE = """
import os, socket, sys
from pathlib import Path
reached = []
def refuse(*arguments, **_):
    reached.append(arguments)
    raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from penstock.quality.check import validate
from penstock.quality.spec import Contract
from penstock.quality.suite import load_suite
folder, out = map(Path, sys.argv[1:])
validate(folder, contract=Contract(), expectations=load_suite(out / "suite.json"),
         results=out / "v.json", report=out / "v.html")
print(sorted({"great_expectations", "pandas"} & set(sys.modules)), "reached", reached)
"""

COMMON = [
    expect("column_values_to_not_be_null", column="age", mostly=0.9),
    expect("column_values_to_be_unique", column="job"),
    expect("compound_columns_to_be_unique", column_list=["age", "day"]),
    expect("column_values_to_be_between", column="day", max_value="2023-01-01"),
    expect("column_values_to_be_in_set", column="job", value_set=["x"]),
    expect("column_values_to_match_regex", column="job", regex="(?=x)"),
    expect("column_mean_to_be_between", column="age", max_value=40),
    expect("column_median_to_be_between", column="age", max_value=40),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "loaded"),
    [
        pytest.param([], [], id="none"),
        pytest.param(COMMON, [], id="common"),
        pytest.param(
            [
                expect(
                    "column_kl_divergence_to_be_less_than",
                    column="job",
                    partition_object={"values": ["x", "y"], "weights": [0.5, 0.5]},
                    threshold=0.1,
                )
            ],
            ["great_expectations", "pandas"],
            id="rare",
            marks=pytest.mark.long,
        ),
    ],
)
def test_no_network_no_litter_and_no_import_for_nothing(
    make, tmp_path: Path, suite: list[Expectation], loaded: list[str]
) -> None:
    from penstock.quality.suite import save_suite

    folder, out, home, here = (tmp_path / name for name in ("data", "out", "home", "here"))
    make(age=AGES, job=["x", "y"] * 5, day=[datetime(2024, 1, 1, tzinfo=UTC)] * 10)
    for made in (out, home, here):
        made.mkdir()
    save_suite(suite, out / "suite.json")
    ended = subprocess.run(
        [sys.executable, "-c", ALONE, folder, out],
        cwd=here,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "GX_HOME": str(here / "gx")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == f"{loaded} reached []"
    assert ended.stderr == ""
    assert list(home.rglob("*")) == []
    assert list(here.rglob("*")) == []
