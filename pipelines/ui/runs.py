"""The project's page on runs: how each ended and why, and all its pages."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.pipelines.outputs import PAGES, PastRun
from penstock.pipelines.ui.parts import Row, address, links, section
from penstock.pipelines.ui.seen import Seen
from penstock.reports.page import Cell, Section, Tone

LOG = "kfp.log"
"""What the steps of a run printed, in the run's folder."""

_OUTCOMES: dict[str, tuple[str, Tone]] = {
    "released": ("released", "good"),
    "refused": ("refused", "bad"),
    "rolled_back": ("rolled back", "bad"),
    "failed": ("failed", "bad"),
    "": ("unfinished", "warn"),
}


def runs(seen: Seen) -> Section:
    """Return every run that is looked at, the newest first."""
    rows: list[Row] = [
        [
            run.began,
            Cell(*_OUTCOMES.get(run.outcome, (run.outcome, "plain"))),
            " ".join(_reason(run)),
            Cell("", links=(*links(run, *PAGES, home=seen.home), *_log(run, seen))),
        ]
        for run in seen.runs.value
    ]
    return section(
        "Runs and reports",
        ["Started", "Outcome", "Reason", "Pages"],
        rows,
        none="Nothing has run on this machine yet. Release a version with: penstock run.",
        lead=f"{seen.older:,} older runs are not shown." if seen.older else "",
        problems=seen.runs.problems,
    )


def _reason(run: PastRun) -> Iterator[str]:
    if run.reason:
        yield run.reason
    if run.settings:
        yield f"Settings: {', '.join(run.settings)}."


def _log(run: PastRun, seen: Seen) -> tuple[tuple[str, str], ...]:
    log = run.folder / LOG
    return (("Log", address(log, home=seen.home)),) if log.is_file() else ()
