"""The plots of a rollout's report, and the tables under them. Imported while a report is made."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from penstock.records.rollout import ArmSummary, Counts, total
from penstock.reports.page import Cell, Section, by_width, figure, paragraph, row, table
from penstock.reports.plots import Reference, Series
from penstock.reports.timeline import Counted, distribution, over_time
from penstock.rollout import words
from penstock.rollout.report_points import (
    Line,
    bins_of,
    densities,
    line_of,
    mean_losses,
    paused,
    phases_of,
    quantile,
    share_of,
)
from penstock.rollout.report_scene import Scene, both, decisions, drawn, line, lines, since

_SHOWN_LABELS = 12
_SLOW = 2.0
"""Seconds from which on a latency is not given in milliseconds."""


def timeline(scene: Scene) -> Section:
    """Return the candidate's weight over time, and what each phase saw."""
    record = scene.record
    moves = [
        (since(record, t.time) / scene.seconds, t.weight)
        for t in record.transitions
        if t.phase != "done"
    ]
    x = [0.0, *(at for at, _ in moves), scene.end]
    y = [0.0, *(float(weight) for _, weight in moves), float(moves[-1][1])]
    if record.of_phase("shadow"):
        caption = "In the shadow phase it gets mirrored requests, and its responses are not used."
    else:
        caption = "There was no shadow phase."

    def picture(*, wide: bool) -> str:
        return figure(
            over_time(
                [Series(x, y, "Share of new requests that the candidate gets", steps=True)],
                spans=scene.spans,
                title="The candidate's weight over time",
                x=scene.axis,
                y="Percent",
                xlim=(0, scene.end),
                ylim=(-4, 122),
                references=decisions(record, unit=scene.seconds, labelled=True),
                wide=wide,
                named=True,
            ),
            caption=f"The line is the candidate's share of new requests. {caption}",
        )

    return Section(
        "Timeline",
        by_width(wide=picture(wide=True), narrow=picture(wide=False)) + _phases(scene),
        "The candidate's share of the traffic, and the results of both versions in each phase.",
    )


def errors(scene: Scene) -> Section:
    """Return server errors and refusals over time."""
    parts = [
        _share_plot(
            scene,
            lambda arm: arm.server_errors,
            name="Failed requests (5xx)",
            caption="Requests that failed in the server: a 5xx status, or no response.",
        ),
        _share_plot(
            scene,
            lambda arm: arm.client_errors,
            name="Refused requests (4xx)",
            caption="Requests that the server refused as invalid. A new version that refuses what "
            "the stable one accepts breaks its clients.",
        ),
    ]
    body = row(*parts) if any(part.startswith("<figure") for part in parts) else "".join(parts)
    return Section("Errors", body, "Share of requests that failed or were refused.")


def latency(scene: Scene) -> Section:
    """Return the median and the judged quantile of latency over time."""
    judged = scene.plan.rules.latency_quantile
    name = f"p{100 * judged:g}"
    plots = [
        _latency_plot(scene, 0.5, "Median latency", "Half of the responses came within this time."),
        _latency_plot(
            scene,
            judged,
            f"{name} latency",
            f"{100 * judged:g} % of the responses came within this time. The latency rule compares "
            "it, and the median.",
        ),
    ]
    return Section("Latency", row(*plots), "Time of a successful response.")


def _latency_plot(scene: Scene, share: float, title: str, caption: str) -> str:
    edges = scene.record.grids.latency
    stable, candidate = lines(scene, lambda arm: quantile(arm.latency, edges, share))
    slow = max((value for _, y in (stable, candidate) for value in y if value == value), default=0)
    scale, unit = (1, "s") if slow >= _SLOW else (1000, "ms")
    return both(
        scene,
        (_scaled(stable, scale), _scaled(candidate, scale)),
        title=title,
        y=f"{title}, {unit}",
        caption=caption,
    )


def _scaled(found: Line, scale: float) -> Line:
    return found[0], [value * scale for value in found[1]]


