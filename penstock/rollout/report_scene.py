"""What the plots of a rollout's report share: the time axis, phases, a line for each version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from penstock.records.rollout import ArmSummary, Phase, Rollout
from penstock.reports.page import figure, paragraph
from penstock.reports.plots import Colour, Dashes, Reference, Series
from penstock.reports.timeline import Span, over_time
from penstock.rollout import words
from penstock.rollout.report_points import Line, Point, line_of
from penstock.rollout.spec import CanarySpec

_MARKED = 60
"""Points up to which each is marked, so that one between two gaps is seen."""

_UNITS = ((2 * 86_400, 86_400, "Days"), (2 * 3600, 3600, "Hours"), (180, 60, "Minutes"))


@dataclass(frozen=True)
class Scene:
    """What all plots of a report share.

    Attributes:
        record: The rollout.
        plan: Its plan.
        points: Its intervals, merged.
        spans: Its phases, in the unit of the time axis.
        seconds: Seconds in a unit of the time axis.
        axis: The time axis's name.
        end: Its end, in its unit.
    """

    record: Rollout
    plan: CanarySpec
    points: tuple[Point, ...]
    spans: tuple[Span, ...]
    seconds: float
    axis: str
    end: float

    @property
    def candidate(self) -> str:
        """The candidate's name in a legend."""
        return f"Candidate (v{self.record.candidate})"

    @property
    def stable(self) -> str:
        """The stable version's name in a legend."""
        return f"Stable (v{self.record.stable})"


def scene_of(record: Rollout, plan: CanarySpec, points: Sequence[Point]) -> Scene:
    """Return what the plots of a rollout share; it has at least one transition."""
    length = max((words.ended(record) - record.started).total_seconds(), 1.0)
    seconds, name = next(
        ((size, name) for least, size, name in _UNITS if length >= least), (1, "Seconds")
    )
    # The outcome needs some room after the decision, and the last mark too.
    end = length * (1.12 if record.outcome else 1.03)
    return Scene(
        record=record,
        plan=plan,
        points=tuple(points),
        spans=tuple(_spans(record, steps=len(plan.steps), unit=seconds, end=end)),
        seconds=seconds,
        axis=f"{name} since {record.started.astimezone(UTC):%H:%M:%S} UTC",
        end=end / seconds,
    )


def since(record: Rollout, moment: datetime) -> float:
    """Return seconds since the rollout's start."""
    return (moment - record.started).total_seconds()


def decisions(record: Rollout, *, unit: float, labelled: bool = False) -> list[Reference]:
    """Return the moments at which it was decided to promote or to roll back.

    Args:
        record: The rollout.
        unit: Seconds in a unit of the time axis.
        labelled: Whether the legend names them.
    """
    kinds: dict[Phase, tuple[str, Colour]] = {
        "promote": ("Decision: promote", "good"),
        "rollback": ("Decision: roll back", "bad"),
    }
    return [
        Reference(
            "vertical",
            since(record, transition.time) / unit,
            kinds[transition.phase][0] if labelled else "",
            kinds[transition.phase][1],
        )
        for transition in record.transitions
        if transition.phase in kinds
    ]


def lines(scene: Scene, figure_of: Callable[[ArmSummary], float | None]) -> tuple[Line, Line]:
    """Return a figure over time, of the stable version and of the candidate."""
    return (
        line_of(scene.points, [figure_of(point.stable) for point in scene.points]),
        line_of(scene.points, [figure_of(point.candidate) for point in scene.points]),
    )


def line(
    scene: Scene,
    found: Line,
    label: str,
    colour: Colour,
    dashes: Dashes = "solid",
) -> Series:
    """Return a line to draw on the time axis of the report."""
    return Series(
        [value / scene.seconds for value in found[0]],
        found[1],
        label,
        colour,
        dashes,
        points=len(scene.points) <= _MARKED,
    )


def both(
    scene: Scene,
    found: tuple[Line, Line],
    *,
    title: str,
    y: str,
    caption: str,
    top: float | None = None,
) -> str:
    """Return a plot of both versions, which starts at 0."""
    values = [value for _, ys in found for value in ys if value == value]
    if not values:
        return paragraph(f"{title}: nothing to show, because no request was served.")
    stable, candidate = found
    return drawn(
        scene,
        [
            line(scene, stable, scene.stable, "accent-2", "dashed"),
            line(scene, candidate, scene.candidate, "accent"),
        ],
        title=title,
        y=y,
        ylim=(0, top or 1.08 * max(values) or 1),
        caption=caption,
    )


def drawn(
    scene: Scene,
    series: Sequence[Series],
    *,
    title: str,
    y: str,
    ylim: tuple[float, float],
    caption: str,
    xlim: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
) -> str:
    """Return a figure over time; `xlim`, in seconds, takes a part of the rollout."""
    start, end = xlim or (0.0, scene.end * scene.seconds)
    return figure(
        over_time(
            series,
            spans=scene.spans,
            title=f"{title} over time",
            x=scene.axis,
            y=y,
            xlim=(start / scene.seconds, end / scene.seconds),
            ylim=ylim,
            references=[*references, *decisions(scene.record, unit=scene.seconds)],
        ),
        caption=caption,
    )


def _spans(record: Rollout, *, steps: int, unit: float, end: float) -> Iterator[Span]:
    groups = [list(g) for _, g in groupby(record.transitions, key=lambda t: (t.phase, t.step))]
    for number, group in enumerate(groups):
        here = group[0]
        if here.phase == "done":
            return
        # The last phase goes on to the end; being done is not a phase of its own.
        final = number + 1 == len(groups) or groups[number + 1][0].phase == "done"
        until = end if final else since(record, groups[number + 1][0].time)
        names = {
            "step": (
                f"Step {here.step + 1} of {steps}",
                f"Step {here.step + 1}",
                str(here.step + 1),
            ),
            "promote": ("Promoted",),
            "rollback": ("Rolled back",),
        }.get(here.phase, (here.phase.capitalize(),))
        yield Span(
            start=since(record, here.time) / unit,
            end=until / unit,
            names=names,
            shaded=number % 2 == 1,
        )
