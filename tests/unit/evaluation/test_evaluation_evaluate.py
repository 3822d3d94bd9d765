"""Evaluating real models on a real holdout, through the public face."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from penstock import model as models
from penstock.data.table import read_dataset, read_table
from penstock.errors import InputError
from penstock.evaluation.evaluate import Judgement, evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.compared import Champion
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.metrics import METRICS, names_for
from penstock.records.dataset import Column

SPEC = EvaluationSpec(resamples=200)
TASKS = ("binary", "multiclass", "regression")
ONE = [pytest.param(task, marks=[] if task == "binary" else [pytest.mark.long]) for task in TASKS]
"""Of tests that tasks answer alike: one in `make test`, the others in `make test-long`."""


def run(world, out: Path, *, spec: EvaluationSpec = SPEC, **given) -> Judgement:
    champion = given.pop("champion", world.champion)
    if isinstance(champion, Path):
        champion = Champion(uri=given.pop("champion_uri", "models:/y/7"), folder=champion)
    return evaluate(
        given.pop("holdout", world.holdout),
        model=given.pop("model", world.model),
        baselines=given.pop("baselines", world.baselines),
        champion=champion,
        spec=spec,
        policy=given.pop("policy", Policy()),
        output=out / "evaluation.json",
        report=out / "report.html" if given.pop("page", True) else None,
    )


def measured(world, out: Path, **given) -> Evaluation:
    """Return the record alone: the page's drawings take as long as all the rest."""
    return run(world, out, page=False, **given).evaluation


def refused(world, out: Path, **given) -> InputError:
    """Return the error, after checking that nothing was written."""
    with pytest.raises(InputError) as caught:
        run(world, out, **given)
    assert not list(out.iterdir())
    return caught.value


def truth_of(folder: Path, record) -> np.ndarray:
    values = read_table(folder, ["y"]).column("y").to_pylist()
    if record.task == "regression":
        return np.array(values)
    if record.task == "binary":
        return np.array([int(v == record.positive) for v in values])
    return np.array([record.classes.index(v) for v in values])


@pytest.mark.parametrize("task", TASKS)
def test_the_record_holds_every_metric_of_every_model(worlds, task, tmp_path, capsys) -> None:
    world = worlds(task)
    found = measured(world, tmp_path)
    assert Evaluation.read(tmp_path / "evaluation.json") == found
    assert [s.name for s in found.scores][:2] == ["candidate", "champion"]
    trivial = "mean" if task == "regression" else "majority"
    assert {s.name for s in found.scores} == {"candidate", "champion", "linear", trivial}
    assert set(found.higher_is_better) == set(names_for(task))
    assert found.rows == 400
    assert found.dataset == read_dataset(world.holdout).content
    folders = {
        "candidate": world.model,
        "champion": world.champion,
        "linear": world.baselines / "linear",
        trivial: world.baselines / trivial,
    }
    for scores in found.scores:
        loaded = models.load(folders[scores.name])
        assert scores.model == loaded.digest
        frame = loaded.frame(read_table(world.holdout))
        given = loaded.scores(frame)
        truth = truth_of(world.holdout, loaded.record)
        labels = np.asarray(loaded.labels_of(given))
        if task == "binary":
            labels = (labels == "yes").astype(int)
        for name, estimate in scores.metrics.items():
            metric = METRICS[name]
            expected = metric.of(truth, given if metric.needs == "scores" else labels)
            assert estimate.value == pytest.approx(expected, rel=1e-9, abs=1e-12), name
            assert estimate.low <= estimate.high
    assert capsys.readouterr().out.startswith(f"penstock| {found.metric} 0.")


@pytest.mark.parametrize("task", TASKS)
def test_an_advantage_above_zero_means_better_whatever_the_metric(worlds, task, tmp_path) -> None:
    found = measured(worlds(task), tmp_path)
    trivial = "mean" if task == "regression" else "majority"
    assert len(found.comparisons) == 3 * len(found.higher_is_better)
    for comparison in found.comparisons:
        ours = found.scores_of("candidate").metrics[comparison.metric].value
        theirs = found.scores_of(comparison.against).metrics[comparison.metric].value
        sign = 1 if found.higher_is_better[comparison.metric] else -1
        assert comparison.advantage.value == pytest.approx(sign * (ours - theirs))
        if comparison.against == trivial:
            assert comparison.advantage.low > 0, comparison.metric
    assert any(not higher for higher in found.higher_is_better.values())


