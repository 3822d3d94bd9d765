"""How texts become values: column by column, and the same for one value as for a whole column."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec, settings_of
from penstock.data.table import read_table
from penstock.data.types.columns import to_array
from penstock.data.types.numbers import example_format
from penstock.data.types.texts import from_texts
from penstock.data.types.times import forms_of, parse_time
from penstock.data.types.value import Rules, TypeMismatch, rules_of, value_of
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Column, ColumnType, Dataset, TextFormat

Read = Callable[..., tuple[Dataset, dict[str, list[Any]]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """`read(text, **settings)` returns the record and the columns of a CSV file."""
    count = itertools.count()

    def run(text: str, **settings: Any) -> tuple[Dataset, dict[str, list[Any]]]:
        folder = tmp_path / str(next(count))
        folder.mkdir()
        (folder / "t.csv").write_text(text, encoding="utf-8")
        source = SourceSpec.parse({"uri": str(folder / "t.csv"), **settings}, where="source")
        dataset = ingest(source, output=folder / "dataset")
        return dataset, read_table(folder / "dataset").to_pydict()

    return run


def column(values: list[str], *, mark: str = ";") -> str:
    return "\n".join([f"x{mark}y", *(f"{value}{mark}{at % 2}" for at, value in enumerate(values))])


NUMBERS: list[tuple[list[str], list[float]]] = [
    (["2,137", "999", "12,405"], [2137, 999, 12405]),
    (["1,234,567", "5"], [1234567, 5]),
    (["1,234.5", "999", "0.25"], [1234.5, 999, 0.25]),
    (["1.000,00", "1,5"], [1000, 1.5]),
    (["1.234.567", "12"], [1234567, 12]),
    (["0,567", "1,234"], [0.567, 1.234]),
    (["1,5", "22,75", "3"], [1.5, 22.75, 3]),
    (["1 234 567", "12"], [1234567, 12]),
    (["1\u00a0234,5", "12,25"], [1234.5, 12.25]),
    (["1'234.50", "12.25"], [1234.5, 12.25]),
    (["$12.00", "-$3.50", "($1,200.00)"], [12, -3.5, -1200]),
    (["12,50 €", "1.200,00 €"], [12.5, 1200]),
    (["3.5%", "10%", "-1 %"], [3.5, 10, -1]),
    (["12 km", "7.5 km"], [12, 7.5]),
    (["+5", "\u22127", "3"], [5, -7, 3]),
    (["0.137", "12.405", "1.001"], [0.137, 12.405, 1.001]),
    (["12.405", "13.100", "99.001"], [12.405, 13.1, 99.001]),
    (["1e3", "2.5E-1"], [1000, 0.25]),
]


@pytest.mark.parametrize(("texts", "values"), NUMBERS)
def test_numbers_are_read_as_their_column_writes_them(
    texts: list[str], values: list[float], read: Read
) -> None:
    dataset, table = read(column(texts))
    assert table["x"] == values
    plain = all(text.strip("+").replace(".", "", 1).isdigit() for text in texts)
    signs = dataset.reading is None or not dataset.reading.formats
    assert plain or signs or [a for a in dataset.assumptions if a.column == "x"]


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["2.137", "999", "12.405"], ";"),  # decimal points, or groups of a German file?
        (["2,137", "12500"], ";"),  # groups that are not there where they should be
        (["1,234", "1.234"], ";"),
        (["01/02/2026", "03/04/2026"], ","),
    ],
)
def test_two_readings_are_refused_with_the_settings_that_decide(
    texts: list[str], mark: str, read: Read
) -> None:
    with pytest.raises(InputError, match="can be") as caught:
        read(column(texts, mark=mark))
    assert "formats" in caught.value.remedy
    assert "'x'" in caught.value.where


def test_a_setting_decides_between_two_readings(read: Read) -> None:
    text = column(["2.137", "999", "12.405"])
    assert read(text, decimal=",")[1]["x"] == [2137, 999, 12405]
    assert read(text, decimal=".")[1]["x"] == [2.137, 999, 12.405]
    assert read(text, formats={"x": "1.234,5"})[1]["x"] == [2137, 999, 12405]
    assert read(text, formats={"x": "1234.5"})[1]["x"] == [2.137, 999, 12.405]
    assert read(text, types={"x": "string"})[1]["x"] == ["2.137", "999", "12.405"]
    days = column(["01/02/2026", "03/04/2026"])
    found = read(days, formats={"x": "%m/%d/%Y"})[1]["x"]
    assert [time.date() for time in found] == [dt.date(2026, 1, 2), dt.date(2026, 3, 4)]


def test_a_decimal_comma_elsewhere_in_the_file_makes_groups_doubtful(read: Read) -> None:
    other = "a;b\n2,137;1,5\n3,405;0,25\n"
    with pytest.raises(InputError, match="decimal mark"):
        read(other)
    assert read(other, decimal=",")[1] == {"a": [2.137, 3.405], "b": [1.5, 0.25]}


def test_later_rows_may_tell_what_the_first_ones_leave_open(read: Read) -> None:
    many = ["2,137", "3,405"] * 90_000
    assert read(column([*many, "0,5"]))[1]["x"][-1] == 0.5
    dates = ["01/02/2026"] * 130_000
    found = read(column([*dates, "25/02/2026"]))[1]["x"]
    assert found[0].date() == dt.date(2026, 2, 1)


def test_a_leading_zero_makes_a_code_wherever_it_stands(read: Read) -> None:
    dataset, table = read(column(["00501", "10001", "90210"]))
    assert table["x"] == ["00501", "10001", "90210"]
    assert [a.column for a in dataset.assumptions] == ["x"]
    late = [str(10_000 + at) for at in range(200_000)]
    assert read(column([*late, "00501"]))[1]["x"][-1] == "00501"
    assert read(column([*late, "0x10"]), types={"x": "string"})[1]["x"][-1] == "0x10"
    with pytest.raises(InputError, match="'0x10'"):  # Arrow reads 16
        read(column([*late, "0x10"]))
    assert read(column(["0", "0.5", "10"]))[1]["x"] == [0, 0.5, 10]
    assert read(column(["00501", "7"]), types={"x": "integer"})[1]["x"] == [501, 7]


@pytest.mark.parametrize("sign", ["-", "--", ".", "n.a.", "\u2013"])
@pytest.mark.parametrize("share", [5, 15, 40])
def test_a_sign_for_missing_among_numbers_is_never_silent(
    sign: str, share: int, read: Read
) -> None:
    values = [sign if at % 100 < share else str(at) for at in range(400)]
    with pytest.raises(ReadingError, match="are not numbers") as caught:
        read(column(values))
    found = read(column(values), na_values=caught.value.proposal["na_values"])[1]["x"]
    assert found[:6].count(None) >= share / 20
    assert all(value is None or value == at for at, value in enumerate(found))


def test_text_among_numbers_is_said(read: Read) -> None:
    values = [str(at) if at % 10 < 7 else "many" for at in range(100)]
    dataset, table = read(column(values))
    assert table["x"] == values
    assert [(a.risk, a.column) for a in dataset.assumptions] == [("high", "x")]
    assert "'many'" in dataset.assumptions[0].text


@pytest.mark.parametrize(
    ("values", "kind", "word"),
    [
        (["1,23,456", "12,34,567"], "string", "look like numbers"),
        (["$5", "€6"], "string", "look like numbers"),
        (["3.5%", "0.04"], "string", "look like numbers"),
        (["20260131", "20251201"], "integer", "could be a date"),
        (["+4915112345", "+4917112345"], "string", "codes"),
        (["12345678901234567890", "7"], "string", "more than 64 bits"),
        (["2026-01-31", "31/01/2026"], "string", "look like times"),
    ],
)
def test_what_could_be_more_than_it_was_read_as_is_said(
    values: list[str], kind: str, word: str, read: Read
) -> None:
    dataset, _ = read(column(values * 3))
    assert dataset.columns[0].type == kind
    assert [word in a.text for a in dataset.assumptions if a.column == "x"] == [True]


def test_a_text_with_a_digit_is_not_proposed_as_missing(read: Read) -> None:
    for text in ("123-", "12o"):
        with pytest.raises(InputError, match="are not numbers") as caught:
            read(column([text, *map(str, range(40))]))
        assert not isinstance(caught.value, ReadingError)


def test_a_default_text_for_missing_among_codes_is_said(read: Read) -> None:
    dataset, table = read(column(["DE", "NA", "ZA", "NA", "FR"] * 4))
    assert table["x"][1] is None
    assert [(a.risk, a.column) for a in dataset.assumptions] == [("high", "x")]
    assert "na_values" in dataset.assumptions[0].setting
    assert read(column(["DE", "NA"]), na_values=[""])[1]["x"] == ["DE", "NA"]


TIMES: list[tuple[list[str], str]] = [
    (["31/12/2025", "1/2/2026"], "2025-12-31T00:00:00+00:00"),
    (["12/31/2025", "1/2/2026"], "2025-12-31T00:00:00+00:00"),
    (["31.12.2025 14:05", "01.02.2026 00:00"], "2025-12-31T14:05:00+00:00"),
    (["2025/12/31", "2026/01/02"], "2025-12-31T00:00:00+00:00"),
    (["31-Dec-2025", "01-Feb-2026"], "2025-12-31T00:00:00+00:00"),
    (["December 31, 2025", "May 1, 2026"], "2025-12-31T00:00:00+00:00"),
    (["12/31/25 02:05 PM", "1/2/26 12:00 AM"], "2025-12-31T14:05:00+00:00"),
    (["2025-12-31T14:05:00.123456789Z", "2026-01-01T00:00Z"], "2025-12-31T14:05:00.123456+00:00"),
    (["2025-12-31 14:05:00.1234567", "2026-01-01"], "2025-12-31T14:05:00.123456+00:00"),
    (["2025-12-31 14:05+5", "2026-01-01 00:00-03:30"], "2025-12-31T09:05:00+00:00"),
    (["2025-12-31 14:05:00Z", "2026-01-01 00:00"], "2025-12-31T14:05:00+00:00"),
]


@pytest.mark.parametrize(("texts", "first"), TIMES)
def test_times_are_read_by_a_form_that_holds_for_all(
    texts: list[str], first: str, read: Read
) -> None:
    assert read(column(texts * 2))[1]["x"][0].isoformat() == first


def test_a_day_that_no_calendar_has_is_refused(read: Read) -> None:
    with pytest.raises(InputError, match=r"'31/02/2026'.*is not of type datetime"):
        read(column(["30/12/2025", "31/02/2026"]))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31T00:00:00"),
        ("2026-01-31 07", "2026-01-31T07:00:00"),
        ("2026-01-31T07:05", "2026-01-31T07:05:00"),
        ("2026-01-31T07:05:09.5", "2026-01-31T07:05:09.500000"),
        ("2026-01-31 07:05:09.1234567", "2026-01-31T07:05:09.123456"),
        ("2026-01-31T07:05:09Z", "2026-01-31T07:05:09"),
        ("2026-01-31T01:05:09.25+05:30", "2026-01-30T19:35:09.250000"),
        ("2026-01-31 23:05 -1", "2026-02-01T00:05:00"),
        ("0001-01-01T00:00:00-00:00", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
        # No times, though Python's own reading takes some of them.
        ("20260131", None),
        ("2026-W05-6", None),
        ("2026-01-31_07:05", None),
        ("2026-01-31T07:05:09,5", None),
        ("2026-01-31T07:05+01:60", None),
        ("2026-01-31T07:05+24:00", None),
        ("2026-01-31T24:00:00", None),
        ("2026-02-29", None),
        ("0001-01-01T00:00:00+01:00", None),
    ],
)
def test_a_time_in_iso_8601_is_that_moment_or_none(text: str, moment: str | None) -> None:
    if moment is None:
        with pytest.raises((ValueError, OverflowError)):
            parse_time(text)
    else:
        assert parse_time(text).isoformat() == f"{moment}+00:00"


def test_forms_that_a_time_allows() -> None:
    assert list(forms_of("05/06/2026")) == ["%d/%m/%Y", "%m/%d/%Y"]
    assert list(forms_of("05.06.26")) == ["%d.%m.%y"]
    assert forms_of("1.2.3") == {}


@pytest.mark.parametrize(
    ("example", "decimal", "thousands", "affix"),
    [
        ("1.234,5", ",", ".", ""),
        ("1,234.5", ".", ",", ""),
        ("1234,5", ",", "", ""),
        ("1234.5", ".", "", ""),
        ("1 234,5", ",", " ", ""),
        ("1'234", ".", "'", ""),
        ("1.234", ",", ".", ""),
        ("$1,234.50", ".", ",", "$"),
        ("12,5 %", ",", "", "%"),
    ],
)
def test_an_example_says_how_numbers_are_written(
    example: str, decimal: str, thousands: str, affix: str
) -> None:
    found = example_format("x", example, where="source")
    assert (found.decimal, found.thousands, found.affix) == (decimal, thousands, affix)


def test_few_rows_are_read_as_the_table_was_that_a_model_learned_from(read: Read) -> None:
    table = "a;b;c;d;y\n1.234,5;$2,137.5;12 km;31/12/2025;0\n0,5;$999;7.5 km;01/02/2026;1\n"
    dataset, _ = read(table)
    few = "a;b;c;d;y\n2.137;$3,405;1 km;01/02/2026;1\n"
    with pytest.raises(InputError, match="can be"):
        read(few)
    assert dataset.reading is not None
    settings = settings_of(dataset.reading)
    found = read(few, **settings)[1]
    assert (found["a"], found["b"], found["c"]) == ([2137], [3405], [1])
    assert found["d"][0].date() == dt.date(2026, 2, 1)


def test_an_example_that_is_no_number_is_refused() -> None:
    for example in ("", "abc", "1.2.3,4,5", "dd/mm/yyyy"):
        with pytest.raises(InputError, match="source: formats: x"):
            example_format("x", example, where="source")


WRITTEN: list[TextFormat | None] = [
    None,
    TextFormat(column="x", decimal=","),
    TextFormat(column="x", thousands=","),
    TextFormat(column="x", decimal=",", thousands="."),
    TextFormat(column="x", thousands=" "),
    TextFormat(column="x", affix="$"),
    TextFormat(column="x", decimal=",", thousands=".", affix="€"),
    TextFormat(column="x", affix="%"),
]
TEXTS = [
    *(
        "5",
        "-5",
        "+5",
        "\u22125",
        "5.",
        ".5",
        "1e3",
        "1E-3",
        "0x10",
        "1_0",
        "٣",
        "nan",
        "inf",
        "--5",
    ),
    *("1,5", "1,234", "1,234.5", "1.234,5", "1,23,4", "12,34", "0,123", "1 234", "1\u202f234,5"),
    *(
        "$5",
        "-$5",
        "$-5",
        "($5)",
        "5 $",
        "$ 1,234.50",
        "5%",
        "3.5 %",
        "5€",
        "-1.234,5 €",
        "€",
        "()",
    ),
    *("true", "TRUE", "t", "yes", "1", "0", "maybe", "", "9" * 400, "9223372036854775808"),
    *("2026-01-31", "2026-01-31 12", "2026-01-31T12:00Z", "2026-02-30", "2026-01-31 24:00"),
    *(
        "2026-01-31 12:00+5",
        "2026-01-31 12:00 +0530",
        "2026-01-31 12:00:00.123456789 UTC",
        "20260131",
    ),
]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("kind", ["integer", "number", "boolean", "datetime"])
def test_one_value_means_what_it_means_in_a_column(
    kind: ColumnType, written: TextFormat | None
) -> None:
    rules = Rules("x", kind, texts=True, written=written)
    for text in TEXTS:
        array = pa.array([text, None])
        try:
            whole = from_texts(array, kind, written=written, name="x", declared=True)[0].as_py()
        except TypeMismatch:
            whole = ValueError
        try:
            one: Any = value_of(text, rules)
        except ValueError:
            one = ValueError
        if isinstance(whole, float) and not math.isfinite(whole):
            # The profile refuses an infinite number, and NaN is stored as missing.
            whole = None if math.isnan(whole) else ValueError
        assert one == whole, text


def test_integers_of_frames_have_64_bits_as_those_of_requests_do() -> None:
    """A model in MLflow's form refuses what its server refuses."""
    rules = rules_of([Column(name="n", type="integer")], None)["n"]
    for fits in (np.array([2**63 - 1, -(2**63)]), np.array([-(2.0**63), np.nan])):
        assert len(to_array(fits, rules)) == 2
    for too_large in (np.array([1.0, 2.0**63]), np.array([1, 2**63], dtype=np.uint64)):
        with pytest.raises(InputError, match="in row 2 is not a whole number"):
            to_array(too_large, rules)
