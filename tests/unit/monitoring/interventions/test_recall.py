"""Which former champion is chosen for rows: the right one, and none for luck or lack of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from monitored_rows import captured
from regimes import former, knows, window

from penstock.errors import IntegrityError
from penstock.monitoring.estimates.concept import Concept, MetricConcept
from penstock.monitoring.interventions.recall import Former, Unusable, choose
from penstock.monitoring.settings.recall import RecallSpec
from penstock.records.baseline import Baseline, ScoreBins

SPEC = RecallSpec()


def test_the_version_of_the_regime_that_came_back_is_chosen(tmp_path: Path) -> None:
    rows, labels = window("A", 600, seed=100)
    choice = choose(
        [former(2, "C", tmp_path), former(1, "A", tmp_path)],
        champion=former(3, "B", tmp_path),
        rows=rows,
        labels=labels,
        spec=SPEC,
    )
    other, right = choice.comparisons
    assert choice.version == 1
    assert (choice.method, choice.metric, choice.compared_rows) == ("labels", "accuracy", 600)
    assert (other.fits, right.fits, right.better) == (False, True, True)
    assert other.advantage is None
    assert right.advantage is not None
    assert right.figure is not None
    assert choice.figure is not None
    assert right.advantage.value == pytest.approx(right.figure - choice.figure)
    assert choice.reason.startswith("Version 1 is chosen. Version 1 fits: 0% of its inputs")
    assert "By the labels of 600 rows its accuracy is" in choice.reason
    assert other.sentence.startswith(
        "Version 2 does not fit: the rows lie no nearer to it than to the champion: 33% of its "
    )


def test_a_loss_is_better_the_lower(tmp_path: Path) -> None:
    def ranked(version: int, name: str) -> object:
        made = former(version, name, tmp_path)
        return replace(made, baseline=made.baseline.model_copy(update={"metric": "brier"}))

    rows, labels = window("A", 600, seed=101)
    choice = choose([ranked(1, "A")], champion=ranked(2, "B"), rows=rows, labels=labels, spec=SPEC)  # type: ignore[list-item]
    (one,) = choice.comparisons
    assert (choice.version, choice.metric) == (1, "brier")
    assert one.advantage is not None
    assert 0 < one.advantage.low < one.advantage.value < one.advantage.high


def test_what_lies_no_nearer_than_the_champion_does_not_fit(tmp_path: Path) -> None:
    rows, labels = window("C", 1000, seed=102)
    choice = choose(
        [former(1, "B", tmp_path)],
        champion=former(2, "A", tmp_path),
        rows=rows,
        labels=labels,
        spec=SPEC,
    )
    assert choice.version is None
    assert choice.method == ""
    assert choice.reason == (
        "No former champion is chosen: the rows are not of the kind that any of them learned from."
    )
    assert choice.comparisons[0].outside == pytest.approx(1 / 3)
    assert "the rows lie no nearer to it than to the champion" in choice.comparisons[0].sentence


def test_where_the_champion_fits_so_must_the_other(tmp_path: Path) -> None:
    rows, labels = window("A", 1000, seed=103)
    choice = choose(
        [former(1, "B", tmp_path), former(2, "A", tmp_path)],
        champion=former(3, "A", tmp_path, predict=backwards),
        rows=rows,
        labels=labels,
        spec=SPEC,
    )
    assert choice.version == 2
    assert choice.comparisons[0].sentence == (
        "Version 1 does not fit: 33% of its inputs are beyond tolerance (amount), and the champion "
        "fits."
    )


def backwards(table: pa.Table) -> Any:
    """Return the scores of a version to which everything means the opposite."""
    return 1 - knows("A")(table["inputs.amount"].to_numpy())


def test_a_version_in_a_regime_that_none_knows_is_not_shown_to_be_better(tmp_path: Path) -> None:
    rows, labels = window("C", 1000, seed=104)
    choice = choose(
        [former(1, "A", tmp_path)],
        champion=former(2, "B", tmp_path),
        rows=rows,
        labels=labels,
        spec=SPEC,
    )
    assert choice.comparisons[0].fits
    assert choice.reason == (
        "No former champion is chosen: none is shown to be better than version 2."
    )


def test_there_is_none(tmp_path: Path) -> None:
    table = captured({"amount": [1.0]})
    one = former(1, "A", tmp_path)
    choice = choose([], champion=one, rows=table, labels=None, spec=SPEC)
    assert choice.reason == "No former champion is chosen: there is none."


def test_a_few_rows_show_nothing(tmp_path: Path) -> None:
    rows, labels = window("A", 199, seed=105)
    one, other = former(1, "A", tmp_path), former(2, "B", tmp_path)
    choice = choose([one], champion=other, rows=rows, labels=labels, spec=SPEC)
    assert choice.reason == (
        "No former champion is chosen: nothing can be compared with version 2. the window: 199 "
        "rows are too few to say what they fit; 200 are needed."
    )


def unsure(table: pa.Table) -> Any:
    """Return the scores of a version that knows nothing of these rows, and says so."""
    return np.where(np.arange(len(table)) % 2, 0.45, 0.55)


def few(labels: list[str]) -> list[str | None]:
    return [label if at < 150 else None for at, label in enumerate(labels)]


def test_with_too_few_labels_the_metrics_are_estimated(tmp_path: Path) -> None:
    rows, labels = window("A", 1000, seed=106)
    lost = former(2, "B", tmp_path, predict=unsure)
    champion = replace(lost, baseline=half_right(lost.baseline))
    one = former(1, "A", tmp_path)
    choice = choose([one], champion=champion, rows=rows, labels=few(labels), spec=SPEC)
    assert (choice.version, choice.method, choice.labels) == (1, "estimates", 150)
    assert choice.figure == pytest.approx(0.5, abs=0.05)
    assert choice.comparisons[0].figure == pytest.approx(0.85, abs=0.03)
    assert "As estimated without labels on 1,000 rows its accuracy is" in choice.reason
    # The same with what labels have taught of the estimates: off by 0.5 more often than not.
    taught = MetricConcept(windows=9, excess=0.25)
    wide = choose(
        [one],
        champion=champion,
        rows=rows,
        labels=None,
        spec=SPEC,
        concept=Concept(metrics={"accuracy": taught}),
    )
    assert wide.version is None
    withdrawn = MetricConcept(windows=9, misses=9, withdrawn=True)
    none = choose(
        [one],
        champion=champion,
        rows=rows,
        labels=None,
        spec=SPEC,
        concept=Concept(metrics={"accuracy": withdrawn}),
    )
    assert none.version is None
    assert "The estimate of accuracy is withdrawn" in none.reason


def half_right(baseline: Baseline) -> Baseline:
    """Return a baseline by which scores near a half are right every other time."""
    bins = ScoreBins(edges=(0.499, 1.0), rows=(999, 999), sums=(450, 549), hits=(450, 549))
    return baseline.model_copy(update={"scores": (bins,)})


def test_without_labels_a_version_is_not_chosen_where_the_champion_fits(tmp_path: Path) -> None:
    rows, _ = window("A", 1000, seed=107)
    lost = former(2, "A", tmp_path, predict=unsure)
    champion = replace(lost, baseline=half_right(lost.baseline))
    one = former(1, "A", tmp_path)
    choice = choose([one], champion=champion, rows=rows, labels=None, spec=SPEC)
    assert choice.version is None
    assert "the rows fit the champion too" in choice.comparisons[0].sentence


def test_without_labels_a_version_has_to_know_such_rows(tmp_path: Path) -> None:
    rows, _ = window("C", 1000, seed=115)
    lost = former(2, "B", tmp_path, predict=unsure)
    champion = replace(lost, baseline=half_right(lost.baseline))
    one = former(1, "A", tmp_path)
    choice = choose([one], champion=champion, rows=rows, labels=None, spec=SPEC)
    assert choice.version is None
    assert choice.comparisons[0].fits
    assert "what its scores mean on such rows is not known" in choice.comparisons[0].sentence


def test_of_many_equal_versions_none_is_chosen_for_being_lucky(tmp_path: Path) -> None:
    """The best of ten looks better by an interval of its own: the one that allows for ten is wider.

    How often in 200 seeds is a figure of `make bench-recall`.
    """
    champion = former(1, "A", tmp_path, noise=3)
    equal = [replace(champion, version=k, predict=noisy(k)) for k in range(2, 12)]
    chosen = lucky = 0
    for seed in range(12):
        rows, labels = window("A", 300, seed=1000 + seed)
        choice = choose(equal, champion=champion, rows=rows, labels=labels, spec=SPEC)
        assert choice.confidence == pytest.approx(0.995)
        chosen += choice.version is not None
        found = [one.advantage for one in choice.comparisons if one.advantage]
        assert len(found) == 10
        # What their intervals would be without the others.
        lucky += any(one.value - (one.value - one.low) * 1.96 / 2.807 > 0 for one in found)
    assert chosen == 0
    assert lucky >= 1


def noisy(version: int) -> Callable[[pa.Table], Any]:
    """Return the scores of one of many versions that are right equally often, on other rows."""

    def scores(table: pa.Table) -> Any:
        amount = table["inputs.amount"].to_numpy()
        plain = np.clip(knows("A")(amount), 1e-9, 1 - 1e-9)
        return 1 / (1 + (1 / plain - 1) * np.exp(-3 * np.sin(1e6 * (amount + version))))

    return scores


def test_a_version_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    def torn(table: pa.Table) -> Any:
        raise IntegrityError("the digest differs", where="models:/shop/2")

    rows, labels = window("A", 500, seed=108)
    other = former(3, "A", tmp_path)
    choice = choose(
        [
            Unusable(1, "its files are gone."),
            former(2, "A", tmp_path, predict=torn),
            replace(other, baseline=other.baseline.model_copy(update={"classes": ("a", "b")})),
            former(4, "A", tmp_path, predict=lambda table: np.full(len(table), np.nan)),
            replace(former(5, "A", tmp_path), columns=("amount", "age")),
            former(6, "A", tmp_path),
        ],
        champion=former(7, "B", tmp_path),
        rows=rows,
        labels=labels,
        spec=SPEC,
    )
    assert choice.version == 6
    assert choice.confidence == 0.95
    gone, torn_one, question, nothing, absent, right = (one.sentence for one in choice.comparisons)
    assert gone == "Version 1 cannot be compared: its files are gone."
    assert torn_one.endswith("It cannot be compared: models:/shop/2: the digest differs.")
    assert question == ("Version 3 cannot be compared: It predicts something else than version 7.")
    assert nothing.endswith("It cannot be compared: it has no score for 500 of 500 rows.")
    assert absent == "Version 5 cannot be compared: the window: 'age' is absent."
    assert right.endswith("so it is shown to be better.")


def test_labels_of_another_type_are_said_and_not_counted_as_wrong(tmp_path: Path) -> None:
    rows, labels = window("A", 500, seed=109)
    codes = [int(label == "yes") for label in labels]
    one, other = former(1, "A", tmp_path), former(2, "B", tmp_path)
    choice = choose([one], champion=other, rows=rows, labels=codes, spec=SPEC)
    assert choice.version is None
    assert "none of the 500 labels, such as" in choice.reason


def test_a_bounded_number_of_rows_is_scored_spread_over_all(tmp_path: Path) -> None:
    seen: list[pa.Table] = []

    def watching(table: pa.Table) -> Any:
        seen.append(table)
        return knows("A")(table["inputs.amount"].to_numpy())

    rows, labels = window("A", 3000, seed=110)
    spec = RecallSpec(rows=500)
    choice = choose(
        [former(1, "A", tmp_path, predict=watching)],
        champion=former(2, "B", tmp_path),
        rows=rows,
        labels=labels,
        spec=spec,
    )
    assert choice.version == 1
    assert choice.compared_rows == 500
    # One call of the helper itself.
    assert [table.num_rows for table in seen[-1:]] == [500]
    times = seen[-1]["time"].to_pylist()
    # Of many rows the newer half alone is looked at.
    assert times[0] == rows["time"][1500].as_py()
    assert times[-1] == rows["time"][-1].as_py()


def test_rows_from_before_the_change_do_not_hide_it(tmp_path: Path) -> None:
    """The change is known only roughly: here four in ten rows are from before it."""
    before, old = window("B", 800, seed=113)
    after, new = window("A", 1200, seed=114)
    rows = pa.concat_tables([before, after])
    one, other = former(1, "A", tmp_path), former(2, "B", tmp_path)
    choice = choose([one], champion=other, rows=rows, labels=[*old, *new], spec=SPEC)
    assert (choice.version, choice.compared_rows, choice.rows) == (1, 1000, 2000)
    assert choice.comparisons[0].outside == 0


def test_values_of_a_regression_are_compared_by_their_errors(tmp_path: Path) -> None:
    def value(name: str, version: int) -> Former:
        made = former(version, name, tmp_path)
        fields = {"task": "regression", "metric": "rmse", "classes": (), "threshold": None}
        return replace(
            made,
            baseline=made.baseline.model_copy(update=fields),
            predict=lambda table: knows(name)(table["inputs.amount"].to_numpy()),
        )

    rows, _ = window("A", 500, seed=111)
    truth = knows("A")(rows["inputs.amount"].to_numpy())
    labels = (truth + np.random.default_rng(1).normal(size=500) / 10).tolist()
    choice = choose([value("A", 1)], champion=value("B", 2), rows=rows, labels=labels, spec=SPEC)
    assert (choice.version, choice.metric) == (1, "rmse")
    assert choice.comparisons[0].figure == pytest.approx(0.1, abs=0.01)


def test_labels_are_one_a_row(tmp_path: Path) -> None:
    rows, labels = window("A", 300, seed=112)
    one, other = former(1, "A", tmp_path), former(2, "B", tmp_path)
    with pytest.raises(ValueError, match="299 labels of 300 rows"):
        choose([one], champion=other, rows=rows, labels=labels[1:], spec=SPEC)
