"""What is known of a model: what it takes, what it gives, what it was trained from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.dataset import Column, Reading
from penstock.records.estimate import Estimate

Task = Literal["binary", "multiclass", "regression"]
Label = bool | int | str
CalibrationMethod = Literal["sigmoid", "isotonic"]
FoldKind = Literal["random", "stratified", "group", "time"]

FILE_NAME = "penstock.json"
"""Where a model folder holds its record, beside MLflow's own `MLmodel`."""


class Level(Value):
    """Values of a category that the model was trained with."""

    column: str
    values: tuple[str, ...]
    complete: bool = Field(
        default=True,
        description="Whether these are all that the training part held. False: only those that "
        "are features, for the others were too many, or `training.carry_rows` is off",
    )


class TrainingSample(Value):
    """Which rows of a training part a model learned from, where they were not all."""

    rows: int = Field(description="Rows that it learned from")
    of: int = Field(description="Rows of the training part")
    by_class: bool = Field(
        description="Whether each class has the share of the sample it has there"
    )
    more_often: dict[str, float] = Field(
        default={},
        description="Classes that are more frequent in the sample than there, as too few rows of "
        "them would have been drawn, and how many times",
    )

    @property
    def short(self) -> str:
        """The same in few words."""
        return f"learned from {self.rows:,} of {self.of:,} rows (training.max_rows)"

    @property
    def text(self) -> str:
        """Both in a sentence, as the report and the card have it."""
        how = "with the same share of each class" if self.by_class else "drawn at random"
        return (
            f"Learned from a sample of {self.rows:,} of the {self.of:,} rows of the training part, "
            f"{how} (training.max_rows).{self._rare}"
        )

    @property
    def _rare(self) -> str:
        if not self.more_often:
            return ""
        times = (f"{label} ({many:.3g} times)" for label, many in self.more_often.items())
        return (
            f" Of rare classes more rows were drawn than their share: {', '.join(times)}. Their "
            "probabilities, the scores of the folds and the threshold are those of the sample; the "
            "holdout has the shares of the table."
        )


class OwnMetric(Value):
    """A metric of the project's own, by which a search was done."""

    function: str = Field(description="What `training.own_metric` names")
    greater_is_better: bool
    given: Literal["scores", "labels"]


class Folds(Value):
    """The folds on which settings were compared."""

    number: int
    kind: FoldKind
    column: str = Field(default="", description="The group or time column")
    gap: str = Field(default="", description="What lies between rows fitted on and rows scored")

    @property
    def text(self) -> str:
        """The same in a sentence, as the report and the card have it."""
        how = {
            "random": "drawn at random",
            "stratified": "each with the same share of each class",
            "group": f"each of which has whole groups of {self.column}",
            "time": f"each scored on later rows by {self.column} than it was fitted on",
        }[self.kind]
        gap = f", with a gap of {self.gap} between" if self.gap else ""
        return f"Settings were compared on {self.number} folds, {how}{gap}."


class CalibrationFigures(Value):
    """How far probabilities are from what happened, at a confidence of 0.95."""

    brier: Estimate = Field(description="Of more than two classes the sum over them, from 0 to 2")
    ece: Estimate = Field(description="Expected calibration error, as the gate's rule measures it")


class Calibration(Value):
    """What was done to a classifier's probabilities, learned on rows held out of its folds."""

    method: CalibrationMethod
    rows: int = Field(description="Predictions that it was fitted on")
    judged: int = Field(description="Of these: rows that both figures are of")
    before: CalibrationFigures
    after: CalibrationFigures = Field(
        description="By maps that were fitted on the other folds; of folds by time on earlier ones"
    )

    @property
    def text(self) -> str:
        """The same in a sentence, as the report and the card have it."""
        brier, ece = (
            f"{_interval(getattr(self.before, name))} before, "
            f"{_interval(getattr(self.after, name))} after"
            for name in ("brier", "ece")
        )
        return (
            f"Probabilities are calibrated by {self.method}, fitted on predictions for "
            f"{self.rows:,} rows held out of the folds. On {self.judged:,} of them, by maps of "
            f"other folds: Brier score {brier}; expected calibration error {ece} (95 %)."
        )


