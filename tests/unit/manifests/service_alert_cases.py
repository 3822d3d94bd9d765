"""Minute by minute, what Prometheus reads of experiments and triggers, and when an alert fires."""

from __future__ import annotations

from alert_cases import DAY, LENGTH, Case, Series, counts, steady

SERVICE = {"namespace": "penstock", "service": "credit"}


def said(metric: str, values: str, *, service: str = "credit", **labels: str) -> Series:
    """Return a series; `namespace` is the operator's."""
    every = {"namespace": "penstock", "service": service, **labels}
    inner = ",".join(f'{key}="{value}"' for key, value in every.items())
    return {f"penstock_{metric}{{{inner}}}": values}


def course(under_way: str, watched: str, *, service: str = "credit", **labels: str) -> Series:
    return said("experiment_under_way", under_way, service=service, **labels) | said(
        "experiment_watched", watched, service=service, **labels
    )


HOUR = " ".join(["0"] * 30 + ["1"] * 60 + ["0"] * 30)
UNWATCHED = (
    Case("PenstockExperimentUnwatched", "it is watched", course(steady(), steady()), model=SERVICE),
    Case(
        "PenstockExperimentUnwatched", "it has ended", course(steady(0), steady(0)), model=SERVICE
    ),
    Case(
        "PenstockExperimentUnwatched",
        "somebody goes on with it after five minutes",
        course(steady(), " ".join(["1"] * 30 + ["0"] * 5 + ["1"] * 85)),
        model=SERVICE,
    ),
    Case(
        "PenstockExperimentUnwatched",
        "its process was killed, and an hour later it is stopped",
        course(" ".join(["1"] * 90 + ["0"] * 30), " ".join(["1"] * 30 + ["0"] * 90)),
        fires=[(40, 90)],
        model=SERVICE,
    ),
    Case(
        "PenstockExperimentUnwatched",
        "one of two services",
        course(steady(), steady()) | course(steady(), steady(0), service="fraud"),
        fires=[(10, LENGTH)],
        model=SERVICE | {"service": "fraud"},
    ),
)


def proxies(values: str) -> Series:
    return said("experiment_proxy_weight_ratio", values, pod="a")


SEEN = {"service": "credit"}
UNSEEN = (
    Case(
        "PenstockExperimentUnseen",
        "the guardian's port has it",
        proxies(steady()) | course(steady(), steady()),
        model=SEEN,
    ),
    Case("PenstockExperimentUnseen", "no proxy runs", course(steady(0), steady(0)), model=SEEN),
    Case(
        "PenstockExperimentUnseen",
        "the guardian was gone for an hour",
        proxies(steady())
        | course(" ".join(["1"] * 30 + ["stale"] + ["_"] * 59 + ["1"] * 30), steady()),
        fires=[(45, 90)],
        model=SEEN,
    ),
)


def kept(outcome: str, values: str) -> Series:
    return said("experiment_proxy_events_total", values, pod="a", outcome=outcome)


EVENTS_LOST = (
    Case(
        "PenstockExperimentEventsLost",
        "all are kept",
        kept("written", counts((LENGTH, 60))) | kept("dropped", counts((LENGTH, 0))),
        model=SERVICE,
    ),
    Case(
        "PenstockExperimentEventsLost",
        "the disk was full for a while",
        kept("dropped", counts((30, 0), (10, 5), (80, 0))),
        fires=[(31, 55)],
        model=SERVICE,
    ),
)


def shows(verdict: str, values: str, *, under_way: str, minutes: int = LENGTH) -> Series:
    """Return what an experiment shows, and that it shows nothing else."""
    every = ("better", "worse", "open", "not trusted")
    found = said("experiment_under_way", under_way)
    for one in every:
        found |= said(
            "experiment_verdict", values if one == verdict else steady(0, minutes=minutes),
            verdict=one,
        )  # fmt: skip
    return found