@pytest.mark.parametrize("task", ONE)
def test_two_runs_give_the_same_record_and_the_same_page(worlds, task, tmp_path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    run(worlds(task), first)
    run(worlds(task), second)
    for name in ("evaluation.json", "report.html"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_an_interval_of_less_confidence_is_narrower(worlds, tmp_path) -> None:
    figures = []
    for confidence in (0.99, 0.8):
        spec = EvaluationSpec(confidence=confidence)
        found = measured(worlds("binary"), tmp_path / str(confidence), spec=spec)
        figures.append(found.candidate.metrics)
    for name in figures[0]:
        wide, narrow = (of[name] for of in figures)
        assert wide.value == narrow.value
        assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high


@pytest.mark.parametrize("task", TASKS)
def test_the_page_is_whole_and_reaches_out_to_nothing(worlds, task, tmp_path) -> None:
    found = run(worlds(task), tmp_path).evaluation
    html = (tmp_path / "report.html").read_text()
    sections = {
        "binary": ("Ranking", "Probabilities", "Threshold", "Right and wrong"),
        "multiclass": ("Right and wrong", "By class", "Probabilities"),
        "regression": ("Predicted and actual", "Errors", "Where it errs"),
    }[task]
    for title in ("Figures", "Compared with the others", *sections, "How this was measured"):
        assert f">{title}</h2>" in html
    assert html.count("<svg") >= 3
    assert set(re.findall(r"https?://[^\"]+", html)) == {"http://www.w3.org/2000/svg"}
    assert "<script" not in html
    assert found.model in html
    assert "models:/y/7" in html
    # It measures; the gate judges.
    assert "Approved" not in html
    assert "Refused" not in html


def test_the_curves_for_kubeflow_are_short_finite_and_whole(worlds, tmp_path) -> None:
    judged = run(worlds("binary"), tmp_path, page=False)
    fall_out, recall, thresholds = judged.roc
    assert len(fall_out) == len(recall) == len(thresholds) <= 200
    assert (fall_out[0], recall[0]) == (0, 0)
    assert (fall_out[-1], recall[-1]) == (1, 1)
    assert np.isfinite(thresholds).all()
    assert (np.diff(thresholds) < 0).all()
    area = np.trapezoid(recall, fall_out)
    estimate = judged.evaluation.scores_of("candidate").metrics["roc_auc"]
    assert area == pytest.approx(estimate.value, abs=2e-3)
    names, counts = judged.confusion
    assert names == ["no", "yes"]
    assert np.sum(counts) == 400
    accuracy = judged.evaluation.scores_of("candidate").metrics["accuracy"].value
    assert np.trace(counts) / 400 == pytest.approx(accuracy)
    json.dumps([judged.roc, judged.confusion])


def test_only_a_classification_has_a_confusion_and_only_two_classes_a_roc(worlds, tmp_path) -> None:
    several = run(worlds("multiclass"), tmp_path / "m", page=False)
    assert several.roc is None
    assert several.confusion[0] == ["0", "1", "2"]
    number = run(worlds("regression"), tmp_path / "r", page=False)
    assert (number.roc, number.confusion) == (None, None)


def test_the_threshold_is_the_models_own_and_is_not_moved(worlds, make, tmp_path) -> None:
    world = worlds("binary")
    found = measured(world, tmp_path / "a")
    assert found.threshold == 0.4
    strict = make.save(
        tmp_path / "strict", "binary", make.estimators("binary")["candidate"], threshold=0.9
    )
    other = run(world, tmp_path / "b", model=strict).evaluation
    assert other.threshold == 0.9
    recall = [e.scores_of("candidate").metrics["recall"].value for e in (found, other)]
    assert recall[1] < recall[0] / 2
    html = (tmp_path / "b/report.html").read_text()
    assert "is not moved here" in html
    assert "would make its figures too good" in html
    assert ">chosen<" in html


def test_rows_and_answers_stay_together_across_batches(worlds, make, tmp_path) -> None:
    world = worlds("binary")
    raw = make.rows("binary", 70_000, seed=3)
    holdout = make.write(tmp_path / "holdout", raw)
    found = run(
        world,
        tmp_path / "out",
        holdout=holdout,
        baselines=None,
        champion=None,
        spec=EvaluationSpec(resamples=100),
        page=False,
    ).evaluation
    assert found.rows == 70_000
    loaded = models.load(world.model)
    scores = loaded.scores(loaded.frame(raw))
    expected = METRICS["roc_auc"].of(np.array([int(v == "yes") for v in raw["y"]]), scores)
    figure = found.scores_of("candidate").metrics["roc_auc"]
    assert figure.value == pytest.approx(expected, rel=1e-12)
    assert figure.low < figure.value < figure.high
    assert found.comparisons == ()
    assert found.champion == ""


def test_the_champion_is_judged_on_the_same_rows(worlds, tmp_path) -> None:
    found = measured(worlds("binary"), tmp_path)
    assert found.champion == "models:/y/7"
    swapped = replace(
        worlds("binary"), model=worlds("binary").champion, champion=worlds("binary").model
    )
    back = measured(swapped, tmp_path / "back")
    for metric in found.higher_is_better:
        ahead = found.comparison(against="champion", metric=metric).advantage
        behind = back.comparison(against="champion", metric=metric).advantage
        assert (behind.value, behind.low, behind.high) == pytest.approx(
            (-ahead.value, -ahead.high, -ahead.low)
        )


def test_a_champion_without_a_name_still_counts_for_the_gate(worlds, tmp_path) -> None:
    found = measured(worlds("binary"), tmp_path, champion_uri="")
    assert found.champion == models.load(worlds("binary").champion).digest
    rule = next(r for r in decide(found, policy=Policy()).rules if r.rule == "champion")
    assert rule.verdict != "not applicable"


def test_the_champion_being_the_candidate_is_said(worlds, tmp_path) -> None:
    world = worlds("binary")
    found = measured(world, tmp_path, champion=world.model)
    assert "The champion is this very model." in found.notes
    for metric in found.higher_is_better:
        advantage = found.comparison(against="champion", metric=metric).advantage
        assert (advantage.value, advantage.low, advantage.high) == (0, 0, 0)


def test_a_champion_from_other_data_is_said(worlds, make, tmp_path) -> None:
    world = worlds("binary")
    estimator = make.estimators("binary")["champion"]
    older = make.save(tmp_path / "older", "binary", estimator, dataset="rows1:" + "1" * 32)
    found = measured(world, tmp_path / "out", champion=older)
    assert any("may hold rows of this holdout" in note for note in found.notes)
    seen = make.save(
        tmp_path / "seen", "binary", estimator, dataset=read_dataset(world.holdout).content
    )
    found = measured(world, tmp_path / "out2", champion=seen)
    assert any("trained on this holdout" in note for note in found.notes)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_the_training_part_is_refused(worlds, make, tmp_path, out) -> None:
    world = worlds("binary")
    part = make.write(tmp_path / "train", make.rows("binary", 100, seed=5), part="train")
    error = refused(world, out, holdout=part)
    assert "says that it is the train part" in str(error)
    assert str(part) in error.where
    assert error.remedy == "Evaluate on the holdout that the split step wrote."


def test_the_data_it_was_trained_on_is_refused_by_digest(worlds, make, tmp_path, out) -> None:
    world = worlds("binary")
    content = read_dataset(world.holdout).content
    estimator = make.estimators("binary")["candidate"]
    cheat = make.save(tmp_path / "cheat", "binary", estimator, dataset=content)
    error = refused(world, out, model=cheat)
    assert f"is the one that the model was trained on ({content})" in str(error)


def test_a_table_that_was_not_split_is_taken(worlds, make, tmp_path, out) -> None:
    table = make.write(tmp_path / "test", make.rows("binary", 200, seed=5), part=None)
    assert measured(worlds("binary"), out, holdout=table).rows == 200


def test_a_missing_target_is_refused(worlds, make, tmp_path, out) -> None:
    raw = make.rows("binary", 100, seed=5)
    raw["outcome"] = raw.pop("y")
    error = refused(worlds("binary"), out, holdout=make.write(tmp_path / "h", raw))
    assert "the target 'y' is not in the table" in error.what
    assert "x1, x2, kind, outcome" in error.remedy


def test_rows_without_a_target_are_refused(worlds, make, tmp_path, out) -> None:
    raw = make.rows("regression", 100, seed=5)
    raw["y"][3] = raw["y"][7] = None
    error = refused(worlds("regression"), out, holdout=make.write(tmp_path / "h", raw))
    assert "the target is missing in 2 of 100 rows" in error.what
    assert "target 'y'" in error.where


@pytest.mark.parametrize("task", TASKS)
def test_a_constant_target_is_refused(worlds, make, task, tmp_path, out) -> None:
    raw = make.rows(task, 100, seed=5)
    raw["y"] = [raw["y"][0]] * 100
    error = refused(worlds(task), out, holdout=make.write(tmp_path / "h", raw))
    assert "the target is constant" in error.what
    assert "hold out more rows" in error.remedy


def test_a_target_of_another_type_is_refused(worlds, make, tmp_path, out) -> None:
    raw = make.rows("regression", 100, seed=5)
    raw["y"] = [f"about {v}" for v in raw["y"]]
    error = refused(worlds("regression"), out, holdout=make.write(tmp_path / "h", raw))
    assert "predicts numbers, but the target is a string column" in error.what


def test_rows_of_one_known_class_and_an_unknown_one_are_refused(
    worlds, make, tmp_path, out
) -> None:
    raw = make.rows("binary", 100, seed=5)
    raw["y"] = ["no", "maybe"] * 50
    error = refused(worlds("binary"), out, holdout=make.write(tmp_path / "h", raw))
    assert "rows of 1 of the model's 2 classes" in error.what
    assert "'no', 'yes'" in error.remedy


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_an_unseen_class_counts_as_wrong_and_is_said(worlds, make, task, tmp_path, out) -> None:
    raw = make.rows(task, 300, seed=5)
    unseen = "maybe" if task == "binary" else 9
    raw["y"][:30] = [unseen] * 30
    judged = run(worlds(task), out, holdout=make.write(tmp_path / "h", raw))
    found = judged.evaluation
    assert any(
        f"30 rows hold a class that the models have never seen ({unseen!r})" in n
        for n in found.notes
    )
    loaded = models.load(worlds(task).model)
    labels = loaded.labels(loaded.frame(raw))
    right = sum(a == b for a, b in zip(labels.tolist(), raw["y"], strict=True))
    assert found.scores_of("candidate").metrics["accuracy"].value == pytest.approx(right / 300)
    classes = [str(c) for c in loaded.record.classes]
    scores = loaded.scores(loaded.frame(raw))
    by_class = np.column_stack([1 - scores, scores]) if task == "binary" else scores
    order = ["no", "yes"] if task == "binary" else classes
    pairs = zip(by_class, map(str, raw["y"]), strict=True)
    given = np.array([row[order.index(y)] if y in order else 0.0 for row, y in pairs])
    surprise = -np.log(np.clip(given, np.finfo(float).eps, 1))
    assert found.scores_of("candidate").metrics["log_loss"].value == pytest.approx(surprise.mean())
    names, counts = judged.confusion
    assert names[-1] == "(unseen class)"
    assert sum(counts[-1]) == 30
    assert "never seen" in (out / "report.html").read_text()


def test_few_rows_are_said(worlds, make, tmp_path, out) -> None:
    holdout = make.write(tmp_path / "h", make.rows("binary", 25, seed=6))
    found = measured(worlds("binary"), out, holdout=holdout)
    assert any("has only 25 rows" in note for note in found.notes)


@pytest.mark.parametrize("rows", [pytest.param(2, marks=pytest.mark.long), 19])
def test_a_metric_without_an_honest_interval_is_left_out(worlds, make, tmp_path, out, rows) -> None:
    raw = make.rows("binary", 200, seed=5)
    raw["y"] = ["yes"] * rows + ["no"] * (200 - rows)
    found = run(worlds("binary"), out, holdout=make.write(tmp_path / "h", raw)).evaluation
    without = {"roc_auc", "average_precision", "log_loss", "brier"}
    assert set(found.higher_is_better) == set(names_for("binary")) - without
    for metric in without:
        said = [note for note in found.notes if note.startswith(f"{metric} is left out")]
        assert len(said) == 1
        assert "fewer than 20 rows of a class" in said[0]
        assert f"only {rows} rows are of class 'yes'" in said[0]
    assert "could not be measured" in (out / "report.html").read_text()
    assert not decide(found, policy=Policy()).approved


def test_twenty_rows_of_a_class_are_enough(worlds, make, tmp_path, out) -> None:
    raw = make.rows("binary", 200, seed=5)
    raw["y"] = ["yes"] * 20 + ["no"] * 180
    found = measured(worlds("binary"), out, holdout=make.write(tmp_path / "h", raw))
    assert set(found.higher_is_better) == set(names_for("binary"))


def test_a_model_that_is_right_on_all_rows_is_not_called_perfect(
    worlds, make, tmp_path, out
) -> None:
    raw = make.rows("binary", 100, seed=5)
    loaded = models.load(worlds("binary").model)
    raw["y"] = loaded.labels(loaded.frame(raw)).tolist()
    found = run(worlds("binary"), out, holdout=make.write(tmp_path / "h", raw)).evaluation
    metrics = found.candidate.metrics
    # Wilson's lower end of n of n is n / (n + z^2).
    assert metrics["accuracy"].low == pytest.approx(100 / (100 + 1.959964**2), rel=1e-6)
    for name in ("accuracy", "roc_auc", "average_precision", "f1", "f1_macro", "recall"):
        assert metrics[name].value == pytest.approx(1)
        assert 0.5 < metrics[name].low < 0.98, name


def test_two_models_that_never_differ_may_differ_on_other_rows(worlds, make, tmp_path) -> None:
    world = worlds("binary")
    twin = make.save(
        tmp_path / "twin",
        "binary",
        make.estimators("binary")["candidate"],
        parameters={"C": 0.2},  # Another record, so another digest; the answers are the same.
    )
    found = measured(world, tmp_path / "out", champion=twin)
    for metric in found.higher_is_better:
        comparison = found.comparison(against="champion", metric=metric)
        advantage = comparison.advantage
        assert advantage.value == 0
        assert advantage.low < 0 < advantage.high, metric
        assert comparison.method != "the same model"


@pytest.mark.parametrize(
    ("changes", "again"),
    [({}, True), ({"dataset": "rows1:" + "1" * 32}, False), ({"threshold": 0.5}, False)],
)
def test_the_same_model_trained_again_is_itself(worlds, make, tmp_path, changes, again) -> None:
    estimator = make.estimators("binary")["candidate"]
    facts = {"mlflow_run": "another", "commit": "other", "seed": 7, **changes}
    champion = make.save(tmp_path / "again", "binary", estimator, **facts)
    found = measured(worlds("binary"), tmp_path / "out", champion=champion)
    comparison = found.comparison(against="champion", metric="roc_auc")
    assert (comparison.method == "the same model, trained again") is again
    assert (comparison.advantage.low == comparison.advantage.high == 0) is again


def test_every_comparison_says_its_method(worlds, tmp_path) -> None:
    for task in TASKS:
        found = measured(worlds(task), tmp_path / task)
        for comparison in found.comparisons:
            assert comparison.method in {
                "Tango's score interval",
                "DeLong",
                "square-and-add of both intervals",
                "delta method",
            }
            assert comparison.p_equal is None or 0 <= comparison.p_equal <= 1
            excludes = not comparison.advantage.low <= 0 <= comparison.advantage.high
            if comparison.method == "DeLong":
                assert excludes == (comparison.p_equal < 0.05)


def test_mape_is_left_out_where_the_target_can_be_zero(worlds, make, tmp_path, out) -> None:
    raw = make.rows("regression", 100, seed=5)
    raw["y"][0] = 0.0
    found = run(worlds("regression"), out, holdout=make.write(tmp_path / "h", raw)).evaluation
    assert "mape" not in found.higher_is_better
    assert "median_absolute_error" in found.higher_is_better


def beside(found: Evaluation, policy: Policy = Policy()):
    """Return what the gate says of the champion, having seen that nothing else was lost."""
    assert found.candidate.metrics
    assert found.scores_of("majority") is not None
    decision = decide(found, policy=policy)
    return next(rule for rule in decision.rules if rule.rule == "champion")


def not_compared(world, out: Path, **given) -> Evaluation:
    """Return an evaluation whose champion stands beside no figure, which the gate refuses."""
    found = run(world, out, page=given.pop("page", False), **given).evaluation
    assert found.scores_of("champion") is None
    assert not [c for c in found.comparisons if c.against == "champion"]
    assert beside(found).verdict == "fail"
    assert not decide(found, policy=Policy()).approved
    assert found.champion_note in beside(found).sentence
    assert any(found.champion_note in note for note in found.notes)
    return found


def test_no_champion_is_a_case_of_its_own(worlds, out) -> None:
    found = measured(worlds("binary"), out, champion=None)
    # Nobody asked for a page.
    assert [path.name for path in out.iterdir()] == ["evaluation.json"]
    assert (found.champion_state, found.champion, found.champion_note) == ("none", "", "")
    assert beside(found).verdict == "not applicable"


def test_a_champion_on_the_same_rows_is_compared(worlds, out) -> None:
    found = measured(worlds("binary"), out)
    assert (found.champion_state, found.champion) == ("compared", "models:/y/7")
    assert beside(found).verdict == "pass"
    assert f"both on the same 400 rows ({found.dataset})" in beside(found).sentence


def test_a_champion_that_needs_another_column_is_different(worlds, make, tmp_path, out) -> None:
    old = make.save(
        tmp_path / "old",
        "binary",
        make.estimators("binary")["champion"],
        columns=(*make.columns, Column(name="bonus", type="number")),
    )
    # The record's columns are checked against the pipeline, so the fit has the column too.
    found = not_compared(worlds("binary"), out, champion=old, page=True)
    assert found.champion_state == "different"
    assert "columns that the holdout does not have: 'bonus'" in found.champion_note
    assert "gate.champion and gate.classes" in found.champion_note
    assert "could not be compared on these rows" in (out / "report.html").read_text()


def test_a_candidate_that_takes_another_type_is_refused(worlds, make, tmp_path, out) -> None:
    raw = make.rows("binary", 100, seed=5)
    raw["x2"] = [None if v is None else f"{v:.2f}" for v in raw["x2"]]
    error = refused(worlds("binary"), out, holdout=make.write(tmp_path / "h", raw))
    assert "takes column 'x2' as number, the holdout has it as string" in error.what
    assert error.where == "the candidate"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"target": "z"}, "its target is 'z', the candidate's is 'y'"),
        ({"positive": "no"}, "its positive is 'no', the candidate's is 'yes'"),
        (
            {"y": ["a", "b"] * 300, "positive": "b"},
            "its classes is ('a', 'b'), the candidate's is ('no', 'yes')",
        ),
    ],
)
def test_a_champion_that_answers_another_question_is_different(
    worlds, make, facts, said, tmp_path, out
) -> None:
    estimator = make.estimators("binary")["champion"]
    other = make.save(tmp_path / "other", "binary", estimator, **facts)
    found = not_compared(worlds("binary"), out, champion=other)
    assert found.champion_state == "different"
    assert said in found.champion_note


