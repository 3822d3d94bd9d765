"""Write manifests/components/monitoring/dashboard.json, or check it with --check."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from dashboard_panels import MONITOR, RATE, SOURCE, Chart, Figure, Part, States
from dashboard_watched import EXPERIMENT, PROXIES, TRIGGER, WATCHED
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, VariableRefresh

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "manifests/components/monitoring/dashboard.json"

# What the variables choose: a model's servers, and users' requests to them.
SERVER = 'namespace=~"$namespace",model="$service"'
USERS = f'{SERVER},origin="live"'
VERSION = "namespace, model, model_version"
SECONDS = f"penstock_request_duration_seconds_bucket{{{USERS},protocol!='explain'}}"
# Figures of a process, which do not say what it serves.
OF_VERSION = (
    "* on (namespace, instance) group_left (model_version)"
    f" max by (namespace, instance, model_version) (penstock_model_info{{{SERVER}}})"
)
ROWS = f"sum by ({VERSION}) (rate(penstock_prediction_score_count{{{USERS}}}{RATE}))"


NOW: tuple[Part, ...] = (
    Figure(
        "Servers",
        "Processes that answer for the service.",
        f"count(penstock_model_info{{{SERVER}}})",
        steps=((None, "red"), (1, "green")),
    ),
    Figure(
        "Versions",
        "More than one: a canary is going on.",
        f"count(count by (model_version) (penstock_model_info{{{SERVER}}}))",
        steps=((None, "text"), (2, "blue")),
    ),
    Figure(
        "Requests",
        "Users' requests a second.",
        f"sum(rate(penstock_requests_total{{{USERS}}}{RATE}))",
        unit="reqps",
    ),
    Figure(
        "Server errors",
        "Share of users' requests that were answered with a 5xx status.",
        f'(sum(rate(penstock_requests_total{{{USERS},code=~"5.."}}{RATE})) or vector(0))'
        f" / sum(rate(penstock_requests_total{{{USERS}}}{RATE}))",
        unit="percentunit",
        steps=((None, "green"), (0.001, "orange"), (0.01, "red")),
    ),
    Figure(
        "p99",
        "99 % of users' requests take less, measured in the server.",
        f"histogram_quantile(0.99, sum by (le) (rate({SECONDS}{RATE})))",
        unit="s",
        steps=((None, "green"), (1, "red")),
    ),
    Figure(
        "Last look",
        "Time since the monitor looked last.",
        f"time() - max(penstock_monitor_last_look_timestamp_seconds{{{MONITOR}}})",
        unit="s",
    ),
    States(
        "Alerts",
        "Alerts of the service that fire. What each means: docs/dashboards.md.",
        "max by (alertname, severity) "
        '(ALERTS{alertname=~"Penstock.*",alertstate="firing",service="$service"})',
        "{{alertname}}",
        "red",
        width=12,
    ),
    States(
        "Verdict of the monitor",
        "The one that holds.",
        f"max by (verdict) (penstock_monitor_verdict{{{MONITOR}}})",
        "{{verdict}}",
        "blue",
        width=12,
    ),
)
SERVICE: tuple[Part, ...] = (
    Chart(
        "Users' requests",
        "By version and status.",
        {
            "{{model_version}}: {{code}}": (
                f"sum by (model_version, code) (rate(penstock_requests_total{{{USERS}}}{RATE}))"
            )
        },
        unit="reqps",
    ),
    Chart(
        "Latency",
        "Measured in the server, explanations left out.",
        {
            f"{{{{model_version}}}}: {name}": (
                f"histogram_quantile({at}, sum by (model_version, le) (rate({SECONDS}{RATE})))"
            )
            for name, at in (("p50", 0.5), ("p99", 0.99))
        },
        unit="s",
    ),
    Chart(
        "Requests under way",
        "Requests being answered.",
        {
            "{{model_version}}": (
                f"sum by (model_version) (penstock_requests_in_flight{{{SERVER}}})"
            )
        },
    ),
    Chart(
        "Memory",
        "Resident memory of each server.",
        {"{{model_version}} {{instance}}": (f"process_resident_memory_bytes {OF_VERSION}")},
        unit="bytes",
    ),
    Chart(
        "CPU",
        "Cores that each server uses.",
        {"{{model_version}} {{instance}}": (f"rate(process_cpu_seconds_total{RATE}) {OF_VERSION}")},
    ),
    Chart(
        "Captured rows",
        "A dropped row makes what is captured no sample any more.",
        {
            "{{model_version}}: captured": (
                f"sum by (model_version) (rate(penstock_captured_rows_total{{{SERVER}}}{RATE}))"
            ),
            "{{model_version}}: dropped": (
                "sum by (model_version) "
                f"(rate(penstock_capture_dropped_rows_total{{{SERVER}}}{RATE}))"
            ),
        },
        unit="rowsps",
    ),
)
CANARY: tuple[Part, ...] = (
    Chart(
        "Share of users' requests",
        "The candidate's weight, as it came out.",
        {
            "{{model_version}}": (
                f"sum by (model_version) (rate(penstock_requests_total{{{USERS}}}{RATE}))"
                f" / ignoring (model_version) group_left"
                f" sum(rate(penstock_requests_total{{{USERS}}}{RATE}))"
            )
        },
        unit="percentunit",
    ),
    Chart(
        "Whose requests",
        "live: users'; mirror: copies of them; replay: rows of the holdout.",
        {
            "{{model_version}}: {{origin}}": (
                f"sum by (model_version, origin) (rate(penstock_requests_total{{{SERVER}}}{RATE}))"
            )
        },
        unit="reqps",
    ),
    Chart(
        "Servers of each version",
        "Where load scales them: a candidate has those of a share before it has the share.",
        {"{{model_version}}": f"count by (model_version) (penstock_model_info{{{SERVER}}})"},
    ),
    Chart(
        "Errors and refusals",
        "Share of the requests of each version, whoever sent them. The rollout compares these two.",
        {
            f"{{{{model_version}}}}: {name}": (
                "sum by (model_version) "
                f'(rate(penstock_requests_total{{{SERVER},code=~"{code}"}}{RATE}))'
                " / sum by (model_version) "
                f"(rate(penstock_requests_total{{{SERVER}}}{RATE}))"
            )
            for name, code in (("5xx", "5.."), ("4xx", "4.."))
        },
        unit="percentunit",
    ),
    Chart(
        "Scores",
        "Median and ninth tenth of the scores of one row of each request.",
        {
            f"{{{{model_version}}}}: {name}": (
                f"histogram_quantile({at}, sum by (model_version, le) "
                f"(rate(penstock_drawn_score_bucket{{{SERVER}}}{RATE})))"
            )
            for name, at in (("median", 0.5), ("90 %", 0.9))
        },
    ),
    Chart(
        "Predicted labels",
        "Share of the rows, by predicted label. A regression has none.",
        {
            "{{model_version}}: {{label}}": (
                f"sum by (model_version, label) (rate(penstock_drawn_rows_total{{{SERVER}}}{RATE}))"
                " / on (model_version) group_left sum by (model_version) "
                f"(rate(penstock_drawn_rows_total{{{SERVER}}}{RATE}))"
            )
        },
        unit="percentunit",
    ),
    Chart(
        "Loss of labelled requests",
        "Mean loss of the requests whose labels came, 0 to 1.",
        {
            "{{model_version}}": (
                f"sum by (model_version) (rate(penstock_labelled_loss_total{{{SERVER}}}{RATE}))"
                " / sum by (model_version) "
                f"(rate(penstock_labelled_requests_total{{{SERVER}}}{RATE}))"
            )
        },
    ),
)
DATA: tuple[Part, ...] = (
    Chart(
        "Missing values",
        "Share of users' rows in which a feature is missing, less the share in training.",
        {
            "{{model_version}}: {{feature}}": (
                f"sum by ({VERSION}, feature) "
                f"(rate(penstock_feature_missing_total{{{SERVER}}}{RATE}))"
                f" / on ({VERSION}) group_left {ROWS}"
                f" - on ({VERSION}, feature) max by ({VERSION}, feature)"
                f" (penstock_feature_missing_in_training_ratio{{{SERVER}}})"
            )
        },
        unit="percentunit",
        width=12,
    ),
    Chart(
        "Values that training did not see",
        "Share of users' rows.",
        {
            "{{model_version}}: {{feature}}": (
                f"sum by ({VERSION}, feature) "
                f"(rate(penstock_feature_unseen_total{{{SERVER}}}{RATE}))"
                f" / on ({VERSION}) group_left {ROWS}"
            )
        },
        unit="percentunit",
        width=12,
    ),
)
ROWS_OF_PANELS: dict[str, tuple[Part, ...]] = {
    "Now": NOW,
    "Service": SERVICE,
    "Canary: both versions beside each other": CANARY,
    "Data, as the servers count it": DATA,
    "Monitor": WATCHED,
    "Experiment: which version is better for the business": EXPERIMENT,
    "Experiment on a cluster: what its proxies count": PROXIES,
    "Trigger: releases that events start": TRIGGER,
}


def page() -> str:
    """Return the dashboard as Grafana imports it."""
    made = build.Dashboard("Penstock").uid("penstock").tags(["penstock"]).readonly()
    made = made.description(
        "A service, its canary, monitor, experiment and trigger. Made by scripts/dashboard.py."
    )
    made = made.time("now-6h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR)
    for variable in _variables():
        made = made.with_variable(variable)
    for title, parts in ROWS_OF_PANELS.items():
        made = made.with_row(build.Row(title))
        for part in parts:
            made = made.with_panel(part.panel())
    built = made.build()
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _variables() -> Iterator[build.DatasourceVariable | build.QueryVariable]:
    yield build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    yield (
        _choice("namespace", "label_values(penstock_model_info, namespace)")
        .include_all(True)
        # Where no operator adds a namespace there is none to match.
        .all_value(".*")
    )
    yield _choice("service", 'label_values(penstock_model_info{namespace=~"$namespace"}, model)')


def _choice(name: str, query: str) -> build.QueryVariable:
    made = build.QueryVariable(name).label(name.capitalize()).query(query).datasource(SOURCE)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def main() -> int:
    """Write or check it."""
    text = page()
    if "--check" not in sys.argv:
        PATH.write_text(text, encoding="utf-8")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH.relative_to(ROOT)} is not current: run `make catalogue`.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
