"""Which former champion is better for a window's rows than the champion. Pure: figures in, one out.

A version that was replaced is not worse for ever: when rows come again that are of the kind that it
learned from, it may be the best there is, and it needs no training. Two things must be shown:

- it *fits*: where the rows have left the champion's reference, they lie nearer to its own; where
  they have not, they lie within the tolerance of its own too;
- it is *better*: on the same rows the whole interval of its advantage lies above 0. The interval
  allows for how many are compared (Bonferroni), so that of many equal versions none is chosen for
  being lucky.

Where labels are too few, the metrics are estimated without them. That shows nothing of a concept
that changed alone, so it counts only where the rows have left the champion's reference, and lie
within the tolerance of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penstock.errors import PenstockError
from penstock.metrics.descriptions import SCALES
from penstock.monitoring.estimates.concept import Concept
from penstock.monitoring.interventions.advantage import Advantage, by_estimates, by_labels
from penstock.monitoring.interventions.reference_fit import LEAST_ROWS, Fit, fit_of
from penstock.monitoring.settings.recall import RecallSpec
from penstock.monitoring.settings.tolerances import Tolerances
from penstock.records.baseline import Baseline
from penstock.records.estimate import Estimate
from penstock.records.recall import Choice, Comparison
from penstock.records.reference import Reference

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Former:
    """A version that was champion, or is.

    Attributes:
        version: Its number.
        columns: Its inputs.
        reference: Of the rows that it learned from.
        baseline: How it scored its holdout.
        predict: Its scores of captured rows, whose inputs are named `inputs.<name>`: shape (n,) or
            (n, classes), NaN where it has none. Called at most twice, and only if it fits. A
            `PenstockError` that it raises is said of the version.
    """

    version: int
    columns: tuple[str, ...]
    reference: Reference
    baseline: Baseline
    predict: Callable[[pa.Table], Floats]


@dataclass(frozen=True)
class Unusable:
    """A former champion that cannot be compared.

    Attributes:
        version: Its number.
        reason: Why not, in a sentence.
    """

    version: int
    reason: str


def choose(
    formers: Sequence[Former | Unusable],
    *,
    champion: Former,
    rows: pa.Table,
    labels: Sequence[Any] | pa.Array | pa.ChunkedArray | None,
    spec: RecallSpec,
    tolerances: Tolerances | None = None,
    concept: Concept | None = None,
) -> Choice:
    """Return which former champion is to serve instead of the champion; most often none.

    Where a change began is known only roughly, so of many rows the newer half alone is looked at:
    what came before would be taken for what comes now. The same in, the same out: of more rows than
    `spec.rows` some are left out evenly, not by chance. Whatever a version lacks is said of it, and
    not raised.

    Args:
        formers: Former champions, and those that cannot be used.
        champion: The one that serves.
        rows: Of the window, in order of time, as `penstock.captures.reader.read_window` returns
            them: those since the rows changed.
        labels: The true label of each row, None where it has not come; None: none has.
        spec: The section `monitoring.recall`.
        tolerances: What is no drift; None: the defaults.
        concept: What labels have taught of the champion's estimates; None: nothing.

    Raises:
        ValueError: If there are not as many labels as rows.
    """
    known = _plain(labels, rows.num_rows)
    labelled = np.flatnonzero([label is not None for label in known])
    choice = Choice(champion=champion.version, rows=rows.num_rows, labels=len(labelled), reason="")
    half = rows.num_rows // 2
    if half >= _ENOUGH * LEAST_ROWS and (labelled >= half).sum() >= _ENOUGH * spec.labels:
        rows, known, labelled = rows.slice(half), known[half:], labelled[labelled >= half] - half
    if not formers:
        return _none(choice, "there is none")
    sample = rows.take(_evenly(np.arange(rows.num_rows), _COUNTED))
    try:
        fit = fit_of(sample, champion.reference, columns=champion.columns, tolerances=tolerances)
        beside = _Beside(champion, fit, spec)
        looked = [beside.look(one, sample, tolerances) for one in formers]
        choice = _with(choice, looked)
        if not any(one.former for one in looked):
            return _none(choice, "the rows are not of the kind that any of them learned from")
        window = _window(rows, known, labelled, champion=champion, spec=spec, concept=concept)
    except PenstockError as error:
        return _none(choice, f"nothing can be compared with version {champion.version}. {error}")
    if window.advantage.method == "estimates":
        looked = [beside.without_labels(one) for one in looked]
    scored = [_scored(one, window) for one in looked]
    return _decided(_with(choice, scored), scored, window, confidence=spec.confidence)


_ENOUGH = 2
"""Times as many rows and labels as are needed that the newer half of the rows is to have."""

_COUNTED = 20_000
"""Rows that are counted to say what they fit, at most."""

_NAMED = 5
"""Inputs that are named, at most."""


@dataclass(frozen=True)
class _Looked:
    """A former champion, as far as it was looked at.

    Attributes:
        comparison: What is known of it by now.
        former: The version, if it is still to be compared.
        scores: Of the rows that are compared.
    """

    comparison: Comparison
    former: Former | None = None
    scores: Floats | None = None

    def out(self, sentence: str) -> _Looked:
        """Return it as one that is not compared, and why."""
        return _Looked(_saying(self.comparison, sentence))


@dataclass(frozen=True)
class _Beside:
    """The champion's own fit, beside which those of the others are held."""

    champion: Former
    fit: Fit
    spec: RecallSpec

    @property
    def left(self) -> bool:
        """Whether the rows have left what the champion learned from."""
        return self.fit.outside > self.spec.outside

    def look(
        self, former: Former | Unusable, rows: pa.Table, tolerances: Tolerances | None
    ) -> _Looked:
        """Return whether a former champion fits the rows."""
        version = former.version
        if isinstance(former, Unusable):
            return _Looked(_unable(version, former.reason))
        if _question(former.baseline) != _question(self.champion.baseline):
            other = f"It predicts something else than version {self.champion.version}."
            return _Looked(_unable(version, other))
        try:
            fit = fit_of(rows, former.reference, columns=former.columns, tolerances=tolerances)
        except PenstockError as error:
            return _Looked(_unable(version, str(error)))
        misfit = self._misfit(fit)
        comparison = Comparison(
            version=version,
            fits=not misfit,
            distance=fit.distance,
            outside=fit.outside,
            sentence=f"Version {version} "
            + (f"does not fit: {misfit}" if misfit else f"fits: {self._figures(fit)}"),
        )
        return _Looked(comparison, former=None if misfit else former)

    def without_labels(self, looked: _Looked) -> _Looked:
        """Return a version that fits only if an estimate can show that it is better."""
        if looked.former is None:
            return looked
        if not self.left:
            return looked.out(
                "It is not compared: the rows fit the champion too, and without labels nothing "
                "shows that they mean something else now."
            )
        if (looked.comparison.outside or 0.0) > self.spec.outside:
            return looked.out(
                "It is not compared: what its scores mean on such rows is not known without labels."
            )
        return looked

    def _misfit(self, fit: Fit) -> str:
        """Return why a version does not fit; empty: it does."""
        if not self.left and fit.outside > self.spec.outside:
            more = ", ..." if len(fit.columns) > _NAMED else ""
            return (
                f"{fit.outside:.0%} of its inputs are beyond tolerance "
                f"({', '.join(fit.columns[:_NAMED])}{more}), and the champion fits."
            )
        if self.left and (fit.distance >= self.fit.distance or fit.outside > self.fit.outside):
            return f"the rows lie no nearer to it than to the champion: {self._figures(fit)}"
        return ""

    def _figures(self, fit: Fit) -> str:
        return (
            f"{fit.outside:.0%} of its inputs are beyond tolerance, at a mean distance of "
            f"{fit.distance:.3g}; of version {self.champion.version}, the champion, "
            f"{self.fit.outside:.0%} at {self.fit.distance:.3g}."
        )