def test_a_champion_of_another_task_is_different(worlds, out) -> None:
    found = not_compared(worlds("binary"), out, champion=worlds("regression").model)
    assert found.champion_state == "different"
    assert "its task is 'regression', the candidate's is 'binary'" in found.champion_note


def test_a_champion_whose_files_are_broken_is_unloadable(worlds, tmp_path, out) -> None:
    broken = shutil.copytree(worlds("binary").champion, tmp_path / "broken")
    next(broken.rglob("*.skops")).write_bytes(b"not a model")
    found = not_compared(worlds("binary"), out, champion=broken, page=True)
    assert found.champion_state == "unloadable"
    assert found.champion == "models:/y/7"
    assert "set severity: warn for this one release" in beside(found).sentence
    assert "could not be loaded" in (out / "report.html").read_text()


def test_a_champion_without_files_is_unloadable(worlds, out) -> None:
    champion = Champion(uri="models:/y/7", problem="The store does not hold its files.")
    found = not_compared(worlds("binary"), out, champion=champion)
    assert found.champion_state == "unloadable"
    assert "The store does not hold its files." in beside(found).sentence


def test_a_champion_that_is_gone_is_not_the_same_as_none(worlds, out) -> None:
    champion = Champion(gone=True, problem="Version 7 was champion until yesterday.")
    found = not_compared(worlds("binary"), out, champion=champion, page=True)
    assert found.champion_state == "gone"
    assert "There was a champion, but no version is it now" in beside(found).sentence
    assert "Version 7 was champion until yesterday." in beside(found).sentence
    assert "none now, though there was one" in (out / "report.html").read_text()


