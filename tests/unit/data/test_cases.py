"""The tables of ../shared/cases, which people meet, are read right, said, or refused.

The folder is beside the repository; without it the tests are skipped, and say so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from needs import SHARED, shared

from penstock.data.ingest import survey
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.data.split import split
from penstock.data.table import read_table
from penstock.errors import InputError, ReadingError
from penstock.pipelines.cli import main
from penstock.records.dataset import Dataset

FOLDER = SHARED / "cases"


@pytest.fixture(autouse=True)
def _cases() -> None:
    shared("cases")


Read = Callable[..., Dataset]
Columns = dict[str, list[Any]]


@pytest.fixture
def columns(read: Read, output: Path) -> Callable[..., tuple[Columns, Dataset]]:
    """Ingest a case; return its columns and its record."""

    def run(name: str, **settings: object) -> tuple[Columns, Dataset]:
        dataset = read(FOLDER / name, **settings)
        return read_table(output).to_pydict(), dataset

    return run


def said(dataset: Dataset, column: str = "") -> str:
    """Return what was assumed of a column, or of the whole source."""
    return "\n".join(
        f"{assumption.risk}: {assumption.text} ({assumption.setting})"
        for assumption in dataset.assumptions
        if assumption.column == column
    )


Case = Callable[..., tuple[Columns, Dataset]]


def test_01_thousands_in_a_tab_file(columns: Case) -> None:
    found, dataset = columns("01-us-thousands-tsv.tsv")
    assert found["pop"][:4] == [999, 2137, 3274, 999]
    assert min(found["pop"]) == 999
    assert "thousands" in said(dataset, "pop")


def test_02_thousands_in_a_semicolon_file(columns: Case) -> None:
    found, dataset = columns("02-us-thousands-semicolon.csv")
    assert found["usd"][:4] == [1000, 2037, 3074, 4111]
    assert "thousands" in said(dataset, "usd")


def test_04_german_numbers(columns: Case) -> None:
    found, _ = columns("04-german-thousands-and-decimals.csv")
    assert found["betrag"][:4] == [1000.0, 1.5, 2.5, 1003.03]


def test_05_decimal_commas_beside_a_version(columns: Case) -> None:
    found, _ = columns("05-one-point-turns-decimal-commas-off.csv")
    assert found["preis"][:4] == [331.19, 404.83, 49.09, 840.68]
    assert found["version"][:4] == [0, 1, 2, 1.5]
    assert found["version"][3] in ("1.5", 1.5)


def test_06_leading_zeros_are_no_numbers(columns: Case) -> None:
    found, dataset = columns("06-leading-zeros.csv")
    assert found["zip"][:2] == ["00501", "00538"]
    assert "types" in said(dataset, "zip")


def test_07_namibia_is_said(columns: Case) -> None:
    _, dataset = columns("07-na-is-namibia.csv")
    assert "na_values" in said(dataset, "country")


def test_07_namibia_with_the_setting(columns: Case) -> None:
    found, _ = columns("07-na-is-namibia.csv", na_values=[""])
    assert found["country"][:4] == ["NA", "ZA", "DE", "NA"]


def test_09_a_dash_in_some_of_the_numbers(tmp_path: Path) -> None:
    source = SourceSpec(uri=str(FOLDER / "09-dash-in-15-percent.csv"))
    dataset, _ = survey(source, output=tmp_path / "d")
    assert read_table(tmp_path / "d")["freq"].to_pylist()[:4] == [176.2, None, 278.0, 256.6]
    assert any("na_values" in assumption.setting for assumption in dataset.assumptions)


def test_10_init_has_no_dead_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = str(FOLDER / "10-init-dead-end.csv")
    assert main(["init", table, "--target", "target"]) == 0
    assert "na_values" in capsys.readouterr().out
    assert '"-"' in (text := Path("project.yaml").read_text()) or "'-'" in text or "- -" in text


def test_10_init_can_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = str(FOLDER / "10-init-dead-end.csv")
    assert main(["init", table, "--target", "target", "--na-values", "-"]) == 0
    assert "{name: amount, type: number}" in Path("project.yaml").read_text()


@pytest.mark.parametrize("name", ["11-excel-sep-line.csv", "12-comment-lines-on-top.csv"])
def test_11_12_lines_above_the_table(name: str, columns: Case) -> None:
    found, dataset = columns(name)
    assert found == {"a": list(range(60)), "b": list(range(1, 61)), "y": [0, 1] * 30}
    assert "skip_lines" in said(dataset)


def test_13_a_total_is_refused_with_its_line(columns: Case) -> None:
    with pytest.raises(ReadingError, match=r"line 62 looks like a total.*set skip_last: 1"):
        columns("13-total-row.csv")
    found, _ = columns("13-total-row.csv", skip_last=1)
    assert found["a"] == list(range(60))


def test_14_polish_letters(columns: Case) -> None:
    found, dataset = columns("14-cp1250.csv")
    assert found["miasto"][:4] == ["Łódź", "Kraków", "Wałbrzych", "Żagań"]
    assert "high: " in said(dataset)
    assert "encoding: cp1250" in said(dataset)


def test_15_dates_money_percent_and_thousands(columns: Case) -> None:
    found, dataset = columns("15-dates-money-percent.csv")
    assert found["d"][1] == dt.datetime(2011, 2, 2, tzinfo=dt.UTC)
    assert found["d"][-1] == dt.datetime(2015, 12, 20, tzinfo=dt.UTC)
    assert found["money"][:2] == [0.0, 3.0]
    assert found["pct"][1] in (pytest.approx(0.7), pytest.approx(0.007))
    assert found["thou"][:2] == [1000, 2037]
    for column in ("d", "money", "pct", "thou"):
        assert said(dataset, column)


def test_17_the_index_of_pandas_is_no_column(columns: Case) -> None:
    found, dataset = columns("17-pandas-index.parquet")
    assert list(found) == ["b", "y"]
    assert said(dataset, "__index_level_0__")


@pytest.mark.parametrize("kind", ["binary", "list", "struct"])
def test_19_columns_that_cannot_be_stored(kind: str, columns: Case) -> None:
    name = f"19-parquet-types-{kind}.parquet"
    with pytest.raises(ReadingError, match=r"column 't'.*exclude: \[t\]"):
        columns(name)
    found, _ = columns(name, exclude=["t"])
    assert list(found) == ["a", "y"]


def test_19_columns_that_can(read: Read, tmp_path: Path) -> None:
    first = {
        "dict": "a",
        "ns": dt.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=dt.UTC),
        "ny": dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC),
        "u64": "9223372036854775808",
    }
    for kind, value in first.items():
        source = SourceSpec(uri=str(FOLDER / f"19-parquet-types-{kind}.parquet"))
        survey(source, output=tmp_path / kind)
        assert read_table(tmp_path / kind)["t"][0].as_py() == value


def test_25_a_table_without_names(columns: Case) -> None:
    with pytest.raises(ReadingError, match=r"line 1: the first row looks.*set header: false"):
        columns("25-no-header.csv")
    found, _ = columns("25-no-header.csv", header=False, names=["length", "width", "kind"])
    assert len(found["kind"]) == 100
    assert [found[name][0] for name in ("length", "width", "kind")] == [3.4, 1.14, "setosa"]


TABLES = sorted(path.name for path in FOLDER.glob("[0-9]*")) if FOLDER.is_dir() else []


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_read_or_an_error_proposes_how(name: str, tmp_path: Path) -> None:
    dataset, _ = survey(SourceSpec(uri=str(FOLDER / name)), output=tmp_path / "d")
    assert dataset.rows > 20


@pytest.mark.parametrize(("name", "rows"), [("", 1), ("-two", 2)])
def test_23_a_class_with_too_few_rows(
    name: str, rows: int, read: Read, output: Path, tmp_path: Path
) -> None:
    read(FOLDER / f"23-one-row-class{name}.csv")
    with pytest.raises(InputError, match=rf"\b{rows} row"):
        split(
            output,
            SplitSpec(),
            target="y",
            task="multiclass",
            train=tmp_path / "train",
            holdout=tmp_path / "holdout",
        )
