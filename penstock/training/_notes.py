"""What a training report notes of its search."""

from __future__ import annotations

from penstock.training import estimators
from penstock.training.inputs import Problem
from penstock.training.search import Search
from penstock.training.spec import TrainingSpec


def ended(search: Search, spec: TrainingSpec) -> str:
    """Return why a search ended."""
    because = {
        "trials": "that is all that `training.trials` allows.",
        "settled": f"the last {search.idle} did not improve on the best by more than a standard "
        "error (`training.patience`).",
        "exhausted": "nothing was left that had not been tried.",
    }[search.ended]
    tried = len(search.attempts)
    return f"The search ended after {tried} of {spec.trials} settings: {because}"


def untried(search: Search) -> tuple[str, ...]:
    """Return which families had no turn, if any."""
    if not search.untried:
        return ()
    return (f"Not tried, because the number of trials left no room: {', '.join(search.untried)}.",)


def bounded(problem: Problem, search: Search) -> tuple[str, ...]:
    """Return how large the trees of forests could become, if they were bounded."""
    forests = {attempt.family for attempt in search.attempts} & {"random_forest", "extra_trees"}
    if problem.most_leaves is None or not forests:
        return ()
    return (
        f"Trees of forests had at most {problem.most_leaves:,} leaves: with "
        f"{len(problem.classes)} classes larger ones take more than "
        f"{estimators.FOREST_BYTES // 1_000_000} MB a forest.",
    )
