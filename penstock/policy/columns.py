"""The columns that a policy names, held against those that a table has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.errors import InputError, absent_column
from penstock.policy.cost import PREDICTED, TRUTH, CostRule
from penstock.policy.expression import parse
from penstock.policy.spec import Policy


def check_columns(policy: Policy, columns: Sequence[str], *, target: str) -> None:
    """Check that a table has every column that a policy names.

    Args:
        policy: What the gate asks.
        columns: The table's columns.
        target: The one that is predicted.

    Raises:
        InputError: If a rule names a column that is not there, or the expression of `gate.cost`
            says `truth` or `predicted` while the table has another column of that name.
    """
    for where, name in _named(policy):
        if name not in columns:
            raise absent_column(name, columns, where=where)
    if policy.cost is not None and policy.cost.expression:
        _check_words(policy.cost, columns, target=target)


def _named(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.slices is not None:
        for one in policy.slices.columns:
            crossed = (one,) if isinstance(one, str) else one
            yield from (("gate.slices.columns", name) for name in crossed)
    for rule in policy.fairness:
        yield from (("gate.fairness.columns", name) for name in rule.columns)
    if policy.leakage is not None:
        yield from (("gate.leakage.not_at_serving", c) for c in policy.leakage.not_at_serving)
    if policy.cost is not None:
        where = f"gate.cost ({policy.cost.text()})"
        yield from ((where, name) for name in sorted(policy.cost.names()))


def _check_words(rule: CostRule, columns: Sequence[str], *, target: str) -> None:
    same = {TRUTH} if target == TRUTH else set()
    for word in sorted({TRUTH, PREDICTED} - same):
        if word in parse(rule.expression).names and word in columns:
            raise InputError(
                f"{word!r} means the {'true' if word == TRUTH else 'predicted'} label or value "
                "here, and the table has a column of that name too",
                where="gate.cost.expression",
                remedy="Rename the column in the source.",
            )
