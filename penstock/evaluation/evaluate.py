"""Measure a candidate on the holdout, beside the baselines and the champion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.common import files
from penstock.common.progress import say
from penstock.evaluation.report import evaluation_page
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.compared import Champion
from penstock.gate.evaluation import Evaluation, measured_for
from penstock.gate.holdout import Context, Holdout, read_holdout
from penstock.gate.policy import Policy
from penstock.gate.rules import RULES
from penstock.metrics import METRICS
from penstock.model.own_metric import use_metric_of
from penstock.records.dataset import Split
from penstock.records.evaluation import CANDIDATE, CHAMPION, Scores
from penstock.records.health import SPLIT_NAME
from penstock.reports.words import advantage_text, description_of, figure_text

MATRIX_CLASSES = 50
"""Classes up to which Kubeflow is given the confusion matrix."""

UNSEEN = "(unseen class)"

_DEFAULT = Policy()


@dataclass(frozen=True)
class Judgement:
    """What was measured, and the curves that Kubeflow draws.

    Args:
        evaluation: The record that the gate reads.
        roc: Binary: false positive rates, true positive rates and thresholds, from the highest
            threshold down, at most 200 points, all finite. Otherwise None.
        confusion: Classification of at most 50 classes: their names, and how often each (row) was
            predicted as each (column). Classes that the model does not know are one more name.
            Otherwise None.
    """

    evaluation: Evaluation
    roc: tuple[list[float], list[float], list[float]] | None
    confusion: tuple[list[str], list[list[int]]] | None


def evaluate(
    holdout: Path,
    *,
    model: Path,
    baselines: Path | None,
    champion: Champion | None = None,
    policy: Policy = _DEFAULT,
    spec: EvaluationSpec,
    output: Path,
    report: Path | None,
    baseline: Path | None = None,
) -> Judgement:
    """Measure a model on the holdout and write the evaluation record and its page.

    Every metric of the task that the rows define is given with an interval, for the candidate and
    every other model, and so is the candidate's advantage over each on the same rows; which method
    each has is in docs/gate-statistics.md. The primary metric is the one that the candidate's
    search optimised, the threshold the one that its training chose. A champion that cannot be
    loaded or compared is recorded as that: the gate's rule on it then fails.

    Args:
        holdout: The part of the dataset that training did not see.
        model: The candidate's folder.
        baselines: A folder with a model folder for each baseline; None for no baselines.
        champion: The champion; None while there is none.
        policy: What the gate will ask: whatever its rules need is measured here.
        spec: Confidence, resamples, seed.
        output: Where to write the record (JSON).
        report: Where to write the page (HTML); None makes none, and draws nothing.
        baseline: Where to write the baseline (JSON), which later windows of a served version are
            compared with; the evaluation holds its digest. None makes none.

    Raises:
        InputError: If the dataset is not a holdout of the candidate, its target cannot be judged
            on, or the candidate or a baseline cannot be measured on these rows. Nothing is written
            then.
        IntegrityError: If the folder of the candidate or a baseline is not whole or not trusted.
    """
    from penstock.evaluation.baseline import baseline_of
    from penstock.evaluation.model_metrics import measure_models

    rows = read_holdout(holdout, model=model, baselines=baselines, champion=champion)
    names = [column.name for column in rows.dataset.columns]
    record = rows.record
    use_metric_of(record)
    policy.check(columns=names, target=record.target, task=record.task, metric=record.metric)
    measured = measure_models(rows, spec)
    context = Context(
        holdout=rows,
        model=model,
        champion=None if champion is None else champion.folder,
        metrics=measured.metrics[CANDIDATE],
        comparisons=measured.comparisons,
        confidence=spec.confidence,
        resamples=spec.resamples,
        seed=spec.seed,
    )
    kept = None if baseline is None else baseline_of(rows, policy)
    evaluation = Evaluation(
        task=rows.record.task,
        metric=rows.record.metric,
        higher_is_better={m: METRICS[m].higher_is_better for m in measured.metrics[CANDIDATE]},
        dataset=rows.dataset.content,
        model=rows.models[CANDIDATE].digest,
        rows=rows.rows,
        confidence=spec.confidence,
        resamples=spec.resamples,
        seed=spec.seed,
        threshold=rows.record.threshold,
        champion=rows.champion.name,
        champion_state=rows.champion.state,
        champion_note=rows.champion.note,
        commit=rows.record.commit,
        policy=policy.digest(),
        baseline="" if kept is None else kept.digest(),
        scores=tuple(
            Scores(
                name=name,
                description=description_of(loaded.record),
                model=loaded.digest,
                dataset=rows.dataset.content,
                metrics=measured.metrics[name],
            )
            for name, loaded in rows.models.items()
        ),
        comparisons=measured.comparisons,
        **measured_for(policy, context),
        notes=(*_remarks(model, rows), *rows.notes, *measured.notes),
    )
    if report is not None:
        files.write_text(report, evaluation_page(evaluation, rows))
    if baseline is not None and kept is not None:
        kept.write(baseline)
    evaluation.write(output)
    say(_line(evaluation))
    return Judgement(evaluation=evaluation, roc=_roc(rows), confusion=_confusion(rows))


def _remarks(model: Path, rows: Holdout) -> tuple[str, ...]:
    """Return what the split says of these rows, or how many are copies if it made others."""
    if (model / SPLIT_NAME).is_file():
        split = Split.read(model / SPLIT_NAME)
        if split.holdout == rows.dataset.content:
            return split.remarks()
    copies = rows.hashed.found.further
    if not copies:
        return ()
    return (
        f"{copies:,} rows are copies of others. Each is counted, so that intervals are narrower "
        "than they should be.",
    )


def _line(evaluation: Evaluation) -> str:
    candidate = evaluation.scores_of(CANDIDATE)
    primary = candidate.metrics.get(evaluation.metric) if candidate else None
    if primary is None:
        return f"{evaluation.metric} is not defined on these {evaluation.rows:,} rows"
    versus = evaluation.comparison(against=CHAMPION, metric=evaluation.metric)
    beside = f", {advantage_text(versus.advantage)} over the champion" if versus else ""
    found = f"{evaluation.metric} {figure_text(primary)} on {evaluation.rows:,} rows{beside}"
    notes = (rule.progress(evaluation) for rule in RULES)
    return ", ".join((found, *filter(None, notes)))


def _roc(rows: Holdout) -> tuple[list[float], list[float], list[float]] | None:
    if rows.record.task != "binary":
        return None
    from penstock.metrics.curves import threshold_curve

    thin = threshold_curve(rows.truth == 1, rows.scores[CANDIDATE]).thinned()
    return thin.false_positive_rate.tolist(), thin.recall.tolist(), thin.threshold.tolist()


def _confusion(rows: Holdout) -> tuple[list[str], list[list[int]]] | None:
    names = list(rows.labels())
    if not 0 < len(names) <= MATRIX_CLASSES:
        return None
    from penstock.metrics.curves import confusion

    counts = confusion(rows.truth, rows.predicted(CANDIDATE), classes=len(names)).tolist()
    if not any(counts[-1]):
        return names, counts[:-1]
    # Kubeflow takes a square matrix: nothing was ever predicted as the unseen class.
    return [*names, UNSEEN], [[*line, 0] for line in counts]
