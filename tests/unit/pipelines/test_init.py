"""The first project file: whole, explained, and refused with a reason when it cannot be written."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from penstock import project
from penstock.errors import InputError
from penstock.gate.policy import Policy
from penstock.pipelines.init import write_project
from penstock.records.spec import Spec

ROWS = "".join(f"{n},{'red' if n % 3 else 'blue'},{n % 2}\n" for n in range(120))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "Wine Tasting 2.csv"
    path.write_text("x,colour,good\n" + ROWS)
    return path


def test_it_loads_and_names_what_was_inferred(table: Path, tmp_path: Path) -> None:
    written = write_project(str(table), target="good", output=tmp_path / "sub" / "project.yaml")
    loaded = project.load(written)
    assert (loaded.name, loaded.task, loaded.positive) == ("wine-tasting-2", "binary", "1")
    assert [column.name for column in loaded.contract.columns] == ["x", "colour", "good"]
    assert loaded.expectations
    assert project.resolved_uri(loaded, folder=written.parent) == str(table)


def test_every_field_is_explained(table: Path, tmp_path: Path) -> None:
    text = write_project(str(table), target="good", output=tmp_path / "p.yaml").read_text()
    for field in ("#trials: 20", "#holdout: 0.2", "#na_values:", "margin: 0.01", "#port: 8080"):
        assert field in text
    assert "folds" not in text
    assert text.index("training:") < text.index("gate:") < text.index("expectations:")
    assert write_project(
        str(table), target="good", output=tmp_path / "full.yaml", full=True
    ).read_text().count("#") > 2 * text.count("#")


def settings_of(kind: type[Spec], where: str = "") -> set[str]:
    """The dotted names of every field that a file with nothing left out has."""
    names = set()
    for name, field in kind.model_fields.items():
        inner = field.annotation
        section = isinstance(inner, type) and issubclass(inner, Spec)
        names |= settings_of(inner, f"{where}{name}.") if section else {f"{where}{name}"}
    return names


def test_the_full_file_leaves_no_setting_out(table: Path, tmp_path: Path) -> None:
    path = write_project(str(table), target="good", output=tmp_path / "p.yaml", full=True)
    parents: list[str] = []
    written = set()
    for line in path.read_text().splitlines():
        if found := re.match(r"( *)#?(\w+):", line):
            parents[len(found[1]) // 2 :] = [found[2]]
            written.add(".".join(parents))
    rules = {"gate." + name for name in Policy.model_fields}
    asked = settings_of(project.Project)
    # Every rule stands there; what may be said within one is in the reference.
    assert {name for name in asked if not name.startswith("gate.")} <= written
    assert rules <= written


@pytest.mark.parametrize("full", [False, True])
def test_what_is_uncommented_loads_and_means_the_same(
    table: Path, tmp_path: Path, full: bool
) -> None:
    path = write_project(str(table), target="good", output=tmp_path / "p.yaml", full=full)
    lines = path.read_text().splitlines()
    as_written = project.load(path)
    assert as_written.gate == Policy()

    def uncommented(numbers: set[int]) -> project.Project:
        text = [
            re.sub("^( *)#", r"\1", line) if number in numbers else line
            for number, line in enumerate(lines)
        ]
        path.write_text("\n".join(text))
        return project.load(path)

    commented = [number for number, line in enumerate(lines) if re.match(r" *#\S", line)]
    assert len(commented) > (80 if full else 12)
    sections: dict[int, set[int]] = {}
    starts = [number for number, line in enumerate(lines) if re.match(r"\w+:", line)]
    for number in commented:
        assert uncommented({number}) == as_written, lines[number]
        sections.setdefault(max(s for s in starts if s < number), set()).add(number)
    for numbers in [*sections.values(), set(commented)]:
        assert uncommented(numbers) == as_written


def test_what_is_commented_out_has_its_default(table: Path, tmp_path: Path) -> None:
    path = write_project(str(table), target="good", output=tmp_path / "p.yaml")
    lines = path.read_text().splitlines()
    start = lines.index("expectations:")
    kept = lines[: start + 1] + [f"#{line}" for line in lines[start + 1 :]]
    path.write_text("\n".join(kept))
    assert project.load(path).expectations == ()
    # A rule that cannot be left unasked does not fall back to its default in silence.
    path.write_text("\n".join(kept).replace("  baseline: {", "  baseline:\n  #{"))
    with pytest.raises(InputError, match=r"gate.baseline: .*got None"):
        project.load(path)


def test_a_database_is_found_from_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("wine.db") as database:
        database.execute("create table t (x integer, good integer)")
        database.executemany("insert into t values (?, ?)", [(n, n % 2) for n in range(120)])
    database.close()
    written = write_project(
        "sqlite:///wine.db",
        query="select * from t",
        target="good",
        output=tmp_path / "sub" / "p.yaml",
    )
    loaded = project.load(written)
    assert project.resolved_uri(loaded, folder=written.parent) == f"sqlite:///{tmp_path}/wine.db"


@pytest.mark.parametrize(
    ("target", "message"),
    [("goood", r"goood.*(good|columns)"), ("constant", "constant|one value|same")],
)
def test_a_target_that_does_not_fit_leaves_nothing(
    tmp_path: Path, target: str, message: str
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,constant\n" + "".join(f"{n},7\n" for n in range(50)))
    with pytest.raises(InputError, match=message):
        write_project(str(table), target=target, output=tmp_path / "p.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_project_that_is_there_is_kept(table: Path, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        write_project(str(table), target="good", output=tmp_path / "p.yaml")
    assert (tmp_path / "p.yaml").read_text() == "mine"
    write_project(str(table), target="good", output=tmp_path / "p.yaml", force=True)
    assert "target: good" in (tmp_path / "p.yaml").read_text()


def test_rows_without_a_target_are_left_out_where_there_are_any(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = project.load(write_project(str(table), target="good", output=tmp_path / "a.yaml"))
    assert not whole.split.drop_missing_target
    assert "missing" not in capsys.readouterr().out
    table.write_text(table.read_text().replace("0,blue,0\n", "0,blue,\n"))
    written = write_project(str(table), target="good", output=tmp_path / "b.yaml")
    assert project.load(written).split.drop_missing_target
    assert "missing in 4 of 120 rows" in capsys.readouterr().out
    assert "# Leave out rows without a target" in written.read_text()
