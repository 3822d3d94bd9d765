"""The map of CONTRIBUTING.md: every place that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_TOPS = "penstock|pipelines|components|tests|benchmarks|scripts|docs|manifests|images"
PLACES = sorted(set(re.findall(rf"`((?:{_TOPS})/[\w./-]*)`", TEXT)))


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_it_names_is_there(place: str) -> None:
    found = ROOT / place
    assert found.is_dir() if place.endswith("/") else found.exists()


def test_it_answers_twenty_questions_and_says_where_six_things_are_added() -> None:
    questions = re.findall(r"^\| [A-Z].*\? \|", TEXT, flags=re.MULTILINE)
    assert len(questions) >= 20
    assert len(PLACES) > 40
    for thing in (
        "file format", "metric", "gate rule", "router backend", "component", "CLI command"
    ):  # fmt: skip
        assert re.search(rf"^### An? {thing}$", TEXT, flags=re.MULTILINE), thing
