"""The project's page on rollouts: each with its verdict, and which share its candidate had when."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.pipelines.ui.parts import Row, clock, links, section
from penstock.pipelines.ui.seen import Seen
from penstock.records.rollout import Rollout
from penstock.reports.page import Cell, Section, Tone
from penstock.rollout.words import duration

OUTCOMES: dict[str | None, tuple[str, Tone]] = {
    "promoted": ("promoted", "good"),
    "rolled_back": ("rolled back", "bad"),
    None: ("under way", "warn"),
}
"""How a rollout ended, and how a page colours it."""

_PURPOSES = {"return": "Return to a former champion. ", "experiment": "Experiment. "}
_HEADERS = ["Started", "Version", "Outcome", "Weights", "Reason", "Pages"]


def canaries(seen: Seen) -> Section:
    """Return every rollout, the newest first."""
    recorded = {
        run.rollout.identity: run for run in reversed(seen.runs.value) if run.rollout is not None
    }
    rows: list[Row] = []
    for rollout in seen.rollouts.value:
        run = recorded.get(rollout.identity)
        rows.append(
            [
                clock(rollout.started),
                Cell(_compared(rollout), strong=True),
                Cell(*OUTCOMES[rollout.outcome]),
                ", ".join(weights(rollout)) or "none",
                _reason(rollout),
                Cell("", links=links(run, "rollout", "card", home=seen.home)) if run else "",
            ]
        )
    return section(
        "Canaries",
        _HEADERS,
        rows,
        none="No version has been rolled out yet.",
        problems=seen.rollouts.problems,
    )


def weights(rollout: Rollout) -> Iterator[str]:
    """Yield each share of the requests that a candidate had, and how long after the start."""
    before = 0
    for each in rollout.transitions:
        # To be done changes no weight.
        if each.phase != "done" and each.weight != before:
            after = max(0.0, (each.time - rollout.started).total_seconds())
            yield f"{each.weight} % at {duration(after)}"
            before = each.weight


def _compared(rollout: Rollout) -> str:
    over = f" over {rollout.stable}" if rollout.stable is not None else ""
    return f"{rollout.candidate}{over}"


def _reason(rollout: Rollout) -> str:
    fault = f"Fault injection ({rollout.fault}): " if rollout.fault else ""
    return f"{fault}{_PURPOSES.get(rollout.purpose, '')}{rollout.reason}"
