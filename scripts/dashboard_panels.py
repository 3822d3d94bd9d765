"""The panels of Grafana's dashboard: what is asked of Prometheus, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
"""The Prometheus that the reader chose."""
MONITOR = 'service="$service"'
"""The series that are of the service that the reader chose."""
RATE = "[$__rate_interval]"
"""The range of a rate, which Grafana takes from the time between two scrapes."""
HEIGHT = 7


@dataclass(frozen=True)
class Chart:
    """A panel of lines.

    Attributes:
        title: Its title.
        text: What it shows, and what to look for.
        queries: PromQL by legend.
        unit: Grafana's name of the unit.
        width: In 24ths of the page.
    """

    title: str
    text: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 8

    def panel(self) -> timeseries.Panel:
        """Return the panel."""
        panel = timeseries.Panel().title(self.title).description(self.text)
        panel = panel.unit(self.unit).datasource(SOURCE).height(HEIGHT).span(self.width)
        panel = panel.line_width(1).fill_opacity(0)
        for place, (legend, text) in enumerate(self.queries.items()):
            panel = panel.with_target(query(text, legend=legend, place=place))
        return panel


@dataclass(frozen=True)
class Figure:
    """A panel of one figure as it is now; `steps` are colours by the least value that has them."""

    title: str
    text: str
    query: str
    unit: str = "short"
    steps: Sequence[tuple[float | None, str]] = ((None, "text"),)

    def panel(self) -> stat.Panel:
        """Return the panel."""
        steps = [Threshold(value=value, color=color) for value, color in self.steps]
        thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
        panel = stat.Panel().title(self.title).description(self.text).unit(self.unit)
        panel = panel.datasource(SOURCE).height(4).span(4).thresholds(thresholds).no_value("-")
        panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        return panel.with_target(query(self.query, legend="", place=0).instant())


@dataclass(frozen=True)
class States:
    """A panel of states over time: one line for each series, its value 0 or 1."""

    title: str
    text: str
    query: str
    legend: str
    color: str
    width: int = 24

    def panel(self) -> statetimeline.Panel:
        """Return the panel."""
        shown = {
            "0": ValueMappingResult(text=" ", color="transparent"),
            "1": ValueMappingResult(text="yes", color=self.color),
        }
        panel = statetimeline.Panel().title(self.title).description(self.text)
        panel = panel.datasource(SOURCE).height(HEIGHT).span(self.width)
        panel = panel.mappings([ValueMap(options=shown)])
        return panel.with_target(query(self.query, legend=self.legend, place=0))


def query(text: str, *, legend: str, place: int) -> prometheus.Dataquery:
    """Return a query of a panel, the first one at place 0."""
    made = prometheus.Dataquery().expr(text).ref_id("ABCDEF"[place]).datasource(SOURCE)
    return made.legend_format(legend)


Part = Chart | Figure | States