def test_a_champion_that_gives_no_finite_answer_is_unloadable(worlds, make, tmp_path, out) -> None:
    def spoil(fitted) -> None:
        fitted.coef_ = np.full_like(fitted.coef_, np.nan)

    broken = make.save(
        tmp_path / "broken", "binary", make.estimators("binary")["candidate"], break_with=spoil
    )
    found = not_compared(worlds("binary"), out, champion=broken)
    assert found.champion_state == "unloadable"
    assert "no finite prediction in 400 rows" in found.champion_note


def test_superiority_is_asked_for_by_itself(worlds, tmp_path) -> None:
    world = worlds("binary")
    policy = Policy.parse({"champion": {"superiority": True}}, where="gate")
    for name, champion, verdict in (
        ("worse", world.champion, "pass"),
        ("itself", world.model, "fail"),
    ):
        found = measured(world, tmp_path / name, champion=champion, policy=policy)
        rules = {rule.rule: rule for rule in decide(found, policy=policy).rules}
        assert rules["champion"].verdict == "pass"
        assert rules["champion superiority"].verdict == verdict
        assert rules["champion superiority"].bound == 0
    assert "champion superiority" not in {
        r.rule for r in decide(measured(world, tmp_path / "plain"), policy=Policy()).rules
    }


def test_a_folder_without_baselines_is_refused(worlds, tmp_path, out) -> None:
    (tmp_path / "nothing").mkdir()
    error = refused(worlds("binary"), out, baselines=tmp_path / "nothing")
    assert "the folder of baselines holds no model" in error.what


