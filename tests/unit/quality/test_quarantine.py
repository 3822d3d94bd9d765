"""Rows that break checks are taken out with their reasons; the rest goes on and passes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from penstock.data.table import read_dataset, read_table, write_dataset
from penstock.errors import InputError, IntegrityError, UsageError
from penstock.quality.check import validate
from penstock.quality.quarantine import what_goes_on
from penstock.quality.spec import Contract, ContractColumn, Expectation, ValidationSpec
from penstock.records.quality import Validation

AGES = [25, 17, -3, 200, None, 40, -3, 61, 18, 33]


def expect(check: str, *, severity: str = "block", **kwargs) -> Expectation:
    return Expectation(type=f"expect_{check}", kwargs=kwargs, severity=severity)


ADULT = expect("column_values_to_be_between", column="age", min_value=0, max_value=120)


@pytest.fixture
def quarantine(tmp_path: Path):
    """Validate with quarantine into the folder `out` and return the record."""

    def run(
        folder: Path,
        *expectations: Expectation,
        share: float = 0.5,
        contract: Contract | None = None,
    ) -> Validation:
        out = tmp_path / "out"
        options = {"on_fail": "quarantine", "quarantine": {"max_share": share}}
        return validate(
            folder,
            contract=contract or Contract(),
            expectations=expectations,
            results=out / "validation.json",
            report=out / "report.html",
            options=ValidationSpec.parse(options, where="validation"),
            valid=out / "valid",
            quarantined=out / "quarantined",
        )

    return run


def test_rows_that_break_a_check_are_taken_out_with_reasons(make, quarantine, tmp_path) -> None:
    folder = make(age=AGES, label=list("abcdefghij"))
    named = expect("column_values_to_be_in_set", column="label", value_set=list("abcdefghi"))
    found = quarantine(folder, ADULT, named)
    assert found.passed
    out = tmp_path / "out"
    assert read_table(out / "quarantined").to_pydict() == {
        "age": [-3, 200, -3, 33],
        "label": ["c", "d", "g", "j"],
        "quarantine_row": [3, 4, 7, 10],
        "quarantine_expectations": [ADULT.type, ADULT.type, ADULT.type, named.type],
        "quarantine_columns": ["age", "age", "age", "label"],
        "quarantine_reasons": [
            *["'age' must lie between 0 and 120"] * 3,
            "'label' must be one of a, b, c, d, e, … (9 in all)",
        ],
    }
    assert read_table(out / "valid")["age"].to_pylist() == [25, 17, None, 40, 61, 18]
    told = found.quarantine
    assert told is not None
    assert (told.rows, told.of, told.share) == (4, 10, 0.4)
    assert told.kept == read_dataset(out / "valid").content
    assert told.content == read_dataset(out / "quarantined").content
    assert [finding.quarantined for finding in found.findings] == [3, 1]
    assert [finding.passed for finding in found.findings] == [False, False]
    assert found.reason() == (
        "The data passed: 2 checks hold. 4 of 10 rows (40 %) were quarantined; 6 rows went on."
    )
    page = (out / "report.html").read_text()
    assert "Quarantined" in page
    assert "4 of 10 rows (40 %) were quarantined" in page
    assert Validation.read(out / "validation.json") == found


def test_what_goes_on_is_what_the_same_rows_alone_would_be(make, quarantine, tmp_path) -> None:
    folder = make(age=AGES)
    quarantine(folder, ADULT)
    alone = make("alone", age=[25, 17, None, 40, 61, 18, 33])
    assert read_dataset(tmp_path / "out" / "valid").content == read_dataset(alone).content


def test_a_row_that_breaks_two_checks_is_there_once_with_both(make, quarantine, tmp_path) -> None:
    folder = make(age=AGES, label=list("abcdefghij"))
    early = expect("column_values_to_not_be_in_set", column="label", value_set=["c"])
    found = quarantine(folder, ADULT, early)
    taken = read_table(tmp_path / "out" / "quarantined").to_pydict()
    assert taken["quarantine_row"] == [3, 4, 7]
    assert taken["quarantine_expectations"][0] == f"{ADULT.type}; {early.type}"
    assert taken["quarantine_columns"][0] == "age; label"
    assert found.quarantine is not None
    assert found.quarantine.rows == 3


def test_more_than_the_share_refuses_and_writes_no_rows(make, quarantine, tmp_path) -> None:
    folder = make(age=AGES)
    found = quarantine(folder, ADULT, share=0.29)
    assert not found.passed
    assert found.reason().endswith(
        "3 of 10 rows (30 %) break checks of single rows; at most 29 % may be quarantined."
    )
    for place in ("valid", "quarantined"):
        assert not list((tmp_path / "out" / place).glob("*.parquet"))
    assert quarantine_of(make, tmp_path, share=0.3).passed


def quarantine_of(make, tmp_path: Path, *, share: float) -> Validation:
    out = tmp_path / f"at-{share}"
    options = {"on_fail": "quarantine", "quarantine": {"max_share": share}}
    return validate(
        make("again", age=AGES), contract=Contract(), expectations=[ADULT],
        results=out / "v.json", report=out / "v.html",
        options=ValidationSpec.parse(options, where="validation"),
        valid=out / "valid", quarantined=out / "quarantined",
    )  # fmt: skip


def test_exactly_the_share_is_quarantined_whatever_its_product_rounds_to(make, quarantine) -> None:
    # 0.29 * 100 is a little less than 29.
    found = quarantine(make(age=[-1] * 29 + [30] * 71), ADULT, share=0.29)
    assert found.passed
    assert found.reason().endswith("29 of 100 rows (29 %) were quarantined; 71 rows went on.")


def test_checks_that_share_no_row_add_up_to_more_than_the_share(make, quarantine) -> None:
    folder = make(age=AGES, label=list("abcdefghij"))
    named = expect("column_values_to_be_in_set", column="label", value_set=list("abcdefghi"))
    found = quarantine(folder, ADULT, named, share=0.3)
    assert not found.passed
    assert found.quarantine is not None
    assert (found.quarantine.rows, found.quarantine.refused) == (4, True)


@pytest.mark.parametrize(
    "other",
    [
        expect("column_mean_to_be_between", column="age", min_value=1000),
        expect("table_row_count_to_be_between", min_value=1000),
        expect("column_values_to_be_increasing", column="age"),
    ],
    ids=lambda one: one.type,
)
def test_a_failure_that_is_of_no_single_row_refuses_as_before(
    make, quarantine, tmp_path, other
) -> None:
    found = quarantine(make(age=AGES), ADULT, other)
    assert not found.passed
    assert found.quarantine is None
    assert len(found.failures("block")) == 2
    assert not list((tmp_path / "out").glob("*/*.parquet"))


def test_a_schema_that_is_broken_refuses_as_before(make, quarantine) -> None:
    due = Contract(columns=(ContractColumn(name="age", type="string"),))
    found = quarantine(make(age=AGES), ADULT, contract=due)
    assert not found.passed
    assert found.quarantine is None


def test_a_rest_that_does_not_pass_is_refused(make, quarantine, tmp_path) -> None:
    many = expect("table_row_count_to_be_between", min_value=8)
    found = quarantine(make(age=AGES), ADULT, many)
    assert not found.passed
    assert found.findings[0].sentence == (
        "Of the rows that would be left: The number of rows must be at least 8: found 7."
    )
    assert found.reason().endswith("3 of 10 rows (30 %) would be quarantined, but the rest does "
                                   "not pass.")  # fmt: skip
    assert not list((tmp_path / "out").glob("*/*.parquet"))


def test_tolerated_and_warned_of_rows_stay(make, quarantine, tmp_path) -> None:
    folder = make(age=AGES)
    tolerated = expect("column_values_to_be_between", column="age", min_value=0, mostly=0.5)
    warned = expect("column_values_to_be_between", column="age", max_value=40, severity="warn")
    found = quarantine(folder, tolerated, warned)
    assert found.passed
    assert found.quarantine is None
    assert what_goes_on(folder, tmp_path / "out" / "valid") == folder
    assert what_goes_on(folder, None) == folder


def test_rows_that_repeat_are_all_taken_out(make, quarantine, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("penstock.quality.states.sliced._ROWS", 4)
    keys = ["a", "b", "a", None, "c", None, "d", "b", "e", "f"]
    folder = make(key=keys, n=list(range(10)))
    unique = expect("column_values_to_be_unique", column="key")
    found = quarantine(folder, unique)
    assert found.passed
    assert read_table(tmp_path / "out" / "quarantined")["quarantine_row"].to_pylist() == [
        1,
        2,
        3,
        8,
    ]
    pairs = expect("compound_columns_to_be_unique", column_list=["key", "n"])
    assert not found.findings[0].passed
    assert found.findings[0].quarantined == 4
    assert pairs.type.startswith("expect_compound")


def test_only_rows_of_a_row_condition_are_taken_out(make, quarantine, tmp_path) -> None:
    folder = make(age=AGES, kind=list("xxyyxyyxyx"))
    among = expect(
        "column_values_to_be_between", column="age", min_value=0, max_value=120,
        row_condition='kind == "y"', condition_parser="pandas",
    )  # fmt: skip
    found = quarantine(folder, among)
    assert found.passed
    assert read_table(tmp_path / "out" / "quarantined")["quarantine_row"].to_pylist() == [3, 4, 7]


def test_what_goes_on_is_of_the_dataset_that_was_validated(make, quarantine, tmp_path) -> None:
    quarantine(make(age=[1, 2]), ADULT)
    with pytest.raises(IntegrityError, match="and not of rows1"):
        what_goes_on(make("other", age=[3]), tmp_path / "out" / "valid")
    with pytest.raises(IntegrityError, match="the dataset none"):
        what_goes_on(make("third", age=[3]), tmp_path)


def test_without_a_place_for_them_rows_are_not_quarantined(make, tmp_path) -> None:
    with pytest.raises(UsageError, match="no place for them"):
        validate(
            make(age=[1]), contract=Contract(), expectations=[ADULT],
            results=tmp_path / "v.json", report=tmp_path / "v.html",
            options=ValidationSpec(on_fail="quarantine"),
        )  # fmt: skip


def test_a_column_with_the_name_of_a_reason_is_refused(make, quarantine) -> None:
    with pytest.raises(InputError, match="'quarantine_row' has the name"):
        quarantine(make(age=AGES, quarantine_row=list(range(10))), ADULT)


def test_cuts_and_orders_of_rows_give_the_same_datasets(tmp_path: Path, quarantine) -> None:
    chance = random.Random(2)
    ages = [chance.randint(-5, 130) for _ in range(3000)]
    digests = set()
    for turn, cut in enumerate((3000, 700, 1)):
        rows = pa.table({"age": ages})
        folder = tmp_path / f"cut-{turn}"
        write_dataset(
            [rows.slice(start, cut) for start in range(0, len(ages), cut)],
            output=folder, source="ages",
        )  # fmt: skip
        out = tmp_path / f"result-{turn}"
        found = validate(
            folder, contract=Contract(), expectations=[ADULT], results=out / "v.json",
            report=out / "v.html",
            options=ValidationSpec.parse(
                {"on_fail": "quarantine", "quarantine": {"max_share": 0.5}}, where="v"
            ),
            valid=out / "valid", quarantined=out / "quarantined",
        )  # fmt: skip
        assert found.quarantine is not None
        assert found.quarantine.rows == sum(not 0 <= age <= 120 for age in ages)
        digests.add((found.quarantine.kept, found.quarantine.content))
    assert len(digests) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from penstock.data.table import writer
from penstock.quality.check import validate
from penstock.quality.spec import Contract, Expectation, ValidationSpec

def end(*_): os.kill(os.getpid(), signal.SIGKILL)

finish = writer.Writer.finish
writer.Writer.finish = lambda self, **facts: (
    end() if self.folder.name.startswith("." + sys.argv[3]) else finish(self, **facts)
)
out = Path(sys.argv[2])
validate(
    Path(sys.argv[1]), contract=Contract(), results=out / "v.json", report=out / "v.html",
    expectations=[Expectation(type="expect_column_values_to_be_between",
                              kwargs={"column": "age", "min_value": 0, "max_value": 120})],
    options=ValidationSpec.parse({"on_fail": "quarantine", "quarantine": {"max_share": 0.5}},
                                 where="v"),
    valid=out / "valid", quarantined=out / "quarantined",
)
"""


@pytest.mark.parametrize("moment", ["valid", pytest.param("quarantined", marks=pytest.mark.long)])
def test_killed_in_the_middle_it_leaves_nothing_half(make, tmp_path, quarantine, moment) -> None:
    folder = make(age=AGES)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "out"), moment],
        env={**os.environ}, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    for name in ("valid", "quarantined", "v.json"):
        assert not (tmp_path / "out" / name).exists()
    assert quarantine(folder, ADULT).passed
