"""The threat model names the tests that show its controls: they are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_test_that_the_threat_model_names_is_there() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_/]*test_[a-z_]+\.py)`", page))
    assert len(named) > 15
    assert {each for each in named if not (ROOT / "tests" / "unit" / each).is_file()} == set()
