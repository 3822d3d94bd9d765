"""What a rule of the gate is: one module that measures, judges and words one requirement.

A module of `penstock.gate.rules` holds its settings, what it measures, and a `RULE`, the one object
by which all the rest knows it. Policy, evaluation, decision, pages, card and documents are made by
going through the rules: none of them names one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from pydantic import ConfigDict, Field

from penstock.errors import absent_column
from penstock.records.base import Value
from penstock.records.decision import RuleResult, Severity, Verdict
from penstock.records.evaluation import EvaluationBase
from penstock.records.model import Task
from penstock.records.operations import Operations
from penstock.records.spec import Spec

if TYPE_CHECKING:
    from penstock.gate.holdout import Context
    from penstock.reports.blocks import Part
    from penstock.reports.page import Section


class RuleSpec(Spec):
    """What the settings of every rule hold besides its bound."""

    severity: Severity = Field(
        default="block",
        description="block: a model that fails is refused; warn: the failure is shown as a "
        "warning; info: it is only listed",
    )
    because: str = Field(
        default="", max_length=500, description="Why the rule is there, for whoever reads the page"
    )


class PolicyBase(Spec):
    """What a policy is made on: a field for each rule is added to it. A null rule is off."""

    # Nobody makes one: only `Policy` needs a validator, and building one takes time at each import.
    model_config = ConfigDict(defer_build=True)
    null_sections = False


class Measurement(Value):
    """What a rule measures, and each part of it. Its validator is made when it is first used."""

    model_config = ConfigDict(defer_build=True)


@dataclass(frozen=True)
class Case:
    """What a rule judges: records, and nothing else.

    Args:
        evaluation: What was measured on the holdout.
        policy: All rules with their settings.
        operations: What was measured of the candidate in its server; None where nothing was.
    """

    evaluation: EvaluationBase
    policy: PolicyBase
    operations: Operations | None = None


_NOT_MEASURED = "The evaluation does not measure"

Settings = TypeVar("Settings", bound=RuleSpec)
Measured = TypeVar("Measured")


class Rule(ABC, Generic[Settings, Measured]):
    """One requirement of a policy. A subclass overrides what its rule has; the rest stays empty.

    What `measure` needs is imported inside it: a rule is judged where no model can be loaded.

    Attributes:
        name: The policy's field, for example `stability`.
        field: How pydantic declares that field: its type and what `Field` returns. The type is the
            settings, or None too, or a tuple of them.
        order: The place among the rules in a decision and on pages; a new rule comes last.
        policy_order: The place of its field in a policy, where that is another.
        record: How pydantic declares what is measured, in the evaluation; None: nothing is.
        record_name: Its field there, where that has another name.
        judge_only: Settings that `measure` does not read, such as bounds: what was measured with
            others of them can be judged by new ones.
    """

    name: ClassVar[str]
    field: ClassVar[tuple[Any, Any]]
    order: ClassVar[int] = 1000
    policy_order: ClassVar[int | None] = None
    record: ClassVar[tuple[Any, Any] | None] = None
    record_name: ClassVar[str] = ""
    judge_only: ClassVar[frozenset[str]] = frozenset()

    # In the policy.

    def settings(self, policy: PolicyBase) -> tuple[Settings, ...]:
        """Return the rule's settings in a policy: none if it is off, one, or several."""
        found = getattr(policy, self.name)
        return found if isinstance(found, tuple) else () if found is None else (found,)

    def of(self, policy: PolicyBase) -> Settings | None:
        """Return the rule's settings in a policy, or the first; None if it is off."""
        return next(iter(self.settings(policy)), None)

    @abstractmethod
    def describe(self, settings: Settings, /) -> Iterable[tuple[str, str]]:
        """Yield the name of every result that `judge` may give, and its requirement in words.

        The words are for a reader who does not code: one or two sentences.
        """

    def columns(self, settings: Settings, /) -> Iterable[tuple[str, str]]:  # noqa: ARG002
        """Yield the columns that it names, each after the setting that names it."""
        return ()

    def check_columns(self, settings: Settings, columns: Sequence[str], *, target: str) -> None:  # noqa: ARG002
        """Refuse settings that name a column which a table does not have.

        Args:
            settings: The settings.
            columns: The table's columns.
            target: The one that is predicted.

        Raises:
            InputError: If there is one; the message names it and the setting.
        """
        for where, name in self.columns(settings):
            if name not in columns:
                raise absent_column(name, columns, where=where)

    def check_fit(self, settings: Settings, *, where: str, task: Task) -> None:
        """Refuse settings that can never be met, or never missed, in a task.

        Args:
            settings: The settings.
            where: What to call them in an error, for example `gate.floors.0`.
            task: What the model does.

        Raises:
            InputError: If they are such; the message names the field.
        """

    def margins(self, settings: Settings, /) -> Iterable[tuple[str, float, str]]:  # noqa: ARG002
        """Yield the margins that are in units of the primary metric.

        Each is the field, the margin, and what is always so of one as wide as the whole range of
        the metric, for example `is never exceeded`.
        """
        return ()

    # Whether it measures how good a model is.

    def quality(self, settings: Settings, *, task: Task | None) -> Iterable[str]:  # noqa: ARG002
        """Yield the names of results that a model which is no better than guessing does not pass.

        Args:
            settings: The settings.
            task: What the model does; None: not known yet.
        """
        return ()

    def quality_shown(self, settings: Settings, evaluation: EvaluationBase, /) -> Iterable[str]:
        """Yield the names of results that say how good a model is, on these rows.

        By default those of `quality` that block. At least one has to pass.
        """
        return self.quality(settings, task=evaluation.task) if blocks(settings) else ()

    # On the holdout.

    def measure(self, settings: Settings, context: Context, /) -> Measured:
        """Measure on the holdout what `judge` will need.

        Raises:
            InputError: If the settings ask for what these rows or this model cannot give.
        """
        raise NotImplementedError(self.name)

    def measurement(self, policy: PolicyBase, context: Context) -> Measured | None:
        """Return what the evaluation keeps of this rule; None: nothing, as it is off."""
        settings = self.of(policy)
        return None if settings is None or self.record is None else self.measure(settings, context)

    def measured(self, evaluation: EvaluationBase) -> Measured | None:
        """Return what an evaluation holds for this rule; None: nothing was measured."""
        if self.record is None:
            return None
        return cast("Measured | None", getattr(evaluation, self.record_name or self.name))

    def measured_alike(self, settings: Settings, then: Sequence[Settings], /) -> bool:
        """Return whether what was measured for other settings is what these would have measured.

        Args:
            settings: The settings that are to judge.
            then: The rule's settings when it was measured; none if it was off.
        """
        # Of a rule without a record everything that it reads is always measured.
        return self.record is None or any(self._read(one) == self._read(settings) for one in then)

    def _read(self, settings: Settings) -> dict[str, Any]:
        return settings.model_dump(exclude={"severity", "because", *self.judge_only})

    # On records alone.

    @abstractmethod
    def judge(self, settings: Settings, case: Case, /) -> Iterable[RuleResult]:
        """Yield what was found: one result for each bound. Pure: records in, results out."""

    # For people.

    def section(self, evaluation: EvaluationBase, /) -> Section | None:  # noqa: ARG002
        """Return the section of the evaluation's page; None: it has none."""
        return None

    def card(self, evaluation: EvaluationBase | None, operations: Operations | None) -> Part | None:  # noqa: ARG002
        """Return the part of the model card, which also says if nothing was measured; or None."""
        return None

    def sentences(self, evaluation: EvaluationBase, /) -> tuple[str, ...]:  # noqa: ARG002
        """Return what stands beside every verdict, in console, pages and card; mostly nothing."""
        return ()

    def progress(self, evaluation: EvaluationBase, /) -> str:  # noqa: ARG002
        """Return a few words for the line that the step prints at its end; mostly none."""
        return ""

    def metrics(self, policy: PolicyBase, evaluation: EvaluationBase) -> Iterable[str]:  # noqa: ARG002
        """Yield the metrics that its results name, so that the decision's page explains them."""
        return ()


