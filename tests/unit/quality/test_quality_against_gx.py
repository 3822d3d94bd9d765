"""What the states find, beside what Great Expectations finds in the same rows."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from expectation_tables import KINDS, Expecting, table

from penstock.data.table import write_dataset
from penstock.quality import _gx, engine
from penstock.quality.outcome import Outcome
from penstock.quality.spec import Expectation

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Groups in patterns, to pandas.

# pandas has no answer where whole numbers or booleans with gaps are compared or added up. Great
# Expectations has none of pairs of whole numbers in a set, nor of pairs of few rows.
UNABLE = (
    "boolean value of NA is ambiguous", "'NoneType'", "NAType", "Invalid result values were found",
    "int64 is not JSON serializable", "<NA> could not be read as a number",
)  # fmt: skip


def compared(folder: Path, seed: int, rows: int, each: int) -> int:
    """Check expectations by both and return how many were; raise where they differ."""
    chance = random.Random(seed)
    made = table(chance, rows)
    dataset = write_dataset([made], output=folder, source="random")
    draw = Expecting(chance, made)
    drawn = dict(enumerate(draw.draw(kind) for kind in KINDS for _ in range(each)))
    planned = {at: engine.planned(one, dataset, at) for at, one in drawn.items()}
    ours = engine.evaluate(folder, dataset, {at: one for at, one in planned.items() if one})
    asked = without_repeated_quantiles({at: drawn[at] for at in ours})
    for at, theirs in _gx.run(folder, dataset, asked).items():
        told = (drawn[at].type, drawn[at].kwargs, rows, seed)
        assert same(ours[at], theirs), (told, ours[at], theirs)
    return len(ours)


def without_repeated_quantiles(drawn: dict[int, Expectation]) -> dict[int, Expectation]:
    """Return what Great Expectations may be asked at once.

    It gives two expectations on quantiles of one column the same quantiles: those of one of them.
    """
    first = {one.kwargs["column"]: at for at, one in drawn.items() if "quantile" in one.type}
    return {
        at: one
        for at, one in drawn.items()
        if "quantile" not in one.type or first[one.kwargs["column"]] == at
    }


def same(ours: Outcome, theirs: Outcome) -> bool:
    """Return whether two outcomes say the same, but for how missing values and times are written.

    Figures are compared by nine digits: Great Expectations rounds at every step.
    """
    if theirs.error and any(word in theirs.error for word in UNABLE):
        return not ours.passed or not ours.error
    if theirs.observed == "NaT":
        return not ours.passed and not theirs.passed and not ours.observed
    counts = (ours.passed, ours.checked, ours.unexpected, ours.error)
    if counts != (theirs.passed, theirs.checked, theirs.unexpected, theirs.error):
        return False
    return (
        len(ours.samples) == len(theirs.samples)
        and all(map(alike, ours.samples, theirs.samples))
        and close(ours.observed, theirs.observed)
    )


def alike(one: str, other: str) -> bool:
    """Return whether two samples are the same; a long one is cut where words count differently."""
    left, right = plain(one), plain(other)
    if one.endswith("…") and other.endswith("…"):
        short, long = sorted((left[:-1], right[:-1]), key=len)
        return long.startswith(short)
    return left == right


def plain(text: str) -> str:
    """Return a sample with one word for what is missing, and times without their zone."""
    return re.sub(r"\b(nan|NaT)\b|<NA>", "None", text.replace("+00:00", ""))


def close(one: str, other: str) -> bool:
    """Return whether two figures are the same in nine digits, or the same text."""
    if one == other:
        return True
    try:
        left, right = (float(text.replace(",", "")) for text in (one, other))
    except ValueError:
        return False
    return abs(left - right) <= 1e-9 * max(abs(left), abs(right))


def test_states_find_what_great_expectations_finds(tmp_path: Path) -> None:
    checked = [compared(tmp_path / str(rows), seed=rows, rows=rows, each=3) for rows in (1, 300)]
    assert min(checked) >= 30


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
def test_states_find_what_great_expectations_finds_in_many_tables(
    tmp_path: Path, seed: int
) -> None:
    rows = [1, 2, 3, 20, 250, 1000][seed % 6]
    assert compared(tmp_path / "data", seed=100 + seed, rows=rows, each=25) >= 250
