"""On the same rows the candidate must not be worse than the champion, or must be better."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from penstock.gate.advantage import lower_end_above
from penstock.gate.rule import Case, Rule, RuleSpec, blocks, result
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase

NOT_WORSE, BETTER = "champion", "champion superiority"


class ChampionSpec(RuleSpec):
    """How much worse than the champion a candidate may be, and whether it must be better."""

    margin: float = Field(
        default=0.01,
        ge=0,
        description="Non-inferiority margin in units of the primary metric: the lower end of the "
        "interval of the advantage must lie above minus the margin",
    )
    superiority: bool = Field(
        default=False,
        description="Also require that the candidate is better: the lower end must lie above 0",
    )


class ChampionRule(Rule[ChampionSpec, None]):
    """The lower end of the interval of the advantage lies above minus the margin, or above 0."""

    name = "champion"
    order = 30
    field = (
        ChampionSpec,
        Field(
            default=ChampionSpec(),
            description="Not worse than the champion by more than the margin. Not applicable while "
            "there is no champion",
        ),
    )

    def describe(self, settings: ChampionSpec) -> Iterator[tuple[str, str]]:
        """Yield the requirement of each of the two."""
        yield (
            NOT_WORSE,
            "On the same rows the model may be worse than the champion, the version that users "
            f"have now, by no more than {settings.margin:g}, the lower end of the interval "
            "included.",
        )
        yield (
            BETTER,
            "On the same rows the model must be shown to be better than the champion, the version "
            "that users have now: even the lower end of its advantage must lie above 0.",
        )

    def margins(self, settings: ChampionSpec) -> Iterator[tuple[str, float, str]]:
        """Yield the margin."""
        yield "margin", settings.margin, "is never exceeded"

    def quality_shown(self, settings: ChampionSpec, _: EvaluationBase) -> Iterator[str]:
        """Yield both: who is no worse than a champion is as good as what users have."""
        if blocks(settings):
            yield from (NOT_WORSE, BETTER)

    def judge(self, settings: ChampionSpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether the candidate is not worse and, if required, whether it is better."""
        yield _beside(case.evaluation, settings, NOT_WORSE, -settings.margin)
        if settings.superiority:
            yield _beside(case.evaluation, settings, BETTER, 0.0)


def _beside(
    evaluation: EvaluationBase, settings: ChampionSpec, name: str, bound: float
) -> RuleResult:
    if evaluation.champion_state == "none" and not evaluation.champion:
        sentence = "There is no champion yet to compare with."
        return result(name, settings, passed=None, bound=bound, sentence=sentence)
    if evaluation.champion_state != "compared":
        return result(name, settings, passed=False, bound=bound, sentence=_not_compared(evaluation))
    champion = evaluation.scores_of("champion")
    if champion is None or {evaluation.candidate.dataset, champion.dataset} != {evaluation.dataset}:
        sentence = (
            "The record does not show that the candidate and the champion were measured on the "
            f"same rows ({evaluation.dataset}), so the rule cannot pass. Evaluate again."
        )
        return result(name, settings, passed=False, bound=bound, sentence=sentence)
    return lower_end_above(
        name,
        settings,
        evaluation,
        title=f"the champion {evaluation.champion}",
        comparison=evaluation.comparison(against="champion", metric=evaluation.metric),
        bound=bound,
        rows=f", both on the same {evaluation.rows:,} rows ({evaluation.dataset}),",
    )


def _not_compared(evaluation: EvaluationBase) -> str:
    """Return in words why a champion that should be there was not compared, and what to do."""
    named = f"the champion {evaluation.champion}" if evaluation.champion else "the champion"
    note = f" {evaluation.champion_note}" if evaluation.champion_note else ""
    unseen = "so nothing shows that the candidate is not worse."
    if evaluation.champion_state == "gone":
        return (
            f"There was a champion, but no version is it now, {unseen}{note} Give the alias "
            "back to the version that serves, then evaluate again."
        )
    if evaluation.champion_state == "unloadable":
        return (
            f"It was not possible to load {named}, {unseen}{note} Restore its files; to "
            "replace it unseen, set severity: warn for this one release in each rule that needs "
            "it: gate.champion, gate.classes."
        )
    if evaluation.champion_state == "different":
        return (
            f"It was not possible to compare {named} on these rows, since it answers another "
            f"question or takes other columns, {unseen}{note}"
        )
    return f"The record names {named} but does not say how it stands, {unseen} Evaluate again."


RULE = ChampionRule()
