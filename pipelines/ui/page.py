"""The page of a project: a service's whole life, as this machine and the registry have it."""

from __future__ import annotations

from penstock.pipelines.ui.canaries import canaries
from penstock.pipelines.ui.captured import captures
from penstock.pipelines.ui.experiments import experiments
from penstock.pipelines.ui.parts import clock
from penstock.pipelines.ui.runs import runs
from penstock.pipelines.ui.seen import Seen
from penstock.pipelines.ui.service import section as service
from penstock.pipelines.ui.service import verdict
from penstock.pipelines.ui.triggered import triggered
from penstock.pipelines.ui.versions import (
    section_of_champions,
    section_of_decisions,
    section_of_versions,
)
from penstock.pipelines.ui.watching import guarded, headline, monitor
from penstock.redaction import redact, redact_address
from penstock.reports.page import Section, page


def project_page(seen: Seen, *, live: bool, notice: str = "") -> str:
    """Return the page as HTML.

    Args:
        seen: What was read.
        live: Whether it is read again each time that somebody looks; else it says that it is not.
        notice: To be seen before all else.
    """
    project = seen.project.project
    status, sentence = verdict(seen)
    sections: list[Section | None] = [
        service(seen, live=live),
        monitor(seen),
        guarded(seen),
        section_of_versions(seen),
        section_of_champions(seen),
        canaries(seen),
        experiments(seen),
        triggered(seen),
        captures(seen),
        section_of_decisions(seen),
        runs(seen),
    ]
    return page(
        title=project.name,
        kind="Project",
        status=status,
        verdict=f"{sentence} {headline(seen)}".strip(),
        notice=notice,
        facts=[
            ("Target", project.target),
            ("Table", redact_address(project.source.uri)),
            ("Runs", f"{len(seen.runs.value) + seen.older:,}"),
            ("Date", f"{clock(seen.at)} {seen.at.astimezone():%Z}"),
            ("MLflow store", redact(seen.project.tracking_uri)),
        ],
        sections=[section for section in sections if section is not None],
    )
