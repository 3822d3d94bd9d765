"""The servers of both versions in a rollout's report, where load scales them."""

from __future__ import annotations

from penstock.records.replicas import Replicas, as_one
from penstock.reports.page import Cell, Section, paragraph, table
from penstock.rollout.report_points import Line, line_of, phases_of
from penstock.rollout.report_scene import Scene, both


def section(scene: Scene) -> Section | None:
    """Return how many servers each version had over time; None where nothing scales them."""
    if not any(point.replicas for point in scene.points):
        return None
    picture = both(
        scene,
        (_line(scene, "stable"), _line(scene, "candidate")),
        title="Ready servers",
        y="Servers",
        caption="Before a share of the requests is the candidate's, it has the servers that this "
        "share takes. The stable version keeps those that it has until it is not needed any more.",
    )
    return Section(
        "Servers",
        picture + _table(scene) + _ended(scene),
        "How many servers of each version were ready while the evidence was gathered.",
    )


def _line(scene: Scene, role: str) -> Line:
    """Return the fewest ready servers of a version over time."""
    found = [point.replicas.get(role) for point in scene.points]
    return line_of(scene.points, [None if one is None else float(one.least) for one in found])


def _table(scene: Scene) -> str:
    rows: list[list[str | Cell]] = []
    for point in phases_of(scene.points):
        name = "Shadow" if point.phase == "shadow" else f"Step {point.step + 1}"
        share = "mirrored" if point.phase == "shadow" else f"{point.weight} %"
        rows.append(
            [
                Cell(name, strong=True),
                share,
                _range(point.replicas.get("stable")),
                _range(point.replicas.get("candidate")),
            ]
        )
    headers = ["Phase", "Candidate's traffic", scene.stable, scene.candidate]
    return table(headers, rows, numeric=(2, 3))


def _range(found: Replicas | None) -> str:
    if found is None:
        return "-"
    return f"{found.least}" if found.least == found.most else f"{found.least} to {found.most}"


def _ended(scene: Scene) -> str:
    """Say what is in no count: what a server answered after its last figures were read."""
    together = as_one(point.replicas for point in scene.points)
    names = {"stable": scene.stable, "candidate": scene.candidate}
    gone = [f"{found.ended} of {names[role]}" for role, found in together.items() if found.ended]
    if not gone:
        return ""
    return paragraph(
        f"Servers that ended meanwhile: {', '.join(gone)}. What one of them answered after "
        "Prometheus had scraped it last is in no count here."
    )
