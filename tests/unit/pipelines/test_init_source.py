"""`penstock init` can be told how to read a table, proposes the rest, and says what it assumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from penstock import project
from penstock.data.ingest import ingest
from penstock.data.spec import NA_VALUES, SourceSpec
from penstock.errors import InputError
from penstock.pipelines.cli import main
from penstock.pipelines.parameters import for_run
from penstock.pipelines.run_result import RunResult
from penstock.pipelines.summary import summary
from penstock.records.dataset import Dataset

ROWS = "".join(f"{n},{'red' if n % 3 else 'blue'},{n % 2}\n" for n in range(120))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source_of(*options: str, target: str = "good", text: str = "") -> dict[str, object]:
    """Run init on a table and return the source section that it writes."""
    Path("t.csv").write_text(text or f"x,colour,good\n{ROWS}")
    assert main(["init", "t.csv", "--target", target, "--force", *options]) == 0
    loaded = project.load(Path("project.yaml"))
    # The parameters of a pipeline are these values in JSON, whole numbers perhaps as floats.
    return yaml.safe_load(Path("project.yaml").read_text())["source"] | {
        "columns_found": [column.name for column in loaded.contract.columns],
        "types_found": [column.type for column in loaded.contract.columns],
    }


def test_every_option_is_written_into_the_file() -> None:
    text = "junk\n# c\nx;colour;good\n" + ROWS.replace(",", ";") + "0;-;1\nend\n"
    options = "--na-values=-,n.a. --not-na NA --types x=number,colour=string --delimiter ;"
    options += " --encoding utf-8 --decimal , --thousands . --skip-lines 1"
    options += " --skip-last 1 --comment # --header --format csv --formats x=1.234,5"
    found = source_of(*options.split(), text=text)

    values = found.pop("na_values")
    assert isinstance(values, list)
    assert {"-", "n.a.", "NULL"} <= set(values)
    assert "NA" not in values
    assert found == {
        "uri": "t.csv",
        "types": {"x": "number", "colour": "string"},
        "formats": {"x": "1.234,5"},
        "delimiter": ";",
        "encoding": "utf-8",
        "decimal": ",",
        "thousands": ".",
        "skip_lines": 1,
        "skip_last": 1,
        "comment": "#",
        "header": True,
        "format": "csv",
        "columns_found": ["x", "colour", "good"],
        "types_found": ["number", "string", "integer"],
    }


def test_columns_are_chosen_and_named() -> None:
    found = source_of("--no-header", "--names", "a,b", "--names", "y", target="y", text=ROWS)
    assert found["columns_found"] == ["a", "b", "y"]
    assert (found["header"], found["names"]) == (False, ["a", "b", "y"])
    assert source_of("--columns", "x,good")["columns_found"] == ["x", "good"]
    assert source_of("--exclude", "x")["columns_found"] == ["colour", "good"]
    tabbed = ROWS.replace(",", "\t")
    assert source_of("--delimiter", "tab", text=f"x\tcolour\tgood\n{tabbed}")["delimiter"] == "\t"


def test_what_an_error_proposes_is_taken_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    found = source_of(target="column_3", text=f"{ROWS}Total,,60\n")

    assert (found["header"], found["skip_last"]) == (False, 1)
    said = capsys.readouterr().out
    assert said.index("high") < said.index("Wrote project.yaml")
    assert "line 121 looks like a total" in said
    assert "-> source: skip_last: 1 (--skip-last)" in said
    assert "-> source: header: false (--no-header)" in said
    assert "# Assumed (high risk): t.csv: line 121 looks like" in Path("project.yaml").read_text()


def test_of_a_list_that_grows_only_what_is_new_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{n if n % 40 else '-'},{n},{n % 2}\n" for n in range(120))
    found = source_of(text=f"a/b,colour,good\n{rows}")

    assert found["na_values"] == [*NA_VALUES, "-"]
    said = capsys.readouterr().out
    assert '-> source: na_values: [..., "-"] (--na-values)' in said
    assert "t.csv: line 2: column 'a/b'" in said


def test_assumptions_are_about_all_rows(capsys: pytest.CaptureFixture[str]) -> None:
    source_of(text=f"x,colour,good\n{ROWS * 2}x,colour,good\n{ROWS}")
    assert "1 row that repeats the names" in capsys.readouterr().out


def test_nothing_is_said_of_a_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    source_of()
    assert "Assumed" not in capsys.readouterr().out
    assert "Assumed" not in Path("project.yaml").read_text()


def test_an_error_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("x,x,good\n" + ROWS)
    assert main(["init", "t.csv", "--target", "good"]) == 1
    assert "(Options of penstock init: --names, --header.)" in capsys.readouterr().err
    assert not Path("project.yaml").exists()


def test_an_option_that_is_written_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text(f"x,colour,good\n{ROWS}")
    for options in (["--types", "x"], ["--types", "x=float"], ["--decimal", "p"]):
        assert main(["init", "t.csv", "--target", "good", *options]) != 0
        assert options[1].partition("=")[2] or options[1] in capsys.readouterr().err


def test_the_same_settings_read_the_table_in_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source_of(target="column_3", text=f"{ROWS}Total,,60\n")
    spec = project.load(Path("project.yaml")).source

    assert ingest(spec, output=tmp_path / "d").rows == 120

    # Without them a run refuses, and does not take a proposal by itself.
    with pytest.raises(InputError, match="looks like"):
        ingest(SourceSpec(uri="t.csv"), output=tmp_path / "e")


def test_a_run_says_what_it_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_bytes("name,y\nŁódź,1\nŚwidnica,0\nŻagań,1\n".encode("cp1250"))
    dataset = ingest(SourceSpec(uri="t.csv"), output=tmp_path / "d")
    logged = capsys.readouterr().out
    assert "assumed (high risk): The encoding was guessed" in logged
    assert logged.splitlines()[-1].endswith(", 1 assumed of how to read it")

    assert "Assumed" in (said := summary(result(dataset, tmp_path)))
    assert "cp1250, in which words are 'Łódź'" in said
    assert "high risk; source.encoding: cp1250" in said


def result(dataset: Dataset, folder: Path) -> RunResult:
    return RunResult(
        outcome="failed",
        reason="A test.",
        folder=folder,
        log=folder / "log",
        home=folder,
        tracking_uri="",
        dataset=dataset,
    )


def test_settings_pass_through_a_pipeline_as_json() -> None:
    source_of(target="column_3", text=f"{ROWS}Total,,60\n")
    passed = for_run(project.load(Path("project.yaml")), folder=Path())["source"]
    # Kubeflow makes floats of whole numbers inside an object.
    passed = {key: float(v) if type(v) is int else v for key, v in passed.items()}

    spec = SourceSpec.parse({**passed, "uri": "t.csv"}, where="ingest")

    assert (spec.header, spec.skip_last, spec.skip_lines) == (False, 1, "auto")
    assert type(spec.skip_last) is int