def test_predictions_that_are_not_finite_are_refused(worlds, make, tmp_path, out) -> None:
    def spoil(fitted) -> None:
        fitted.coef_ = np.full_like(fitted.coef_, np.nan)

    broken = make.save(
        tmp_path / "broken",
        "regression",
        make.estimators("regression")["candidate"],
        break_with=spoil,
    )
    error = refused(worlds("regression"), out, model=broken)
    assert "no finite prediction in 400 rows, the first of them row 1" in error.what
    assert error.where == "the candidate"


def test_text_from_the_data_is_escaped(worlds, make, tmp_path, out) -> None:
    label = "<img src=x onerror=alert(1)>"
    estimator = make.estimators("binary")["candidate"]
    raw = make.rows("binary", 600, seed=1)
    renamed = [label if v == "yes" else "no" for v in raw["y"]]
    odd = make.save(tmp_path / "odd", "binary", estimator, y=renamed, positive=label)
    held = make.rows("binary", 100, seed=8)
    held["y"] = [label if v == "yes" else "no" for v in held["y"]]
    holdout = make.write(tmp_path / "h", held)
    run(worlds("binary"), out, model=odd, holdout=holdout, baselines=None, champion=None)
    html = (out / "report.html").read_text()
    assert "<img" not in html
    assert "&lt;img src=x" in html


