"""A metric of the project's own: put into the tables of metrics of this process, by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import InputError
from penstock.metrics.definitions import METRICS, Metric
from penstock.metrics.descriptions import DESCRIPTIONS, SCALES, Scale
from penstock.own_code.reads import refused_reads
from penstock.records.model import Task

if TYPE_CHECKING:
    import numpy as np

    from penstock.metrics.arrays import Floats
    from penstock.metrics.predictions import Predictions

_TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")

OWN: dict[str, Metric] = {}
"""The project's metrics that this process knows."""


@dataclass(frozen=True)
class OwnFunction:
    """The project's function, whose mistakes are put into words.

    Args:
        function: What it was imported as.
        reference: What the project file names.
    """

    function: Callable[[Any, Any], Any]
    reference: str

    def __call__(self, truth: np.ndarray, given: np.ndarray) -> float:
        """Return the metric; the function is given copies.

        Raises:
            InputError: If it raises, is no number, is another number when asked again, or reads a
                file that is not where the model is judged.
        """
        with refused_reads(self.reference):
            first, second = (self.once(truth, given) for _ in range(2))
        if first != second and not (first != first and second != second):
            self._refuse(f"it gives {first} and then {second} for the same rows")
        return first

    def once(self, truth: np.ndarray, given: np.ndarray) -> float:
        """Return the metric of rows that need not show again that it is repeatable."""
        try:
            return float(self.function(truth.copy(), given.copy()))
        except (Exception, SystemExit) as error:
            raise InputError(
                f"of {len(truth):,} rows it raises {type(error).__name__}: {error!s:.300}",
                where=self.reference,
                remedy="Let it return a number, or NaN where the rows do not define it.",
            ) from error

    def _refuse(self, what: str) -> None:
        raise InputError(what, where=self.reference, remedy="Give whatever is random a fixed seed.")


def use(
    name: str,
    function: Callable[[Any, Any], Any],
    *,
    reference: str,
    higher_is_better: bool,
    needs: Literal["scores", "labels"],
) -> Metric:
    """Make a metric known by its name to whatever measures in this process.

    Args:
        name: What it is called.
        function: Of truth and what is given, see `penstock.metrics.definitions.Metric.of`.
        reference: What the project file names.
        higher_is_better: False for an error or a loss.
        needs: See `penstock.metrics.definitions.Metric`.

    Raises:
        InputError: If Penstock has a metric of the name.

    Example:
        >>> from penstock.metrics import METRICS
        >>> _ = use("hits", lambda truth, given: (truth == given).sum(), reference="own:hits",
        ...         higher_is_better=True, needs="labels")
        >>> METRICS["hits"].higher_is_better
        True
        >>> forget()
    """
    if name in METRICS and name not in OWN:
        raise InputError(
            f"{name} is a metric of Penstock's", where=reference, remedy="Rename the function."
        )
    scale = Scale(name, _TASKS, higher_is_better, lowest=float("-inf"), highest=float("inf"))
    metric = Metric(scale, needs, OwnFunction(function, reference))
    OWN[name] = METRICS[name] = metric
    SCALES[name] = scale
    DESCRIPTIONS[name] = f"The project's own: {reference}"
    return metric


def forget() -> None:
    """Forget the metrics that were made known."""
    for name in OWN:
        for table in (METRICS, SCALES, DESCRIPTIONS):
            table.pop(name, None)
    OWN.clear()


class OwnStatistic:
    """The project's metrics of one model on a holdout, for any draw of its rows.

    Args:
        predictions: Of the model.
    """

    def __init__(self, predictions: Predictions) -> None:
        self._predictions = predictions
        # A class that the model does not know is no code that the function could know.
        self._known = predictions.task == "regression" or bool(
            (predictions.truth < predictions.classes).all()
        )

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric, shape (b,), under `weights`, shape (b, n): how often a row counts."""
        import numpy as np

        return {
            name: np.array([self._one(metric, row) for row in weights])
            for name, metric in OWN.items()
        }

    def _one(self, metric: Metric, weights: Floats) -> float:
        import numpy as np

        of = self._predictions
        given = of.scores if metric.needs == "scores" else of.predicted
        if not self._known:
            return float("nan")
        if (weights == 1).all():
            return metric.of(of.truth, given)
        drawn = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
        assert isinstance(metric.of, OwnFunction)
        return metric.of.once(of.truth[drawn], given[drawn])