def scores(scene: Scene) -> Section:
    """Return how the scores of both versions are distributed, and which labels they gave."""
    parts = []
    for phase, title, caption in (
        ("shadow", "Shadow", "Scores that both versions gave to the same requests."),
        ("step", "Steps", "Scores that each version gave to its own requests."),
    ):
        seen = [point for point in scene.points if point.phase == phase]
        stable = total(point.stable for point in seen)
        candidate = total(point.candidate for point in seen)
        if stable.scores or candidate.scores:
            parts.append(_score_plot(scene, stable, candidate, title=title, caption=caption))
    labels = _label_table(scene)
    if len(parts) == 1:
        body = row(*parts, labels)
    else:
        body = (row(*parts) if parts else paragraph("No row was scored.")) + labels
    return Section(
        "Scores",
        body,
        "What the versions predicted. The outlines of two versions that behave alike coincide.",
    )


def quality(scene: Scene) -> Section | None:
    """Return agreement on copied requests and loss where labels came; None without either."""
    copied = any(point.pairs.rows for point in scene.points)
    labelled = any(p.stable.labelled.requests + p.candidate.labelled.requests for p in scene.points)
    if not copied and not labelled:
        return None
    parts = [
        _agreement(scene) if copied else paragraph("No request was mirrored to the candidate."),
        _loss(scene) if labelled else paragraph("No true label came during the rollout."),
    ]
    return Section(
        "Agreement and loss",
        row(*parts),
        "Whether both versions predict the same, and which is closer to the true labels.",
    )


def _agreement(scene: Scene) -> str:
    measured = [point for point in scene.points if point.pairs.rows]
    shares = [100 * point.pairs.agreeing / point.pairs.rows for point in measured]
    bound = 100 * scene.plan.rules.agreement
    dropped = sum(point.pairs.dropped for point in scene.points)
    left_out = f" {dropped:,} requests were not mirrored: too many were open." if dropped else ""
    lowest = min([*shares, *([bound] if bound else [])])
    return drawn(
        scene,
        [line(scene, line_of(measured, shares), "Requests with the same prediction", "accent")],
        title="Agreement",
        y="Percent of mirrored requests",
        xlim=(measured[0].start, measured[-1].end),
        ylim=(max(0.0, lowest - 8), 102),
        references=[Reference("horizontal", bound, f"Bound: {bound:g} %", "warn")] if bound else [],
        caption=f"Mirrored requests for which both versions agree on a sampled row.{left_out}",
    )


def _loss(scene: Scene) -> str:
    points = scene.points
    stable = sum(point.stable.labelled.requests for point in points)
    candidate = sum(point.candidate.labelled.requests for point in points)
    return both(
        scene,
        (
            line_of(points, mean_losses(points, lambda point: point.stable)),
            line_of(points, mean_losses(points, lambda point: point.candidate)),
        ),
        title="Loss",
        y="Mean loss so far",
        caption="Loss of the requests whose true label has come: 0 is perfect, 1 is the worst. The "
        "mean so far in the shadow phase, and again from the first step on: "
        f"{stable:,} requests of the stable version, {candidate:,} of the candidate.",
    )


def _share_plot(
    scene: Scene,
    count: Callable[[ArmSummary], int],
    *,
    name: str,
    caption: str,
) -> str:
    shares = lines(scene, lambda arm: share_of(count(arm), arm))
    worst = max((value for _, y in shares for value in y if value == value), default=0.0)
    if not worst:
        return paragraph(f"{name}: none for either version.")
    return both(
        scene,
        shares,
        title=name,
        y="Percent of requests",
        caption=caption,
        top=max(1.08 * worst, 1),
    )