def _interval(of: Estimate) -> str:
    return f"{of.value:.4f} ({of.low:.4f} to {of.high:.4f})"


class OwnCode(Value):
    """Code of the project's own that a model carries, in its folder `code`."""

    digest: str = Field(description="Digest of the folder: of names and contents")
    files: tuple[str, ...] = Field(description="Its files")
    libraries: dict[str, str] = Field(
        default_factory=dict, description="Installed libraries that it imports, by distribution"
    )
    estimator: str = Field(default="", description="What `training.estimator` names; empty: none")
    transformer: str = Field(
        default="", description="What `features.transformer` names; empty: none"
    )
    metric: OwnMetric | None = Field(
        default=None, description="The metric that the search optimised, if it is the project's own"
    )


class Model(Record):
    """`penstock.json` inside an MLflow model folder.

    `columns` are the raw input columns in training order: the model needs no other preparation.
    """

    KIND: ClassVar[str] = "model"

    name: str = Field(description="The estimator's name in the project file, for people")
    task: Task
    target: str
    classes: tuple[Label, ...] = Field(default=(), description="In the order of predict_proba")
    class_rows: tuple[int, ...] = Field(
        default=(),
        description="Rows of the training part of each class. Empty: a regression, or an older "
        "release trained it",
    )
    sample: TrainingSample | None = Field(
        default=None,
        description="The sample that it learned from, where the training part has more rows than "
        "`training.max_rows`; `class_rows` are those of the sample. None: it learned from all rows",
    )
    folds: Folds | None = Field(
        default=None,
        description="The folds of its training part. None: an older release trained it",
    )
    calibration: Calibration | None = Field(
        default=None,
        description="What was done to its probabilities. None: they are the estimator's own",
    )
    positive: Label | None = Field(default=None, description="Binary task: the class scored")
    threshold: float | None = Field(
        default=None,
        description="Binary task: score from which the positive class is predicted, chosen on "
        "out-of-fold predictions of the training part",
    )
    columns: tuple[Column, ...]
    reading: Reading | None = Field(
        default=None,
        description="How texts become values of the columns, as in the table that was trained on; "
        "None: that table had types of its own, and a text is that text",
    )
    metric: str = Field(description="The metric that the search optimised")
    score: float = Field(description="Its mean over the folds of the training part")
    parameters: dict[str, bool | int | float | str | None]
    dataset: str = Field(description="Content digest of the training part")
    table: str = Field(
        default="",
        description="Content digest of the whole table that was ingested: the dataset version. "
        "Empty: an older release trained it and noted the training part alone",
    )
    seed: int
    commit: str = Field(default="", description="Git commit of the code that trained, if known")
    libraries: dict[str, str]
    trusted_types: tuple[str, ...] = Field(
        description="What skops may load besides its own defaults; checked against a fixed list"
    )
    levels: tuple[Level, ...] | None = Field(
        default=None,
        description="Text columns taken for a category: the values of the training part, with "
        "the rare ones where they are few. None: an older release trained it and did not note them",
    )
    carries_rows: bool = Field(
        default=True,
        description="Whether rows of the training part travel with the model: see "
        "`training.carry_rows`",
    )
    mlflow_run: str = Field(default="", description="MLflow run that tracked the training")
    code: OwnCode | None = Field(
        default=None,
        description="The project's own code without which it cannot be loaded. None: it needs none",
    )

    @property
    def dataset_version(self) -> str:
        """The version of the data as people are shown it, everywhere the same.

        Of a model that an older release trained it is the training part's digest, which is all that
        was noted.
        """
        return self.table or self.dataset
