"""Minute by minute, what Prometheus reads of a monitor, and when an alert is to fire."""

from __future__ import annotations

from alert_cases import DAY, LENGTH, Case, Series, counts, steady

SERVICE = {"namespace": "penstock", "service": "credit"}
LONG = 300


def said(metric: str, values: str, *, service: str = "credit", **labels: str) -> Series:
    """Return a series of the monitor; `namespace` is the operator's."""
    every = {"namespace": "penstock", "service": service, **labels}
    inner = ",".join(f'{key}="{value}"' for key, value in every.items())
    return {f"penstock_monitor_{metric}{{{inner}}}": values}


def looks(*minutes: int, length: int = LONG, period: int = 3600, end: int | None = None) -> Series:
    """Return what a monitor says that looked at these minutes.

    Args:
        minutes: Of its looks.
        length: Minutes in all.
        period: Seconds between two looks, as it was told.
        end: The minute from which its figures are gone.
    """
    until = length if end is None else end
    last = [max((m for m in minutes if m <= now), default=None) for now in range(until)]
    times = ["_" if minute is None else f"{60 * minute}" for minute in last]
    counted = [str(sum(m <= now for m in minutes)) for now in range(until)]
    over = [] if end is None else ["stale"]
    return (
        said("last_look_timestamp_seconds", " ".join([*times, *over]))
        | said("looks_total", " ".join([*counted, *over]))
        | said("period_seconds", steady(period, minutes=length, end=end))
    )


STALE = (
    Case(
        "PenstockMonitorStale",
        "a look each hour",
        looks(0, 60, 120, 180, 240),
        model=SERVICE,
        looks=range(LONG),
    ),
    Case(
        "PenstockMonitorStale",
        "one look is late",
        looks(0, 60, 200, 240),
        model=SERVICE,
        looks=range(LONG),
    ),
    Case(
        "PenstockMonitorStale",
        "a look each day",
        looks(0, period=24 * 3600),
        model=SERVICE,
        looks=range(LONG),
    ),
    Case(
        "PenstockMonitorStale",
        "it hangs after its first look, until somebody starts it again",
        looks(0, 220, 280),
        fires=[(166, 220)],
        model=SERVICE,
        looks=range(LONG),
    ),
    Case(
        "PenstockMonitorStale",
        "it has ended, and its figures with it",
        looks(0, length=9 * DAY, end=30),
        fires=[(170, 30 + 7 * DAY)],
        model=SERVICE,
        looks=[*range(0, LONG, 10), *range(0, 8 * DAY, 95)],
        every=5,
    ),
    Case(
        "PenstockMonitorStale",
        "its first look fails for an hour",
        looks(60, length=LENGTH),
        fires=[(15, 60)],
        model=SERVICE,
    ),
    Case(
        "PenstockMonitorStale",
        "its first look takes ten minutes",
        looks(10, length=LENGTH),
        model=SERVICE,
    ),
)


def verdicts(alert: str, verdict: str, other: str) -> tuple[Case, ...]:
    """Return the cases of an alert that passes a verdict on."""

    def concluded(holds: str, rest: str) -> Series:
        return said("verdict", holds, verdict=verdict) | said("verdict", rest, verdict=other)

    wrong = " ".join(["0"] * 30 + ["1"] * 60 + ["0"] * 30)
    return (
        Case(alert, "another verdict holds", concluded(steady(0), steady()), model=SERVICE),
        Case(
            alert,
            "it holds for an hour",
            concluded(wrong, steady(0)),
            fires=[(35, 90)],
            model=SERVICE,
        ),
        Case(
            alert,
            "it holds for one of two services",
            concluded(steady(0), steady())
            | said("verdict", wrong, service="fraud", verdict=verdict),
            fires=[(35, 90)],
            model=SERVICE | {"service": "fraud"},
        ),
    )


ONCE = counts((30, 0), (1, 1), (89, 0))


def events(alert: str, metric: str, **labels: str) -> tuple[Case, ...]:
    """Return the cases of an alert that tells of what happened once."""
    return (
        Case(alert, "nothing happens", said(metric, steady(0), **labels), model=SERVICE),
        Case(
            alert,
            "it happens once",
            said(metric, ONCE, **labels),
            fires=[(30, 90)],
            model=SERVICE,
        ),
        Case(
            alert,
            "it happened before anybody read the figures",
            said(metric, steady(3), **labels),
            model=SERVICE,
        ),
        Case(
            alert,
            "the monitor's process is replaced",
            said(metric, " ".join(["2"] * 30 + ["_"] * 10 + ["2"] * 80), **labels),
            model=SERVICE,
        ),
    )


ACTIONS = "actions_total"
MONITOR_CASES = (
    *STALE,
    *verdicts("PenstockMonitorBlind", "blind", "healthy"),
    *verdicts("PenstockDrifted", "drifted", "watch"),
    *verdicts("PenstockDegraded", "degraded", "drifted"),
    *events("PenstockChampionReturned", ACTIONS, action="returned"),
    Case(
        "PenstockChampionReturned",
        "a retrained model is refused",
        said(ACTIONS, ONCE, action="refused"),
        model=SERVICE,
    ),
    *events("PenstockRetrainRefused", ACTIONS, action="refused"),
    Case(
        "PenstockRetrainRefused",
        "retraining is suggested",
        said(ACTIONS, ONCE, action="suggested"),
        model=SERVICE,
    ),
    *events("PenstockActionFailed", ACTIONS, action="failed"),
    Case(
        "PenstockActionWaits",
        "it waits for an approval from minute 30 to 400, or for labels",
        said("action_waits", " ".join(["0"] * 30 + ["1"] * 370 + ["0"] * 40), **{"for": "people"})
        | said("action_waits", steady(minutes=440), service="fraud", **{"for": "labels"}),
        fires=[(270, 400)],
        model=SERVICE,
        looks=range(440),
    ),
    Case(
        "PenstockActionWaits",
        "it waits for labels",
        said("action_waits", steady(minutes=440), **{"for": "labels"})
        | said("action_waits", steady(0, minutes=440), **{"for": "people"}),
        model=SERVICE,
        looks=range(440),
    ),
    Case("PenstockMonitorStopped", "nothing is refused", said("stopped", steady(0)), model=SERVICE),
    Case(
        "PenstockMonitorStopped",
        "three are refused, then one is released",
        said("stopped", " ".join(["0"] * 30 + ["1"] * 60 + ["0"] * 30)),
        fires=[(35, 90)],
        model=SERVICE,
    ),
    *events("PenstockNotificationLost", "undelivered_notifications_total"),
)