def _score_plot(
    scene: Scene, stable: ArmSummary, candidate: ArmSummary, *, title: str, caption: str
) -> str:
    bounds = bins_of(scene.record.grids.scores)
    widths = [high - low for low, high in pairwise(bounds)]
    even = max(widths) < 1.5 * min(widths)

    def group(counts: Counts) -> list[float]:
        return densities(counts, bounds, even=even)

    outer = "" if _classes(scene) else " Values beyond the ends are counted in the outer bins."
    return figure(
        distribution(
            [
                Counted(group(stable.scores), scene.stable, "accent-2", "dashed"),
                Counted(group(candidate.scores), scene.candidate, "accent"),
            ],
            bounds,
            title=f"Scores, {title.lower()}",
            x=f"{title}: {'predicted value' if not _classes(scene) else 'score'}",
            y="Percent of rows" if even else "Percent of rows per unit",
        ),
        caption=caption + outer,
    )


def _label_table(scene: Scene) -> str:
    stable = total(point.stable for point in scene.points).labels
    candidate = total(point.candidate for point in scene.points).labels
    names = sorted(stable.keys() | candidate.keys(), key=lambda n: (-stable.get(n, 0), n))
    if not names:
        return ""
    sums = [max(sum(labels.values()), 1) for labels in (stable, candidate)]
    rows = [
        [
            name,
            *(
                f"{words.percent(labels.get(name, 0) / everything)} ({labels.get(name, 0):,})"
                for labels, everything in zip((stable, candidate), sums, strict=True)
            ),
        ]
        for name in names[:_SHOWN_LABELS]
    ]
    left_out = len(names) - len(rows)
    more = paragraph(f"{left_out} rarer labels are not shown.") if left_out > 0 else ""
    headers = ["Predicted label", f"Rows of version {scene.record.stable}"]
    headers.append(f"Rows of version {scene.record.candidate}")
    return table(headers, rows, numeric=(1, 2)) + more


def _phases(scene: Scene) -> str:
    """Return the figures of each phase."""
    if not scene.points:
        return paragraph("Nothing was measured: the candidate got no request.")
    notes = []
    if scene.record.of_phase("shadow"):
        notes.append("In the shadow phase both rows are about the same, mirrored requests.")
    away = paused(scene.points)
    if away:
        notes.append(
            f"Nothing was measured for {words.duration(away)} within a phase: the controller was "
            "not running, or had no figures. The lines have gaps there."
        )
    return _phase_table(scene) + "".join(paragraph(text) for text in notes)


def _phase_table(scene: Scene) -> str:
    edges = scene.record.grids.latency
    judged = scene.plan.rules.latency_quantile
    rows: list[list[str | Cell]] = []
    for point in phases_of(scene.points):
        name = "Shadow" if point.phase == "shadow" else f"Step {point.step + 1}"
        weight = "mirrored" if point.phase == "shadow" else f"{point.weight} %"
        for version, arm, share in (
            (scene.candidate, point.candidate, weight),
            (
                scene.stable,
                point.stable,
                "" if point.phase == "shadow" else f"{100 - point.weight} %",
            ),
        ):
            first = arm is point.candidate
            rows.append(
                [
                    Cell(name, strong=True) if first else "",
                    words.duration(point.end - point.start) if first else "",
                    version,
                    share,
                    f"{arm.requests:,}",
                    _share_text(arm.server_errors, arm),
                    _share_text(arm.client_errors, arm),
                    _time_text(quantile(arm.latency, edges, 0.5)),
                    _time_text(quantile(arm.latency, edges, judged)),
                ]
            )
    headers = ["Phase", "Duration", "Version", "Weight", "Requests", "5xx", "4xx", "Median"]
    return table([*headers, f"p{100 * judged:g}"], rows, numeric=range(3, 9))


def _share_text(count: int, arm: ArmSummary) -> str:
    return words.percent(count / arm.requests) if arm.requests else "-"


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds >= _SLOW:
        return f"{seconds:.3g} s"
    return f"{1000 * seconds:.3g} ms"


def _classes(scene: Scene) -> bool:
    """Return whether the model names classes: a regression has no labels."""
    return any(point.stable.labels or point.candidate.labels for point in scene.points)
