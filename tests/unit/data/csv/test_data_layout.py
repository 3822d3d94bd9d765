"""What stands in a CSV file beside its rows: names, titles, comments, units, totals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.data.csv import reader as csv_source
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.table import read_table
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]
Refuse = Callable[..., str]

ROWS = "".join(f"{n},x{n % 3},{n % 2}\n" for n in range(40))
TABLE = {"a": list(range(40)), "b": [f"x{n % 3}" for n in range(40)], "y": [0, 1] * 20}
HEADED = f"a,b,y\n{ROWS}"
WIDE = "a,b,y,u\n" + ROWS.replace("\n", ",1.5\n")


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (HEADED, {}, ""),
        ("\n  \n\n" + HEADED, {}, ""),
        ("sep=;\n" + HEADED.replace(",", ";"), {}, "names the delimiter, as Excel"),
        ('"sep=|"\r\n' + HEADED.replace(",", "|"), {}, "names the delimiter, as Excel"),
        ("# by a tool\n# on a day\n" + HEADED, {}, "first 2 lines were left out as comments"),
        ("# hello, dear, user\n" + HEADED, {}, "first line was left out as a comment"),
        ("// made by hand\n\n" + HEADED, {}, "first line was left out as a comment"),
        ("A report\n\n" + HEADED, {}, "first 2 lines were left out as a title"),
        ("A report,,\n,,\n" + HEADED, {}, "first 2 lines were left out as a title"),
        ("A report,of me\n" + HEADED, {"skip_lines": 1}, ""),
        ("%x\n" + HEADED + "%y\n%z, 1\n", {"comment": "%"}, ""),
        (HEADED + "Total,,20\n", {"skip_last": 1}, ""),
        (HEADED + "Total,,20\nMean,,1\n\n", {"skip_last": 2}, ""),
        (HEADED.replace("\n20,", "\na,b,y\n20,") + "a,b,y\n", {}, "2 rows that repeat the names"),
        (HEADED.replace("\n20,", "\n\ufeffa,b,y\n20,"), {}, "1 row that repeats the names"),
        (" a , b,y  \n" + ROWS, {}, ""),
        ('\ufeff"a","b","y"\n' + ROWS, {}, ""),
        (ROWS, {"header": False, "names": ["a", "b", "y"]}, ""),
        (HEADED, {"names": ["a", "b", "y"]}, ""),
        ("i,b,b\n" + ROWS, {"header": True, "names": ["a", "b", "y"]}, ""),
        ("u,v,w\n" + ROWS, {"names": ["a", "b", "y"]}, "which names replaces"),
        (WIDE, {"exclude": ["u"]}, ""),
        (WIDE, {"columns": ["y", "b", "a"]}, ""),
        (
            ",a,b,y\n" + "".join(f"{7 * n},{row}\n" for n, row in enumerate(ROWS.split())),
            {},
            "numbers the rows, as pandas writes an index; it was left out",
        ),
    ],
)
def test_what_is_no_row_is_left_out(
    text: str,
    settings: dict[str, Any],
    said: str,
    table: Callable[..., Path],
    read: Read,
    output: Path,
) -> None:
    dataset = read(table(text), **settings)

    assert read_table(output).to_pydict() == TABLE
    assert len(dataset.assumptions) == bool(said)
    assert all(said in assumption.text for assumption in dataset.assumptions)


@pytest.mark.parametrize(
    ("text", "said", "proposal"),
    [
        ("3.4,1.1,s\n0.7,2.6,v\n2.7,2.1,s\n", "line 1: the first row looks", {"header": False}),
        ("2020-01-03,1\n2020-01-01,1\n", "line 1: the first row looks", {"header": False}),
        ("f,s\n" * 9 + "m,t\n", "line 1: the first row looks", {"header": False}),
        (ROWS.replace("0,", "5,", 1), "line 1: the first row looks", {"header": False}),
        ("1,2,2\n3,4,5\n6,7,8\n", "line 1: the first row looks", {"header": False}),
        ("a b y\n1 2.5 0\n3 4.5 1\n", "each row is one cell of 3 words", {"delimiter": " "}),
        (HEADED + "\nTotal,,20\n", "line 43 looks like a total", {"skip_last": 1}),
        (HEADED + "Summe:,,20\nSchnitt,,1\n", "line 42 looks like a total", {"skip_last": 2}),
        (HEADED + "\n(40 rows affected)\n", "line 43: 1 cells", {"skip_last": 1}),
        (HEADED + "# end\n" + ROWS, "line 42: 1 cells", {"comment": "#"}),
        (
            "a,b,y\n[m],-,[s]\n" + ROWS,
            "line 2: the row below the names looks like units",
            {"skip_lines": 2, "header": False, "names": ["a", "b", "y"]},
        ),
        (
            "b,y\n" + ROWS,
            "line 1: the first row has 2 names, the rows below it have 3 cells",
            {"header": True, "names": ["column_1", "b", "y"]},
        ),
    ],
)
def test_what_would_be_read_wrong_is_refused_with_settings_that_read_it(
    text: str,
    said: str,
    proposal: dict[str, Any],
    table: Callable[..., Path],
    read: Read,
    output: Path,
) -> None:
    path = table(text)
    with pytest.raises(ReadingError) as caught:
        read(path)
    assert f"{path}: {said}" in str(caught.value)
    assert caught.value.proposal == proposal
    assert all(f"{setting}: " in caught.value.remedy for setting in proposal)

    assert read(path, **proposal).rows > 1


@pytest.mark.parametrize(
    "text",
    [
        "country,2010,2011\nAT,1,2\nDE,3,4\n",
        "0,1,2\n5,6,7\n8,9,9\n",
        "s,400,402.5,405,407.5,410,412.5\na,1,2,3,4,5,6\nb,1,2,3,4,5,6\n",
        "sex,age\nmale,1\nfemale,2\nmale,3\n",
        "yes,no\nmaybe,never\n",
        "date,v\n2020-01-01,1\n",
        "Lat,1/22/20,1/23/20\n1.5,0,0\n2.5,1,3\n",
        "name,unit\nx,kg\ny,m\n",
        "#id,v\n1,2\n3,4\n",
        "text\nhello world\nfoo bar\n",
        "time\n2020-01-01 10:00\n2020-01-02 11:00\n",
        "brand,price\nTotal,1\nShell,2\nTotal,3\n",
        'a,b\n1,"see\n# this\na,b\nend"\n2,x\n',
        'a,b\n2,x\n1,"one\nTotal\n"\n',
    ],
)
def test_a_plausible_table_is_not_bothered(
    text: str, table: Callable[..., Path], read: Read, output: Path
) -> None:
    dataset = read(table(text))

    assert dataset.assumptions == ()
    assert [c.name for c in dataset.columns] == text.split("\n", maxsplit=1)[0].split(",")
    if "see" in text:
        assert read_table(output)["b"].to_pylist() == ["see\n# this\na,b\nend", "x"]


def test_a_first_row_that_could_be_both_is_said(table: Callable[..., Path], read: Read) -> None:
    (said,) = read(table("7,3\n1,2\n5,9\n")).assumptions
    assert (said.risk, said.setting) == ("high", "header: false")
    assert "'7, 3', was taken for the names" in said.text


def test_names_that_could_be_a_comment_are_said(table: Callable[..., Path], read: Read) -> None:
    (said,) = read(table("#kind,name\nfoo,bar\nbaz,qux\n")).assumptions
    assert (said.risk, "'#kind,name'" in said.text) == ("high", True)


def test_names_read_as_values_are_said(table: Callable[..., Path], read: Read) -> None:
    types = {"column_1": "string", "column_3": "string"}
    (said,) = read(table(HEADED), header=False, types=types).assumptions
    assert (said.risk, said.setting) == ("high", "header: true")


@pytest.mark.parametrize("header", ["a,b,y,", "a,b,y"])
def test_a_column_of_trailing_delimiters(
    header: str, table: Callable[..., Path], read: Read
) -> None:
    dataset = read(table(f"{header}\n" + ROWS.replace("\n", ",\n")))
    assert [column.name for column in dataset.columns] == ["a", "b", "y", "column_4"]
    assert [said.setting[:19] for said in dataset.assumptions] == ["exclude: [column_4]"]


def test_lines_keep_their_numbers(table: Callable[..., Path], refuse: Refuse) -> None:
    text = "title\n\n" + HEADED.replace("\n20,", "\n#c\na,b,y\n20,").replace("\n30,", "\n30,,,")
    message = refuse(table(text), InputError, comment="#")
    assert ": line 36: 5 cells where the header has 3" in message


def test_the_end_is_found_behind_many_blocks(
    table: Callable[..., Path], read: Read, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (7, 40, 4096):
        monkeypatch.setattr(csv_source, "BLOCK", size)
        monkeypatch.setattr(csv_source, "_FIRST", size)
        with pytest.raises(ReadingError, match="line 42 looks like a total"):
            read(table(HEADED + "Total,,20\n"))
        for last in (1, 3):
            folder = output.with_name(f"{size}-{last}")
            source = SourceSpec(
                uri=str(table(HEADED + "a,b,y\n" + "Total,,20\n" * last)), skip_last=last
            )
            ingest(source, output=folder)
            assert read_table(folder).to_pydict() == TABLE


def test_too_many_lines_are_left_out(table: Callable[..., Path], refuse: Refuse) -> None:
    assert "nothing below the 90 lines" in refuse(table(HEADED), InputError, skip_lines=90)
    assert "there are no rows" in refuse(table(HEADED), InputError, skip_last=90)
    cut = table('a,b\n1,x\n2,"one\ntwo"\n', "cut.csv")
    assert "cuts a row of several lines in two" in refuse(cut, InputError, skip_last=1)
    assert "names gives 2 names" in refuse(table(HEADED), InputError, names=["a", "b"])


def test_a_setting_that_names_no_column(table: Callable[..., Path], refuse: Refuse) -> None:
    path = table(HEADED)
    for setting in ("exclude", "columns", "types", "formats"):
        value = {"B ": "string"} if setting in ("types", "formats") else ["B "]
        message = refuse(path, InputError, **{setting: value})
        assert message.startswith(f"source.{setting}, {path}: the table has no column 'B '")
        assert "Did you mean 'b'?" in message
    assert "leave no column" in refuse(path, InputError, exclude=["a", "b", "y"])


def test_a_second_file_without_names_is_refused(
    table: Callable[..., Path], refuse: Refuse, read: Read
) -> None:
    table("x,y\n0.5,s\n0.7,t\n", "1.csv")
    second = table("0.5,s\n0.7,t\n0.9,s\n", "2.csv")
    with pytest.raises(InputError, match=f"{second}: line 1: the first row looks") as caught:
        read(second.parent)
    # For all files it would make the names of the first a row.
    assert not isinstance(caught.value, ReadingError)