@dataclass(frozen=True)
class _Window:
    """The rows on which versions are compared, and how."""

    rows: pa.Table
    advantage: Advantage


def _window(
    rows: pa.Table,
    labels: list[Any],
    labelled: Places,
    *,
    champion: Former,
    spec: RecallSpec,
    concept: Concept | None,
) -> _Window:
    """Return the rows to compare on: those with labels if they are enough, else any.

    Raises:
        PenstockError: If the champion can be measured on neither.
    """
    if len(labelled) >= spec.labels:
        places, scores = _champion_scores(champion, rows, _evenly(labelled, spec.rows))
        found = by_labels(scores, [labels[at] for at in places], champion=champion.baseline)
        if found is not None and len(places) >= spec.labels:
            return _Window(rows.take(places), found)
    every = _evenly(np.arange(rows.num_rows), spec.rows)
    places, scores = _champion_scores(champion, rows, every)
    guess = by_estimates(scores, champion=champion.baseline, concept=concept)
    return _Window(rows.take(places), guess)


def _champion_scores(champion: Former, rows: pa.Table, places: Places) -> tuple[Places, Floats]:
    """Return those of the rows that the champion has a score of, and their scores."""
    scores = champion.predict(rows.take(places))
    there = _whole(scores)
    return places[there], scores[there]