def blocks(settings: RuleSpec) -> bool:
    """Return whether a failure refuses the model."""
    return settings.severity == "block"


def result(
    name: str,
    settings: RuleSpec,
    *,
    passed: bool | None,
    sentence: str,
    value: float | None = None,
    bound: float | None = None,
) -> RuleResult:
    """Return what a rule found.

    Args:
        name: One that the rule's `describe` yields, for example `floor recall`.
        settings: The rule's, whose severity and reason the result carries.
        passed: None: the rule does not apply.
        sentence: Why, in words that need no other page.
        value: What was measured, if it is one figure.
        bound: What it was held against.
    """
    verdict: Verdict = "not applicable" if passed is None else "pass" if passed else "fail"
    return RuleResult(
        rule=name,
        severity=settings.severity,
        verdict=verdict,
        value=value,
        bound=bound,
        sentence=sentence,
        because=settings.because,
    )


def not_measured(
    name: str, settings: RuleSpec, what: str, *, bound: float | None = None, why: str = ""
) -> RuleResult:
    """Return a failure for want of a figure: a rule never passes because nothing was measured.

    Args:
        name: One that the rule's `describe` yields.
        settings: The rule's.
        what: What was not measured.
        bound: What it would have been held against.
        why: Why it was not, in a sentence, if that is known.
    """
    sentence = f"{_NOT_MEASURED} {what}, so the rule cannot pass. {why}".strip()
    return result(name, settings, passed=False, sentence=sentence, bound=bound)


def failed_unmeasured(found: RuleResult) -> bool:
    """Return whether a result is a failure for want of a figure: see `not_measured`."""
    return found.verdict == "fail" and found.sentence.startswith(_NOT_MEASURED)