SHOWN = (
    Case(
        "PenstockExperimentNotTrusted",
        "nothing is decided yet",
        shows("open", steady(), under_way=steady()),
        model=SERVICE,
    ),
    Case(
        "PenstockExperimentNotTrusted",
        "it has ended like that",
        shows("not trusted", steady(), under_way=steady(0)),
        model=SERVICE,
    ),
    Case(
        "PenstockExperimentNotTrusted",
        "for an hour",
        shows("not trusted", HOUR, under_way=steady()),
        fires=[(35, 90)],
        model=SERVICE,
    ),
    Case(
        "PenstockExperimentDecided",
        "it is better for an hour, which is not yet stopped",
        shows("better", HOUR, under_way=steady()),
        model=SERVICE,
    ),
    Case(
        "PenstockExperimentDecided",
        "it is worse for two days, then stopped",
        shows(
            "worse",
            steady(minutes=3 * DAY),
            under_way=" ".join(["1+0x2879", "0+0x1439"]),
            minutes=3 * DAY,
        ),
        fires=[(DAY, 2 * DAY)],
        model=SERVICE,
        looks=range(0, 3 * DAY, 60),
        every=5,
    ),
)


def ended(outcome: str, *, at: int) -> Series:
    """Return an experiment that ends so at a minute."""
    values = " ".join(["0"] * at + ["1"] * (LENGTH - at))
    times = " ".join(["_"] * at + [str(60 * at)] * (LENGTH - at))
    versions = {"champion": "3", "challenger": "4"}
    found = said("experiment_ended_timestamp_seconds", times)
    for one in ("promoted", "kept", "harm", "broken off"):
        found |= said(
            "experiment_ended", values if one == outcome else steady(0), outcome=one, **versions
        )
    return found


HARM = (
    Case(
        "PenstockExperimentHarm",
        "the challenger fails",
        ended("harm", at=30),
        fires=[(30, 90)],
        model=SERVICE | {"challenger": "4"},
    ),
    Case(
        "PenstockExperimentHarm",
        "the challenger wins",
        ended("promoted", at=30),
        model=SERVICE | {"challenger": "4"},
    ),
    Case(
        "PenstockExperimentHarm",
        "it is stopped without a winner",
        ended("kept", at=30),
        model=SERVICE | {"challenger": "4"},
    ),
)


def events(result: str, values: str) -> Series:
    return said("trigger_events_total", values, result=result)


ONCE = counts((30, 0), (1, 1), (89, 0))
NONE = counts((LENGTH, 0))
TRIGGER = (
    Case(
        "PenstockTriggerFailed",
        "a release fails",
        said("trigger_releases_total", ONCE, outcome="failed"),
        fires=[(30, 90)],
        model=SERVICE,
    ),
    Case(
        "PenstockTriggerFailed",
        "a release is refused, and one released",
        said("trigger_releases_total", ONCE, outcome="refused")
        | said("trigger_releases_total", ONCE, outcome="released")
        | said("trigger_releases_total", NONE, outcome="failed"),
        model=SERVICE,
    ),
    Case(
        "PenstockTriggerFailed",
        "both ports are read: it is one failure",
        said("trigger_releases_total", ONCE, outcome="failed", instance="a")
        | said("trigger_releases_total", ONCE, outcome="failed", instance="b"),
        fires=[(30, 90)],
        model=SERVICE,
    ),
    Case("PenstockTriggerStopped", "none was", said("trigger_stopped", steady(0)), model=SERVICE),
    Case(
        "PenstockTriggerStopped",
        "three are refused, and an hour later a person resumes",
        said("trigger_stopped", HOUR),
        fires=[(35, 90)],
        model=SERVICE,
    ),
    Case(
        "PenstockTriggerGone",
        "events wait while a trigger runs",
        said("trigger_waiting_events", steady(3)) | said("trigger_at_work", steady()),
        model=SERVICE,
    ),
    Case(
        "PenstockTriggerGone",
        "nothing waits, and nobody runs one",
        said("trigger_waiting_events", steady(0)) | said("trigger_at_work", steady(0)),
        model=SERVICE,
    ),
    Case(
        "PenstockTriggerGone",
        "it was killed while events waited",
        said("trigger_waiting_events", steady(3)) | said("trigger_at_work", HOUR),
        fires=[(15, 30), (105, LENGTH)],
        model=SERVICE,
    ),
    Case(
        "PenstockTriggerRefusesAll",
        "a sender has the wrong token",
        events("refused", counts((30, 0), (90, 1))) | events("taken", NONE) | events("known", NONE),
        fires=[(60, LENGTH)],
        model=SERVICE,
    ),
    Case(
        "PenstockTriggerRefusesAll",
        "one of two senders has",
        events("refused", counts((30, 0), (90, 1)))
        | events("taken", counts((LENGTH, 1)))
        | events("known", NONE),
        model=SERVICE,
    ),
)

SERVICE_CASES = (*UNWATCHED, *UNSEEN, *EVENTS_LOST, *SHOWN, *HARM, *TRIGGER)
