"""The project's page on experiments: each with what it showed, and its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penstock.errors import PenstockError
from penstock.pipelines.service_figures import experiment_of
from penstock.pipelines.ui.parts import Row, address, clock, section
from penstock.pipelines.ui.seen import Seen
from penstock.records.experiment import Ending, Experiment
from penstock.reports.page import Cell, Section, Tone

FOLDER = "experiments"
"""Where a project's home has them: a page of each, and a record of those that have ended."""

_HEADERS = ["Started", "Ended", "Versions", "Outcome", "What it showed", "Pages"]
_TONES: dict[Ending, Tone] = {"promoted": "good", "harm": "bad"}


def experiments(seen: Seen) -> Section | None:
    """Return the experiments, the newest first; None where there never was one."""
    folder = seen.home / FOLDER
    names = {path.stem for kind in ("json", "html") for path in folder.glob(f"*.{kind}")}
    names |= {one.identity for one in seen.rollouts.value if one.purpose == "experiment"}
    if not names:
        return None
    rows: list[tuple[str, Row]] = []
    problems = []
    for name in sorted(names):
        try:
            rows.append(_row(folder, name, seen))
        except PenstockError as error:
            problems.append(f"The record of experiment {name} cannot be read: {error}")
    newest = [row for _, row in sorted(rows, key=lambda one: one[0], reverse=True)]
    return section("Experiments", _HEADERS, newest, none="", problems=problems)


def _row(folder: Path, name: str, seen: Seen) -> tuple[str, Row]:
    record = folder / f"{name}.json"
    page = folder / f"{name}.html"
    links = (("Experiment", address(page, home=seen.home)),) if page.is_file() else ()
    cells = [*_ended(record)] if record.is_file() else [*_under_way(name, seen)]
    return str(cells[0]), [*cells, Cell("", links=links)]


def _ended(record: Path) -> Iterator[str | Cell]:
    found = Experiment.read(record)
    yield clock(found.started)
    yield clock(found.ended)
    yield f"{found.challenger} against {found.champion}"
    yield Cell(found.outcome, _TONES.get(found.outcome, "plain"))
    yield " ".join(dict.fromkeys(filter(None, (found.reading.sentence, found.reason))))


def _under_way(name: str, seen: Seen) -> Iterator[str | Cell]:
    """Yield what the journal says of an experiment that is not written down yet."""
    rollout = next((one for one in seen.rollouts.value if one.identity == name), None)
    yield clock(rollout.started) if rollout else "not known"
    yield "-"
    yield f"{rollout.candidate} against {rollout.stable}" if rollout else "not known"
    yield Cell("under way", "warn")
    yield " ".join(_last_look(name, seen))


def _last_look(name: str, seen: Seen) -> Iterator[str]:
    """Yield what its controller saw last, and whether anybody watches it."""
    # One on a cluster would be asked of its API each time that the page is opened.
    found = experiment_of(seen.project) if seen.here else None
    if found is not None and found.rollout.identity == name:
        if found.reading is not None:
            yield f"At {clock(found.reading.time)}: {found.reading.sentence}"
        if not found.driven:
            yield "Nobody watches it for harm. Go on with it: penstock experiment start."
    yield "What it shows now: penstock experiment status, which writes its page anew."
