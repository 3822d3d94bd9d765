"""`penstock review`: what waits for a person, and that a person's word becomes a label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from capture_rows import INPUTS, MODEL, START, capture_all, label, rows

from penstock.captures.places import LocalPlace
from penstock.captures.reader import read_labels
from penstock.captures.review import label_of
from penstock.captures.shipping import ship
from penstock.errors import InputError
from penstock.pipelines import cli

COST = "{matrix: {false_negative: -10, false_positive: -2}, review: 0.5}"
PROJECT = f"{{name: shop, target: bought, source: {{uri: none.csv}}, gate: {{cost: {COST}}}}}"


@pytest.fixture(autouse=True)
def captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory, and what its server captured: a band of 0.05 to 0.75."""
    (tmp_path / "project.yaml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".penstock" / "serving" / "shop" / "captures" / "version-3"
    capture_all(
        folder,
        rows("sure", scores=[0.9]),
        rows("edge", scores=[0.05]),
        rows("doubtful", time=START + 60, count=2, scores=[0.01, 0.4]),
        rows("later", time=START + 90, scores=[0.5]),
        rows("copy", scores=[0.5], mirrored=True),
        rows("known", scores=[0.3]),
    )
    label(folder, ("known", 0, "yes"))
    return folder


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, object]]:
    assert cli.main(["review", "list", "--json", *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_rows_in_the_band_wait_until_they_have_a_label(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert [(one["request"], one["row"], one["score"]) for one in listed(capsys)] == [
        ("doubtful", 1, 0.4),
        ("later", 0, 0.5),
    ]
    assert listed(capsys, "--limit", "1")[0]["inputs"]["city"] == "Köln"  # type: ignore[index]
    assert cli.main(["review", "list"]) == 0
    said = capsys.readouterr().out
    assert "2 rows wait, 1 of the band have their label." in said
    assert "doubtful row 1" in said


def test_a_row_is_one_line_whatever_its_inputs_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = {name: [values[0]] for name, values in INPUTS.items()} | {"city": ["a\nb\x1b[2J"]}
    capture_all(tmp_path / "other", rows("forged", scores=[0.5], inputs=forged))
    assert cli.main(["review", "list", "--at", str(tmp_path / "other")]) == 0
    said = capsys.readouterr().out
    assert r"city='a\nb\x1b[2J'" in said
    assert len(said.splitlines()) == 2


def test_an_answer_is_written_beside_shipped_rows_once(
    captures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    ship(captures, LocalPlace(store / "version-3"), pod="p")
    at = ("--at", str(store))
    assert cli.main(["review", "answer", "doubtful", "perhaps", "--row", "1", *at]) == 1
    assert "none of the classes" in capsys.readouterr().err
    assert cli.main(["review", "answer", "doubtful", "yes", "--row", "1", *at]) == 0
    assert "Row 1 of doubtful is 'yes'." in capsys.readouterr().out
    assert [one["request"] for one in listed(capsys, *at)] == ["later"]
    found = read_labels(store, after=None)[0].to_pylist()
    assert ("doubtful", 1, "yes") in {
        (one["request_id"], one["row"], one["label"]) for one in found
    }
    assert cli.main(["review", "answer", "doubtful", "no", "--row", "1", *at]) == 1
    assert "has its label already, or was not captured" in capsys.readouterr().err


def test_what_cannot_be_asked_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["review", "answer", "later", "yes"]) == 2
    assert "does not run, and takes no label" in capsys.readouterr().err
    (tmp_path / "project.yaml").write_text("{name: shop, target: bought, source: {uri: none.csv}}")
    assert cli.main(["review", "list"]) == 2
    assert "gate.cost.review" in capsys.readouterr().err


def test_a_word_is_the_class_that_it_is_to_the_letter_or_the_only_one_otherwise(
    tmp_path: Path,
) -> None:
    def place(*classes: str) -> Path:
        model = MODEL.model_copy(update={"classes": classes})
        capture_all(tmp_path / "-".join(classes), rows("r"), model=model)
        return tmp_path / "-".join(classes)

    both = place("Yes", "yes")
    assert (label_of(both, "Yes"), label_of(both, "yes")) == ("Yes", "yes")
    assert label_of(place("No", "Yes"), "yes") == "Yes"
    with pytest.raises(InputError, match="more than one of the classes"):
        label_of(place("YES", "Yes"), "yes")
