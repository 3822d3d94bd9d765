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

_HEADERS = ["Started", "Version", "Stable", "Outcome", "Weights", "Reason", "Pages"]


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
                Cell(str(rollout.candidate), strong=True),
                str(rollout.stable or "none"),
                Cell(*OUTCOMES[rollout.outcome]),
                ", ".join(weights(rollout)) or "not known",
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
    before: int | None = None
    for each in rollout.transitions:
        if each.phase == "done" or each.weight == before:
            continue
        after = max(0.0, (each.time - rollout.started).total_seconds())
        yield f"{each.weight} %" + (f" after {duration(after)}" if before is not None else "")
        before = each.weight


def _reason(rollout: Rollout) -> str:
    what = "Return to a former champion. " if rollout.purpose == "return" else ""
    if rollout.fault:
        return f"Fault injection ({rollout.fault}): {what}{rollout.reason}"
    return f"{what}{rollout.reason}"
