"""What every evaluation holds, whatever the rules: scores and comparisons on the holdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from penstock.errors import InputError
from penstock.records.base import Record, Value
from penstock.records.estimate import Estimate
from penstock.records.model import Task

CANDIDATE = "candidate"
CHAMPION = "champion"
"""What the two are called among the models of an evaluation."""

ChampionState = Literal["none", "compared", "unloadable", "different", "gone"]
"""none: no version was ever champion. compared: measured on the same rows. unloadable: its files
cannot be loaded, or it gives no finite answer. different: it answers another question or takes
columns that the holdout lacks.
gone: versions were promoted, but none is the champion now."""


class Scores(Value):
    """One model's metrics on the holdout."""

    name: str = Field(description="candidate, majority, mean, linear or champion")
    description: str
    model: str = Field(description="Digest of the model's folder")
    dataset: str = Field(default="", description="Content digest of the rows it was measured on")
    metrics: dict[str, Estimate]


class Comparison(Value):
    """Candidate against another model on the same rows.

    `advantage` is oriented: above 0 the candidate is better, whatever the metric.
    """

    against: str
    metric: str
    advantage: Estimate
    method: str = Field(default="", description="How the interval was made")
    p_equal: float | None = Field(
        default=None, description="p-value of `both are equally good`, where a test applies"
    )


class EvaluationBase(Record):
    """What `penstock.gate.evaluation.Evaluation` is made on: each rule adds what it measured."""

    KIND: ClassVar[str] = "evaluation"

    task: Task
    metric: str = Field(description="The primary metric")
    higher_is_better: dict[str, bool] = Field(description="For every metric that is reported")
    dataset: str = Field(description="Content digest of the holdout")
    model: str = Field(description="Digest of the candidate's folder")
    rows: int
    confidence: float = Field(description="Of every interval, between 0 and 1")
    resamples: int
    seed: int
    threshold: float | None = None
    champion: str = Field(default="", description="`models:/name/version` of the champion, if any")
    champion_state: ChampionState = "none"
    champion_note: str = Field(default="", description="Why it was not compared, if it was not")
    commit: str = Field(default="", description="Git commit of the code that trained the model")
    policy: str = Field(default="", description="Digest of the policy that this was measured for")
    baseline: str = Field(
        default="",
        description="Digest of the baseline that was made with it; empty: none was, as by older "
        "releases",
    )
    scores: tuple[Scores, ...]
    comparisons: tuple[Comparison, ...]

    if TYPE_CHECKING:
        # `Evaluation` has it after the fields of the rules, where it always stood in the JSON.
        notes: tuple[str, ...]

    def payload(self) -> dict[str, Any]:
        """Return the record as JSON-ready values; without a baseline as before there was one.

        So the digests in their decisions still are of what is read.
        """
        written = super().payload()
        if not self.baseline:
            del written["baseline"]
        return written

    @property
    def candidate(self) -> Scores:
        """The candidate's scores.

        Raises:
            InputError: If there are none.
        """
        scores = self.scores_of(CANDIDATE)
        if scores is None:
            raise InputError("the evaluation has no scores of the candidate")
        return scores

    def scores_of(self, name: str) -> Scores | None:
        """Return the scores of one model by its name here, or None."""
        return next((scores for scores in self.scores if scores.name == name), None)

    def comparison(self, *, against: str, metric: str) -> Comparison | None:
        """Return one comparison, or None when it was not made."""
        return next(
            (c for c in self.comparisons if c.against == against and c.metric == metric), None
        )

    def left_out(self, metric: str) -> str:
        """Return why there is no figure of a metric; empty if the evaluation does not say."""
        return next((note for note in self.notes if note.startswith(f"{metric} ")), "")
