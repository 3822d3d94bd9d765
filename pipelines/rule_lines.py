"""A decision in the console: the same lines at the end of `penstock run` and `penstock gate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.gate.evaluation import Evaluation
    from penstock.records.decision import Decision, RuleResult

_VERDICTS = {"pass": "pass", "fail": "FAIL", "not applicable": "n/a"}


def rule_lines(decision: Decision) -> Iterator[str]:
    """Yield a line for each rule, failures first: `FAIL  warn   slices: …`."""
    for rule in decision.ordered:
        yield _line(rule)


def beside_lines(evaluation: Evaluation | None) -> Iterator[str]:
    """Yield what the rules want said beside the verdict, for example of each class."""
    if evaluation is not None:
        yield from evaluation.sentences()


def _line(rule: RuleResult) -> str:
    return f"{_VERDICTS[rule.verdict]:<4}  {rule.severity:<5}  {rule.rule}: {rule.sentence}"