@pytest.mark.parametrize("task", ONE)
def test_a_model_that_always_says_the_same_can_be_measured(worlds, task, tmp_path) -> None:
    world = worlds(task)
    name = "mean" if task == "regression" else "majority"
    found = run(world, tmp_path, model=world.baselines / name).evaluation
    for metric in found.higher_is_better:
        advantage = found.comparison(against=name, metric=metric).advantage
        assert (advantage.value, advantage.low, advantage.high) == (0, 0, 0)
    assert not decide(found, policy=Policy()).approved


@pytest.mark.parametrize("true", [True, pytest.param(1, marks=pytest.mark.long)])
def test_classes_that_are_no_text_are_told_apart(worlds, make, true, tmp_path, out) -> None:
    def coded(raw):
        return [true if v == "yes" else type(true)(0) for v in raw["y"]]

    fitted = make.save(
        tmp_path / "coded",
        "binary",
        make.estimators("binary")["candidate"],
        y=coded(make.rows("binary", 600, seed=1)),
        positive=true,
    )
    held = make.rows("binary", 400, seed=2)
    held["y"] = coded(held)
    judged = run(
        worlds("binary"),
        out,
        model=fitted,
        holdout=make.write(tmp_path / "h", held),
        baselines=None,
        champion=None,
    )
    plain = measured(worlds("binary"), tmp_path / "plain").scores_of("candidate").metrics
    assert judged.evaluation.scores_of("candidate").metrics == plain
    assert judged.confusion[0] == [str(type(true)(0)), str(true)]