def _scored(looked: _Looked, window: _Window) -> _Looked:
    """Return a version that fits with its scores, or why it has none."""
    if looked.former is None:
        return looked
    try:
        scores = looked.former.predict(window.rows)
    except PenstockError as error:
        return looked.out(f"It cannot be compared: {error}")
    missing = window.rows.num_rows - int(_whole(scores).sum())
    if missing:
        return looked.out(
            f"It cannot be compared: it has no score for {missing:,} of "
            f"{window.rows.num_rows:,} rows."
        )
    return replace(looked, scores=scores)


def _decided(
    choice: Choice, scored: Sequence[_Looked], window: _Window, *, confidence: float
) -> Choice:
    """Compare those that have scores with the champion, and choose."""
    count = sum(one.scores is not None for one in scored)
    if not count:
        return _none(choice, "none of those that fit the rows could be compared")
    each = 1 - (1 - confidence) / count
    found = [_compared(one, window, champion=choice.champion, confidence=each) for one in scored]
    choice = choice.model_copy(
        update={
            "method": window.advantage.method,
            "metric": window.advantage.metric,
            "compared_rows": window.rows.num_rows,
            "confidence": each,
            "figure": window.advantage.figure,
            "comparisons": tuple(found),
        }
    )
    better = [one for one in found if one.better]
    if not better:
        return _none(choice, f"none is shown to be better than version {choice.champion}")
    best = max(better, key=lambda one: (one.advantage.value if one.advantage else 0, one.version))
    reason = f"Version {best.version} is chosen. {best.sentence}"
    return choice.model_copy(update={"version": best.version, "reason": reason})


def _compared(looked: _Looked, window: _Window, *, champion: int, confidence: float) -> Comparison:
    """Return the comparison of one version with its figures."""
    test = window.advantage
    if looked.former is None or looked.scores is None:
        return looked.comparison
    try:
        figure, above = test.of(looked.former.baseline, looked.scores, confidence=confidence)
    except PenstockError as error:
        return _saying(looked.comparison, f"It cannot be compared: {error}")
    if SCALES[test.metric].higher_is_better:
        advantage = above
    else:
        advantage = Estimate(value=-above.value, low=-above.high, high=-above.low)
    better = advantage.low > 0
    by = "By the labels of" if test.method == "labels" else "As estimated without labels on"
    said = (
        f"{by} {window.rows.num_rows:,} rows its {test.metric} is {figure:.4g}, that of version "
        f"{champion} {test.figure:.4g}: better by {advantage.value:.3g} ({advantage.low:.3g} to "
        f"{advantage.high:.3g}), so it is {'' if better else 'not '}shown to be better."
    )
    changes = {"figure": figure, "advantage": advantage, "better": better}
    return _saying(looked.comparison, said).model_copy(update=changes)


def _question(baseline: Baseline) -> tuple[Any, ...]:
    return baseline.task, baseline.target, baseline.classes


def _unable(version: int, reason: str) -> Comparison:
    return Comparison(version=version, sentence=f"Version {version} cannot be compared: {reason}")


def _saying(comparison: Comparison, sentence: str) -> Comparison:
    return comparison.model_copy(update={"sentence": f"{comparison.sentence} {sentence}"})


def _with(choice: Choice, looked: Sequence[_Looked]) -> Choice:
    return choice.model_copy(update={"comparisons": tuple(one.comparison for one in looked)})


def _none(choice: Choice, why: str) -> Choice:
    end = "" if why.endswith(".") else "."
    return choice.model_copy(update={"reason": f"No former champion is chosen: {why}{end}"})


def _plain(labels: Sequence[Any] | pa.Array | pa.ChunkedArray | None, rows: int) -> list[Any]:
    if labels is None:
        return [None] * rows
    plain = list(labels) if isinstance(labels, Sequence) else labels.to_pylist()
    if len(plain) != rows:
        raise ValueError(f"{len(plain):,} labels of {rows:,} rows")
    return plain


def _evenly(places: Places, most: int) -> Places:
    """Return at most so many of the places, spread over all of them."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.intp)]


def _whole(scores: Floats) -> NDArray[np.bool_]:
    """Return which rows have a score, or all scores of a row of classes."""
    return np.asarray(np.isfinite(scores.reshape(len(scores), -1)).all(axis=1))
