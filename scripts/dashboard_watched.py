"""The panels on what commands do beside a service: its monitor, an experiment, a trigger."""

from __future__ import annotations

from dashboard_panels import MONITOR, RATE, Chart, Figure, Part, States

WATCHED: tuple[Part, ...] = (
    Chart(
        "Evidence of drift",
        "Logarithms. Where the first reaches the second there is an alarm.",
        {
            "evidence": f"max(penstock_monitor_log_evidence{{{MONITOR}}})",
            "threshold": f"max(penstock_monitor_threshold{{{MONITOR}}})",
        },
    ),
    Chart(
        "Performance, estimated",
        "Before labels come, with its interval.",
        {
            "{{metric}}: {{bound}}": (
                f"max by (metric, bound) (penstock_monitor_estimated{{{MONITOR}}})"
            )
        },
    ),
    Chart(
        "Performance, with labels",
        "On the rows whose labels came, with its interval.",
        {
            "{{metric}}: {{bound}}": (
                f"max by (metric, bound) (penstock_monitor_realized{{{MONITOR}}})"
            )
        },
    ),
    Chart(
        "Rows of each hour",
        "Rows that the monitor read, and those that it could not.",
        {
            "read": f"sum(increase(penstock_monitor_rows_total{{{MONITOR}}}[1h]))",
            "lost": f"sum(increase(penstock_monitor_lost_rows_total{{{MONITOR}}}[1h]))",
        },
    ),
    Chart(
        "Rows of the newest whole hour or day",
        "What is usual, and how few and many are no drift, beside it.",
        {
            "rows": f"max(penstock_monitor_volume_rows{{{MONITOR}}})",
            "usual: {{bound}}": (
                f"max by (bound) (penstock_monitor_volume_usual_rows{{{MONITOR}}})"
            ),
        },
    ),
    Chart(
        "Age of the newest row",
        "Time since a user's row was answered that the monitor has read.",
        {
            "age": (f"time() - max(penstock_monitor_newest_row_timestamp_seconds{{{MONITOR}}})"),
        },
        unit="s",
    ),
    Chart(
        "Signals with most evidence",
        "Columns, scores, loss, value of decisions, attributions: how far from what is expected. "
        "1 is the end of the range that is no drift.",
        {
            "{{signal}}": (
                "topk(8, max by (signal) "
                f'(penstock_monitor_signal_excess{{{MONITOR},kind!="gap"}}))'
            )
        },
    ),
    Chart(
        "Gaps between groups",
        "Of positive predictions, and of errors once labels come: 1 is the end of the range that "
        "is no drift. Empty: the policy has no rule on fairness, or no gap has evidence.",
        {
            "{{signal}}": (
                f'max by (signal) (penstock_monitor_signal_excess{{{MONITOR},kind="gap"}})'
            )
        },
    ),
    Chart(
        "What answers rest on",
        "Share of all attribution that a column has, in the last window and on the holdout.",
        {
            "{{column}}: {{of}}": (
                f"max by (column, of) (penstock_monitor_attribution_share{{{MONITOR}}})"
            )
        },
        unit="percentunit",
    ),
    States(
        "Recall and retraining",
        "The stage that is under way.",
        f"max by (stage) (penstock_monitor_action_under_way{{{MONITOR}}})",
        "{{stage}}",
        "blue",
        width=4,
    ),
    States(
        "Waits for",
        "labels, or people who approve.",
        f"max by (for) (penstock_monitor_action_waits{{{MONITOR}}})",
        "{{for}}",
        "orange",
        width=4,
    ),
    Chart(
        "Runs refused in a row",
        "At 3 the monitor begins and suggests nothing more, and asks for a person.",
        {"refused": f"max(penstock_monitor_refused_in_a_row{{{MONITOR}}})"},
    ),
    Chart(
        "What it did",
        "Actions since it began.",
        {"{{action}}": f"max by (action) (penstock_monitor_actions_total{{{MONITOR}}})"},
    ),
    Chart(
        "Looks and lost messages",
        "Looks of each hour, and messages that did not arrive since it began.",
        {
            "looks": f"sum(increase(penstock_monitor_looks_total{{{MONITOR}}}[1h]))",
            "lost messages": (
                f"max(penstock_monitor_undelivered_notifications_total{{{MONITOR}}})"
            ),
        },
    ),
)
EXPERIMENT: tuple[Part, ...] = (
    Figure(
        "Under way",
        "1: an experiment goes on.",
        f"max(penstock_experiment_under_way{{{MONITOR}}})",
    ),
    Figure(
        "Watched",
        "0 while one goes on: harm is not noticed. Go on with: penstock experiment start.",
        f"max(penstock_experiment_watched{{{MONITOR}}})",
        steps=((None, "orange"), (1, "green")),
    ),
    Figure(
        "Running for",
        "Time since it began, up to its end.",
        f"(max(penstock_experiment_ended_timestamp_seconds{{{MONITOR}}}) or vector(time()))"
        f" - max(penstock_experiment_started_timestamp_seconds{{{MONITOR}}})",
        unit="s",
    ),
    Figure(
        "Counted of the planned users",
        "Users whose window is over and who have a KPI.",
        f'sum(max by (arm) (penstock_experiment_users{{{MONITOR},count="counted"}}))'
        f" / max(penstock_experiment_planned_users{{{MONITOR}}})",
        unit="percentunit",
    ),
    Figure(
        "Challenger's share",
        "Of the users who come.",
        f"max(penstock_experiment_weight_ratio{{{MONITOR}}})",
        unit="percentunit",
    ),
    Figure(
        "Age of the reading",
        "Time since its controller looked last.",
        f"time() - max(penstock_experiment_last_look_timestamp_seconds{{{MONITOR}}})",
        unit="s",
    ),
    Chart(
        "Difference by the KPI",
        "The challenger's mean less the champion's, with its confidence sequence: it holds at "
        "every look. Decided where 0 lies outside of it.",
        {
            "{{kpi}}: {{bound}}": (
                f"max by (kpi, bound) (penstock_experiment_difference{{{MONITOR}}})"
            )
        },
    ),
    Chart(
        "Users of each arm",
        "given: who came; counted: whose window is over and who have a KPI.",
        {"{{arm}}: {{count}}": (f"max by (arm, count) (penstock_experiment_users{{{MONITOR}}})")},
    ),
    Chart(
        "Mean of the KPI",
        "By user, of each arm.",
        {"{{arm}}": f"max by (arm) (penstock_experiment_mean{{{MONITOR}}})"},
    ),
    States(
        "What it shows",
        "not trusted: the arms do not get the users that they should.",
        f"max by (verdict) (penstock_experiment_verdict{{{MONITOR}}})",
        "{{verdict}}",
        "blue",
        width=8,
    ),
    States(
        "Guards",
        "What the rules on errors, latency and loss find. A fail ends it.",
        f"max by (rule, verdict) (penstock_experiment_guard{{{MONITOR}}})",
        "{{rule}}: {{verdict}}",
        "blue",
        width=8,
    ),
    States(
        "How it ended",
        "promoted: the challenger won; kept: stopped without a winner; harm: by a guard.",
        f"max by (outcome) (penstock_experiment_ended{{{MONITOR}}})",
        "{{outcome}}",
        "blue",
        width=8,
    ),
)
PROXIES: tuple[Part, ...] = (
    Figure(
        "Pods of the proxy",
        "Pods through which users' requests go while an experiment is on. Fewer than two: none is "
        "left when one is replaced.",
        f"count(penstock_experiment_proxy_weight_ratio{{{MONITOR}}})",
        steps=((None, "orange"), (2, "green")),
    ),
    Figure(
        "Least share in a table",
        "The challenger's share of users in the pod that has the smallest. It differs from the "
        "greatest while a new share is brought to the pods.",
        f"min(penstock_experiment_proxy_weight_ratio{{{MONITOR}}})",
        unit="percentunit",
    ),
    Figure(
        "Greatest share in a table",
        "The challenger's share of users in the pod that has the greatest.",
        f"max(penstock_experiment_proxy_weight_ratio{{{MONITOR}}})",
        unit="percentunit",
    ),
    Figure(
        "Events lost",
        "In the last hour. What users did then is not in the experiment, and is counted as lost.",
        f'sum(increase(penstock_experiment_proxy_events_total{{{MONITOR},outcome="dropped"}}[1h]))',
        steps=((None, "green"), (1, "red")),
    ),
    Chart(
        "Users' requests to each arm",
        "By how they ended: answered, refused (4xx), failed (5xx, or not reached).",
        {
            "{{arm}} {{model_version}}: {{outcome}}": (
                "sum by (arm, model_version, outcome) "
                f"(rate(penstock_experiment_proxy_requests_total{{{MONITOR}}}{RATE}))"
            )
        },
        unit="reqps",
    ),
    Chart(
        "Failed of each arm",
        "Share of users' requests. The guards compare these two, and end what does harm.",
        {
            "{{arm}}": (
                "sum by (arm) (rate(penstock_experiment_proxy_requests_total"
                f'{{{MONITOR},outcome="failed"}}{RATE}))'
                " / sum by (arm) "
                f"(rate(penstock_experiment_proxy_requests_total{{{MONITOR}}}{RATE}))"
            )
        },
        unit="percentunit",
    ),
    Chart(
        "Requests under way in the proxies",
        "Requests that an arm is answering.",
        {
            "{{arm}} {{model_version}}": (
                f"sum by (arm, model_version) (penstock_experiment_proxy_in_flight{{{MONITOR}}})"
            )
        },
    ),
    Chart(
        "Events of the proxies",
        "written: kept for the experiment; dropped: lost, because the pod's disk was full.",
        {
            "{{outcome}}": (
                "sum by (outcome) "
                f"(rate(penstock_experiment_proxy_events_total{{{MONITOR}}}{RATE}))"
            )
        },
    ),
)
TRIGGER: tuple[Part, ...] = (
    Chart(
        "Events",
        "Of each hour. debounced: joined another one in its release; known: had come before.",
        {
            "{{result}}": (
                f"max by (result) (increase(penstock_trigger_events_total{{{MONITOR}}}[1h]))"
            )
        },
        width=6,
    ),
    Chart(
        "Releases that events started",
        "Since it began, by how they ended.",
        {"{{outcome}}": f"max by (outcome) (penstock_trigger_releases_total{{{MONITOR}}})"},
        width=6,
    ),
    Chart(
        "Events that wait",
        "They start a release once it has been quiet, or the longest wait is over.",
        {
            "waiting": f"max(penstock_trigger_waiting_events{{{MONITOR}}})",
            "a release goes on": f"max(penstock_trigger_running{{{MONITOR}}})",
            "stopped": f"max(penstock_trigger_stopped{{{MONITOR}}})",
        },
        width=6,
    ),
    States(
        "Last release",
        "How the newest one ended.",
        f"max by (outcome) (penstock_trigger_last_release{{{MONITOR}}})",
        "{{outcome}}",
        "blue",
        width=6,
    ),
    Figure(
        "Last release ended",
        "Time since.",
        f"time() - max(penstock_trigger_last_release_timestamp_seconds{{{MONITOR}}})",
        unit="s",
    ),
    Figure(
        "A trigger runs",
        "As the monitor sees it.",
        f"max(penstock_trigger_at_work{{{MONITOR}}})",
        steps=((None, "orange"), (1, "green")),
    ),
)
