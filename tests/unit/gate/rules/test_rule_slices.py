"""Slices of real holdouts: given, found, judged, and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.compared import Champion
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.holdout import read_holdout
from penstock.gate.policy import Policy
from penstock.gate.rules.slices.measure import measure_slices
from penstock.gate.rules.slices.spec import Slices, SlicesSpec
from penstock.records.decision import RuleResult


@pytest.fixture(scope="module")
def world(make, tmp_path_factory) -> Any:
    """A candidate with `kind = c` wrong, a champion without that, columns they never saw."""
    from sklearn.tree import DecisionTreeClassifier

    home = tmp_path_factory.mktemp("slices")
    tree = DecisionTreeClassifier(max_depth=5, random_state=0)
    raw = make.rows("binary", 600, seed=1)
    crooked = [
        {"yes": "no", "no": "yes"}[y] if kind == "c" else y
        for y, kind in zip(raw["y"], raw["kind"], strict=True)
    ]
    rows = make.rows("binary", 4000, seed=2)
    random = np.random.default_rng(3)
    number = np.arange(4000)
    rows |= {
        "region": random.choice(["north", "south"], 4000, p=[0.97, 0.03]).tolist(),
        "id": [f"u{n % 10_000}" for n in random.permutation(4000)],
        "shop": [f"s{n}" for n in (random.pareto(1.0, 4000) * 3).astype(int) % 3000],
        "only": ["one"] * 4000,
        "empty": pd.array([None] * 4000, dtype="Float64").to_numpy(float, na_value=np.nan).tolist(),
        "flag": [None if n % 7 == 0 else bool(n % 2) for n in number],
        "when": (np.datetime64("2026-01-01") + number % 365).astype("datetime64[us]").tolist(),
        "age": random.integers(18, 90, 4000).tolist(),
    }

    class World:
        good = make.save(home / "good", "binary", tree)
        bad = make.save(home / "bad", "binary", tree, y=crooked)
        holdout = make.write(home / "holdout", rows)

    return World


def standing(world, name: str) -> Champion | None:
    return Champion(uri="models:/y/1", folder=getattr(world, name)) if name else None


def measured(world, *, candidate="good", champion="", **rule: Any) -> Slices:
    holdout = read_holdout(
        world.holdout,
        model=getattr(world, candidate),
        baselines=None,
        champion=standing(world, champion),
    )
    return measure_slices(holdout, SlicesSpec(**rule), confidence=0.95)


def judged(
    world,
    folder: Path,
    *,
    candidate: str = "good",
    champion: str = "",
    page: bool = False,
    **rule: Any,
) -> tuple[RuleResult, Evaluation]:
    policy = Policy.parse({"slices": rule}, where="gate")
    found = evaluate(
        world.holdout,
        model=getattr(world, candidate),
        baselines=None,
        champion=standing(world, champion),
        policy=policy,
        spec=EvaluationSpec(resamples=100),
        output=folder / "evaluation.json",
        report=folder / "report.html" if page else None,
    ).evaluation
    assert Evaluation.read(folder / "evaluation.json") == found
    rules = decide(found, policy=policy).rules
    return next(one for one in rules if one.rule == "slices"), found


def named(found: Slices, name: str) -> Any:
    return next(one for one in found.slices if one.name == name)


def test_figures_are_those_of_the_rows(world) -> None:
    found = measured(world, champion="bad", columns=["kind", ["flag", "kind"]], find=0)
    table = read_table(world.holdout).to_pandas()
    for name, model in (("ours", world.good), ("theirs", world.bad)):
        from penstock import model as models

        loaded = models.load(model)
        labels = loaded.labels(loaded.frame(read_table(world.holdout)))
        table[name] = np.asarray(labels) == table["y"]
    flags = table["flag"].map({True: "flag = yes", False: "flag = no"}).fillna("flag is missing")
    expected = table.groupby("kind " + "= " + table["kind"])[["ours", "theirs"]].agg(
        ["mean", "size"]
    )
    crossed = table.groupby(flags + " and kind = " + table["kind"])[["ours", "theirs"]]
    expected = pd.concat([expected, crossed.agg(["mean", "size"])])
    assert {one.name for one in found.slices} == set(expected.index)
    for one in found.slices:
        row = expected.loc[one.name]
        assert one.rows == row[("ours", "size")]
        assert one.estimate.value == pytest.approx(row[("ours", "mean")])
        apart = row[("ours", "mean")] - row[("theirs", "mean")]
        assert one.advantage.value == pytest.approx(apart)
        assert one.estimate.low <= one.estimate.value <= one.estimate.high
        assert one.advantage.low <= one.advantage.value <= one.advantage.high
    assert (found.looked_at, found.named, found.too_small) == (12, 12, 0)


def test_worse_than_the_champion_in_one_slice_is_said_and_blocks(world, tmp_path) -> None:
    rule, found = judged(
        world, tmp_path, candidate="bad", champion="good", columns=["kind"], page=True
    )
    assert (rule.verdict, rule.severity) == ("fail", "block")
    assert "kind = c" in rule.sentence
    assert "worse than the champion's by" in rule.sentence
    flagged = {one.name for one in found.slices.slices if one.flagged(alpha=0.05)}
    assert "kind = c" in flagged
    assert not flagged & {"kind = a", "kind = b"}
    html = (tmp_path / "report.html").read_text()
    assert "worse than the champion" in html.partition(">Slices</h2>")[2]


def test_better_than_the_champion_everywhere_passes_and_names_the_weakest(world, tmp_path) -> None:
    rule, found = judged(world, tmp_path, candidate="good", champion="bad")
    assert rule.verdict == "pass"
    assert "The weakest: " in rule.sentence
    assert found.slices.slices[0].name in rule.sentence
    assert f"None of {found.slices.looked_at:,} slices" in rule.sentence
    assert found.slices.looked_at > 100


def test_a_floor_blocks_where_it_is_shown_to_be_missed_and_only_there(world, tmp_path) -> None:
    rule, _ = judged(
        world, tmp_path, candidate="bad", columns=["kind"], find=0, metric="accuracy", at_least=0.7
    )
    assert rule.verdict == "fail"
    assert "kind = c" in rule.sentence
    assert "below the floor 0.7" in rule.sentence
    assert rule.sentence.startswith("1 of 3 slices is shown to be bad")
    low, _ = judged(
        world, tmp_path, candidate="bad", columns=["kind"], find=0, metric="accuracy", at_least=0.1
    )
    assert low.verdict == "pass"
    # A little below the floor is not shown to be below it.
    value = measured(world, columns=["only"], find=0).slices[0].estimate.value
    rule = {"columns": ["only"], "find": 0, "metric": "accuracy"}
    near, _ = judged(world, tmp_path, at_least=value + 0.002, **rule)
    assert near.verdict == "pass"
    far, _ = judged(world, tmp_path, at_least=value + 0.05, **rule)
    assert far.verdict == "fail"


def test_without_a_floor_or_a_champion_nothing_is_judged_but_the_weakest_are_named(
    world, tmp_path
) -> None:
    rule, _ = judged(world, tmp_path)
    assert rule.verdict == "not applicable"
    assert "no floor, and there is no champion" in rule.sentence
    assert "The weakest: " in rule.sentence


def test_what_was_not_measured_does_not_pass(world, tmp_path) -> None:
    _, found = judged(world, tmp_path, champion="bad", metric="accuracy", at_least=0.1)
    policy = Policy.parse({"slices": {"metric": "accuracy", "at_least": 0.1}}, where="gate")
    bare = [one.model_copy(update={"p_floor": None}) for one in found.slices.slices]
    for change in (
        {"slices": None},
        {"slices": found.slices.model_copy(update={"slices": ()})},
        {"slices": found.slices.model_copy(update={"slices": tuple(bare)})},
        {"champion_state": "unloadable"},
        {"slices": found.slices.model_copy(update={"compared": False})},
    ):
        rules = decide(found.model_copy(update=change), policy=policy).rules
        assert next(one for one in rules if one.rule == "slices").verdict == "fail", change


def test_the_weak_slice_is_found_without_being_named(world) -> None:
    found = measured(world, candidate="bad", find=3)
    assert found.slices[0].found
    # Its parts among the pairs may be weaker still, but all of what is listed is of it.
    assert all("kind = c" in one.name for one in found.slices)
    assert len(found.slices) <= 3
    assert found.looked_at > 100
    assert found.named == 0
    assert not any("y" in one.columns for one in found.slices)


def test_of_a_column_with_thousands_of_values_the_commonest_are_slices(world) -> None:
    found = measured(world, columns=["shop", "id"], find=0, levels=3, min_rows=10)
    table = read_table(world.holdout, ["shop"]).to_pandas()["shop"].value_counts()
    assert table.size > 100
    shops = {one.name: one.rows for one in found.slices if one.columns == ("shop",)}
    assert shops.pop("shop = other values") == table.iloc[3:].sum()
    assert shops == {f"shop = {name}": rows for name, rows in table.head(3).items()}
    assert named(found, "id = other values").rows == 3997
    assert {one.rows for one in found.slices if one.estimate is None} == {1}
    assert found.too_small == 3


def test_ten_thousand_values_cost_no_more_than_their_slices(world, make, tmp_path) -> None:
    raw = make.rows("binary", 20_000, seed=4)
    raw["key"] = [f"k{n % 10_000}" for n in range(20_000)]
    holdout = make.write(tmp_path / "wide", raw)
    rows = read_holdout(holdout, model=world.good, baselines=None, champion=None)
    found = measure_slices(rows, SlicesSpec(columns=["key"], find=2), confidence=0.95)
    assert named(found, "key = other values").rows == 20_000 - 40
    assert len(found.slices) == 1 + 20 + 2


def test_columns_without_values_and_tables_of_one_slice(world) -> None:
    found = measured(world, columns=["empty", "only"], find=0)
    assert {one.name: one.rows for one in found.slices} == {
        "empty is missing": 4000,
        "only = one": 4000,
    }
    # They hold every row, so a search says nothing of them.
    searched = measured(world, find=50)
    assert not any({"empty", "only", "id"} & set(one.columns) for one in searched.slices)


def test_pairs_without_a_large_slice_are_counted_and_not_tested(world, monkeypatch) -> None:
    from penstock.gate.rules.slices import measure as slices

    asked = {"find": 5, "min_rows": 700, "metric": "accuracy", "at_least": 0.5}
    look, looks = slices._look, []

    def counted(*given: Any, **more: Any) -> Any:
        looks.append(given)
        return look(*given, **more)

    # What is tested is that the short cut changes nothing but the work.
    monkeypatch.setattr(slices, "_look", counted)
    short, few = measured(world, **asked), len(looks)
    monkeypatch.setattr(slices, "_too_small", lambda *_: 0)
    assert measured(world, **asked) == short
    assert len(looks) - few > few


def test_numbers_and_times_are_cut_at_quantiles(world) -> None:
    found = measured(world, columns=["age", "when", "x2"], find=0)
    sizes = {one.name: one.rows for one in found.slices}
    ages = [rows for name, rows in sizes.items() if name.startswith("age")]
    assert len(ages) == 5
    assert min(ages) > 700
    assert sum(ages) == 4000
    assert any(name.startswith("when before 2026-0") for name in sizes)
    assert any(name.startswith("when from 2026-0") for name in sizes)
    assert sizes["x2 is missing"] == pytest.approx(400, abs=80)
    assert measured(world, columns=["age"], find=0, levels=100, min_rows=20).named > 60


def test_small_slices_are_listed_and_not_judged(world, tmp_path) -> None:
    found = measured(
        world, columns=["region"], find=0, min_rows=500, metric="accuracy", at_least=0.999
    )
    small = named(found, "region = south")
    assert (small.estimate, small.p_floor, small.flagged(alpha=0.5)) == (None, None, False)
    assert (found.looked_at, found.too_small) == (1, 1)
    rule, _ = judged(world, tmp_path, columns=["region"], find=0, min_rows=4000, page=True)
    assert rule.verdict == "fail"
    assert "No slice could be judged" in rule.sentence
    assert "Too small to judge" in (tmp_path / "report.html").read_text()


def test_a_named_column_without_a_slice_that_can_be_judged_does_not_pass(world, tmp_path) -> None:
    asked = {"find": 1, "min_rows": 1000, "metric": "accuracy", "at_least": 0.01}
    rule, found = judged(world, tmp_path, columns=["id", "kind"], levels=2, **asked)
    assert rule.verdict == "pass"  # Each column has a slice of the other values.
    rule, found = judged(world, tmp_path, columns=["age", "kind"], **asked)
    assert found.slices.unjudged == ("age",)
    assert rule.verdict == "fail"
    assert "names age, of which no slice has the 1,000 rows" in rule.sentence


@pytest.mark.parametrize("metric", ["recall", "log_loss", "brier"])
def test_other_metrics_of_two_classes(world, metric) -> None:
    found = measured(world, champion="good", candidate="bad", metric=metric, columns=["kind"])
    worst = named(found, "kind = c")
    assert worst.flagged(alpha=0.05)
    assert worst.advantage.value < 0
    better = measured(world, champion="bad", metric=metric, columns=["kind"], find=0)
    assert named(better, "kind = c").advantage.value > 0
    assert not named(better, "kind = c").flagged(alpha=0.05)


def test_probabilities_are_not_judged_where_a_class_is_hardly_there(world, make, tmp_path) -> None:
    raw = make.rows("binary", 1000, seed=5)
    raw["part"] = ["pure" if y == "no" else "mixed" for y in raw["y"]]
    holdout = make.write(tmp_path / "holdout", raw)
    rows = read_holdout(holdout, model=world.good, baselines=None, champion=None)
    found = measure_slices(
        rows, SlicesSpec(columns=["part"], find=0, metric="brier"), confidence=0.95
    )
    assert [one.estimate for one in found.slices] == [None, None]


@pytest.mark.parametrize("metric", ["", "rmse", "mae"])
def test_slices_of_a_regression(worlds, metric) -> None:
    world = worlds("regression")
    rows = read_holdout(
        world.holdout, model=world.model, baselines=None, champion=standing(world, "champion")
    )
    rule = SlicesSpec(columns=["kind"], find=0, metric=metric, margin=0.0)
    found = measure_slices(rows, rule, confidence=0.95)
    assert found.metric == (metric or "r2")
    table = read_table(world.holdout, ["kind"]).to_pandas()
    ours, theirs = rows.scores["candidate"] - rows.truth, rows.scores["champion"] - rows.truth
    figure = {
        "": lambda e: 1 - (e**2).mean() / rows.truth.var(),
        "rmse": lambda e: (e**2).mean() ** 0.5,
        "mae": lambda e: np.abs(e).mean(),
    }[metric]
    sign = -1 if metric else 1
    for one in found.slices:
        here = ("kind = " + table["kind"] == one.name).to_numpy()
        assert one.estimate.value == pytest.approx(figure(ours[here]))
        apart = figure(ours[here]) - figure(theirs[here])
        assert one.advantage.value == pytest.approx(sign * apart)
        assert one.advantage.low < one.advantage.value < one.advantage.high
        assert one.p_worse == 1.0


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"columns": ["nowhere"]}, "no column 'nowhere'"),
        ({"metric": "roc_auc"}, "'roc_auc' is not measured in slices"),
        ({"at_least": 0.5}, "'roc_auc' is not measured in slices"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(worlds, rule, message) -> None:
    world = worlds("binary")
    rows = read_holdout(world.holdout, model=world.model, baselines=None, champion=None)
    with pytest.raises(InputError, match=message):
        measure_slices(rows, SlicesSpec(**rule), confidence=0.95)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"columns": [], "find": 0}, "name columns"),
        ({"at_least": 0.1, "at_most": 0.2}, "at most one"),
        ({"columns": [["a", "a"]]}, "different columns"),
    ],
)
def test_a_rule_that_asks_nothing_or_twice_is_refused(rule, message) -> None:
    with pytest.raises(InputError, match=message):
        Policy.parse({"slices": rule}, where="gate")


def test_the_rule_is_on_by_default_and_warns() -> None:
    assert Policy().slices == SlicesSpec(severity="warn")
