"""Minute by minute, what Prometheus reads of servers, and when an alert is to fire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Series = dict[str, str]
"""Values by series, as promtool writes them: one a minute."""

DAY = 24 * 60


@dataclass(frozen=True)
class Case:
    """What is read, and what comes of it.

    Attributes:
        alert: The rule.
        name: What happens, in words.
        series: What Prometheus reads, from minute 0.
        fires: From and until when (exclusive), in minutes. A minute before and after each is not
            looked at: Prometheus 3 reads a range without its left edge, 2 with it.
        model: The model's labels on the alert; by its name the alert is grouped, as `service`.
        looks: The minutes that are looked at.
        every: Minutes between two evaluations.
    """

    alert: str
    name: str
    series: Series
    fires: Sequence[tuple[int, int]] = ()
    model: dict[str, str] = field(default_factory=lambda: dict(CREDIT))
    looks: Iterable[int] = range(120)
    every: int = 1

    @property
    def title(self) -> str:
        return f"{self.alert}: {self.name}"

    def document(self, rules: str) -> dict[str, Any]:
        """Return it as `promtool test rules` takes it."""
        asked = f'ALERTS{{alertname="{self.alert}",alertstate="firing"}}'
        grouped = {"service": self.model["model"]} if "model" in self.model else {}
        labels = ",".join(f'{key}="{value}"' for key, value in (self.model | grouped).items())
        sample = {"labels": f"{asked[:-1]},{labels}}}", "value": 1}
        looks = [
            {
                "expr": f"max without (severity) ({asked})",
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {**sample, "labels": sample["labels"].removeprefix("ALERTS")}
                    for start, end in self.fires
                    if start <= minute < end
                ],
            }
            for minute in self.looks
            if not any(abs(minute - edge) <= 1 for times in self.fires for edge in times)
        ]
        series = [{"series": name, "values": values} for name, values in self.series.items()]
        test = {
            "name": self.name, "interval": "1m", "input_series": series, "promql_expr_test": looks,
        }  # fmt: skip
        return {"rule_files": [rules], "evaluation_interval": f"{self.every}m", "tests": [test]}


CREDIT = {"namespace": "penstock", "model": "credit", "model_version": "3"}
FRAUD = CREDIT | {"model": "fraud"}
LENGTH = 120


def named(metric: str, labels: dict[str, str] | None = None, *, pod: str = "a", **more: str) -> str:
    """Return a series of a pod; `namespace` and `pod` are the operator's."""
    every = {"pod": pod, **(CREDIT if labels is None else labels), **more}
    return metric + "{" + ",".join(f'{key}="{value}"' for key, value in every.items()) + "}"


def counts(*parts: tuple[int, float], begin: int = 0, end: int | None = None) -> str:
    """Return a counter.

    Args:
        parts: Minutes, and how much it grows in each. A growth below zero sets it back to zero.
        begin: The minute of its first value.
        end: The minute from which its pod is gone.
    """
    values, total = ["_"] * begin, 0.0
    for minutes, growth in parts:
        for _ in range(minutes):
            total = 0.0 if growth < 0 else total + growth
            values.append(f"{total:g}")
    return " ".join(values if end is None else [*values[:end], "stale"])


def steady(
    value: float = 1, *, minutes: int = LENGTH, begin: int = 0, end: int | None = None
) -> str:
    """Return a gauge that does not change."""
    runs = [f"_x{begin - 1}"] if begin else []
    last = minutes if end is None else end
    runs.append(f"{value:g}+0x{last - begin - 1}")
    return " ".join([*runs, *(["stale"] if end is not None else [])])


def requests(
    good: str, bad: str, labels: dict[str, str] | None = None, *, pod: str = "a", **more: str
) -> Series:
    """Return a server's requests, answered and failed."""
    more = {"protocol": "v1", "origin": "live"} | more
    return {
        named("penstock_requests_total", labels, pod=pod, code="200", **more): good,
        named("penstock_requests_total", labels, pod=pod, code="500", **more): bad,
    }


GOOD = counts((LENGTH, 100))
NONE = counts((LENGTH, 0))
FAULT = counts((30, 0), (30, 5), (60, 0))
ERRORS = (
    Case("PenstockServerErrors", "nothing is wrong", requests(GOOD, NONE)),
    Case("PenstockServerErrors", "nobody asks", requests(NONE, NONE)),
    Case(
        "PenstockServerErrors",
        "1 in 20 fails for half an hour",
        requests(GOOD, FAULT),
        fires=[(36, 63)],
    ),
    Case(
        "PenstockServerErrors",
        "one of few requests fails",
        requests(counts((LENGTH, 1)), counts((30, 0), (1, 1), (89, 0))),
    ),
    Case(
        "PenstockServerErrors",
        "a new version fails from its first request",
        requests(counts((90, 0), begin=30), counts((90, 2), begin=30)),
        fires=[(36, 120)],
    ),
    Case(
        "PenstockServerErrors",
        "the server is started again and again",
        requests(GOOD, counts((30, 0), *[(9, 5), (1, -1)] * 9)),
        fires=[(36, 120)],
    ),
    Case(
        "PenstockServerErrors",
        "the pod is replaced, and the fault stays",
        requests(GOOD, FAULT, pod="a")
        | requests(counts((75, 100), begin=45), counts((75, 5), begin=45), pod="b"),
        fires=[(36, 120)],
    ),
    Case(
        "PenstockServerErrors",
        "one of three servers fails",
        requests(GOOD, FAULT, pod="a")
        | requests(GOOD, NONE, pod="b")
        | requests(GOOD, NONE, pod="c"),
        fires=[(38, 61)],
    ),
    Case(
        "PenstockServerErrors",
        "another model fails",
        requests(GOOD, NONE) | requests(GOOD, FAULT, FRAUD),
        fires=[(36, 63)],
        model=FRAUD,
    ),
    Case(
        "PenstockServerErrors",
        "copies of requests fail, not users'",
        requests(GOOD, NONE) | requests(GOOD, FAULT, origin="mirror"),
    ),
)


def seconds(
    fast: str, all_: str, *, pod: str = "a", protocol: str = "v1", origin: str = "live"
) -> Series:
    """Return a server's histogram: answers within a second, within two, and all."""
    metric, more = (
        "penstock_request_duration_seconds_bucket",
        {"protocol": protocol, "origin": origin},
    )
    return {
        named(metric, pod=pod, le="1.0", **more): fast,
        named(metric, pod=pod, le="2.2", **more): all_,
        named(metric, pod=pod, le="+Inf", **more): all_,
    }


HALTING = counts((30, 100), (40, 95), (50, 100))
SLOW = (
    Case("PenstockSlow", "nothing is wrong", seconds(GOOD, GOOD)),
    Case("PenstockSlow", "nobody asks", seconds(NONE, NONE)),
    Case("PenstockSlow", "1 in 20 takes two seconds", seconds(HALTING, GOOD), fires=[(42, 77)]),
    Case(
        "PenstockSlow",
        "one of few takes long",
        seconds(counts((30, 1), (1, 0), (89, 1)), counts((LENGTH, 1))),
    ),
    Case(
        "PenstockSlow",
        "explanations take long",
        seconds(GOOD, GOOD) | seconds(NONE, GOOD, protocol="explain"),
    ),
    Case(
        "PenstockSlow",
        "a rollout's own requests take long",
        seconds(GOOD, GOOD) | seconds(NONE, GOOD, origin="replay"),
    ),
    Case(
        "PenstockSlow",
        "a new version is slow, in two pods, one of which is replaced",
        seconds(counts((90, 90), begin=30), counts((90, 100), begin=30), pod="a")
        | seconds(counts((30, 90), begin=30, end=60), counts((30, 100), begin=30, end=60), pod="b")
        | seconds(counts((59, 90), begin=61), counts((59, 100), begin=61), pod="c"),
        fires=[(41, 120)],
    ),
)


def info(values: str, labels: dict[str, str] | None = None, *, pod: str = "a") -> Series:
    return {named("penstock_model_info", labels, pod=pod, digest="sha256:1"): values}


GONE = {key: CREDIT[key] for key in ("namespace", "model")}
NEXT = CREDIT | {"model_version": "4"}
WEEK = range(0, 8 * DAY, 95)
MODELS = (
    Case("PenstockModelGone", "nothing is wrong", info(steady()), model=GONE),
    Case("PenstockModelGone", "another model is there", info(steady(), FRAUD), model=GONE),
    Case(
        "PenstockModelGone",
        "no server is left, for days",
        info(steady(minutes=9 * DAY, end=30)),
        fires=[(35, 30 + 7 * DAY)],
        model=GONE,
        looks=[*range(0, 120, 5), *WEEK],
        every=5,
    ),
    Case(
        "PenstockModelGone",
        "one is back after two days",
        info(steady(end=30)) | info(steady(minutes=3 * DAY, begin=2 * DAY), pod="b"),
        fires=[(35, 2 * DAY)],
        model=GONE,
        looks=range(0, 3 * DAY, 15),
        every=5,
    ),
    Case(
        "PenstockModelGone",
        "a pod is replaced",
        info(steady(end=30)) | info(steady(begin=32), pod="b"),
        model=GONE,
    ),
    Case(
        "PenstockModelGone",
        "one of three servers is lost",
        info(steady()) | info(steady(), pod="b") | info(steady(end=30), pod="c"),
        model=GONE,
    ),
    Case(
        "PenstockModelGone",
        "a version gives way to the next",
        info(steady(end=40)) | info(steady(begin=30), NEXT, pod="b"),
        model=GONE,
    ),
    Case(
        "PenstockModelGone",
        "a model is lost, and another is not",
        info(steady()) | info(steady(end=30), FRAUD, pod="b"),
        fires=[(35, 120)],
        model=GONE | {"model": "fraud"},
    ),
)


def up(values: str, *, pod: str = "a", job: str = "penstock/penstock-models") -> Series:
    return {f'up{{namespace="penstock",job="{job}",pod="{pod}"}}': values}


UNREAD = {"namespace": "penstock", "pod": "b"}
SCRAPED = (
    Case("PenstockNotScraped", "nothing is wrong", up(steady()), model=UNREAD),
    Case(
        "PenstockNotScraped",
        "one pod of two cannot be read for half an hour",
        up(steady()) | up(" ".join(["1"] * 30 + ["0"] * 30 + ["1"] * 60), pod="b"),
        fires=[(40, 60)],
        model=UNREAD,
    ),
    Case(
        "PenstockNotScraped",
        "a model takes five minutes to load",
        up(" ".join(["0"] * 5 + ["1"] * 115), pod="b"),
        model=UNREAD,
    ),
    Case("PenstockNotScraped", "a pod ends", up(steady(end=30), pod="b"), model=UNREAD),
    Case(
        "PenstockNotScraped",
        "something else cannot be read",
        up(steady(0), pod="b", job="other/things"),
        model=UNREAD,
    ),
)


def began(values: str, *, pod: str = "b", job: str = "penstock/penstock-models") -> Series:
    labels = f'namespace="penstock",job="{job}",pod="{pod}"'
    return {f"process_start_time_seconds{{{labels}}}": values}


FLAPPING = " ".join(["100"] * 30 + [f"{100 + 5 * n} {100 + 5 * n} _ _ _" for n in range(1, 10)])
RESTARTS = (
    Case("PenstockRestarts", "nothing is wrong", began(steady(100)), model=UNREAD),
    Case(
        "PenstockRestarts",
        "a server is started again every five minutes",
        began(FLAPPING + " 145" * 45),
        fires=[(40, 87)],
        model=UNREAD,
    ),
    Case(
        "PenstockRestarts",
        "it is started again twice",
        began(" ".join(["100"] * 30 + ["130"] * 10 + ["140"] * 80)),
        model=UNREAD,
    ),
    Case(
        "PenstockRestarts",
        "pods are replaced one by one",
        began(steady(100, end=30), pod="a")
        | began(steady(130, begin=30, end=40), pod="b")
        | began(steady(140, begin=40, end=50), pod="c")
        | began(steady(150, begin=50), pod="d"),
        model=UNREAD,
    ),
    Case(
        "PenstockRestarts",
        "something else is started again",
        began(FLAPPING, job="other/things"),
        model=UNREAD,
    ),
)


def rows(
    all_: str, labels: dict[str, str] | None = None, *, pod: str = "a", **features: str
) -> Series:
    """Return a server's rows, and those that lack a feature or hold a new value of it."""
    return {named("penstock_prediction_score_count", labels, pod=pod, origin="live"): all_} | {
        named(f"penstock_feature_{kind}_total", labels, pod=pod, feature="income"): values
        for kind, values in features.items()
    }


def trained(share: float, *, minutes: int = LENGTH, begin: int = 0, pod: str = "a") -> Series:
    metric = named("penstock_feature_missing_in_training_ratio", pod=pod, feature="income")
    return {metric: steady(share, minutes=minutes, begin=begin)}


INCOME = CREDIT | {"feature": "income"}
THIRD = counts((30, 0), (50, 33), (160, 0))
LONG = counts((240, 100))
UNSEEN = (
    Case("PenstockUnseenValues", "nothing is wrong", rows(GOOD, unseen=NONE), model=INCOME),
    Case("PenstockUnseenValues", "nobody asks", rows(NONE, unseen=NONE), model=INCOME),
    Case(
        "PenstockUnseenValues",
        "a third of the rows, for 50 minutes",
        rows(LONG, unseen=THIRD),
        fires=[(54, 100)],
        model=INCOME,
        looks=range(240),
    ),
    Case(
        "PenstockUnseenValues",
        "one row of few",
        rows(counts((30, 0), (1, 1), (60, 0), (29, 0)), unseen=counts((30, 0), (1, 1), (89, 0))),
        model=INCOME,
    ),
    Case(
        "PenstockUnseenValues",
        "the first request brings a thousand rows, a few of them new",
        rows(counts((10, 0), (1, 1000), (109, 0)), unseen=counts((10, 0), (1, 20), (109, 0))),
        model=INCOME,
    ),
    Case(
        "PenstockUnseenValues",
        "a new version, of two servers, one of which is started again",
        rows(counts((90, 50), begin=30), unseen=counts((90, 20), begin=30))
        | rows(
            counts((40, 50), (1, -1), (49, 50), begin=30),
            unseen=counts((40, 20), (1, -1), (49, 20), begin=30),
            pod="b",
        ),
        fires=[(46, 120)],
        model=INCOME,
    ),
)

HOURS = range(0, 3 * DAY, 30)
MISSING = (
    Case(
        "PenstockMissingValues",
        "nothing is wrong",
        rows(GOOD, missing=NONE) | trained(0),
        model=INCOME,
    ),
    Case(
        "PenstockMissingValues", "nobody asks", rows(NONE, missing=NONE) | trained(0), model=INCOME
    ),
    Case(
        "PenstockMissingValues",
        "half of the rows of a version that is an hour old",
        rows(counts((240, 100), begin=60), missing=counts((60, 0), (180, 50), begin=60))
        | trained(0, minutes=300, begin=60),
        fires=[(174, 300)],
        model=INCOME,
        looks=range(300),
    ),
    Case(
        "PenstockMissingValues",
        "half of the rows, for two days, then none",
        rows(counts((3 * DAY, 100)), missing=counts((60, 0), (2 * DAY, 50), (DAY - 60, 0)))
        | trained(0, minutes=3 * DAY),
        fires=[(120, 60 + 2 * DAY + 31)],
        model=INCOME,
        looks=HOURS,
        every=5,
    ),
    Case(
        "PenstockMissingValues",
        "a feature that training lacked as often",
        rows(GOOD, missing=counts((LENGTH, 60))) | trained(0.6),
        model=INCOME,
    ),
    Case(
        "PenstockMissingValues",
        "a feature that training often lacked is now never there",
        rows(GOOD, missing=counts((LENGTH, 100))) | trained(0.9),
        fires=[(31, 120)],
        model=INCOME,
    ),
    Case(
        "PenstockMissingValues",
        "one row of few",
        rows(counts((30, 0), (1, 1), (89, 0)), missing=counts((30, 0), (1, 1), (89, 0)))
        | trained(0),
        model=INCOME,
    ),
    Case(
        "PenstockMissingValues",
        "the first request brings a thousand rows, a few of them without it",
        rows(counts((10, 0), (1, 1000), (109, 0)), missing=counts((10, 0), (1, 100), (109, 0)))
        | trained(0),
        model=INCOME,
    ),
    Case(
        "PenstockMissingValues",
        "an older model does not say what training lacked",
        rows(GOOD, missing=GOOD),
        model=INCOME,
    ),
    Case(
        "PenstockMissingValues",
        "two servers, one of which is replaced",
        rows(counts((40, 100), end=40), missing=counts((40, 50), end=40))
        | trained(0)
        | rows(GOOD, missing=counts((LENGTH, 50)), pod="b")
        | trained(0, pod="b")
        | rows(counts((79, 100), begin=41), missing=counts((79, 50), begin=41), pod="c")
        | trained(0, begin=41, pod="c"),
        fires=[(31, 120)],
        model=INCOME,
    ),
)


def dropped(values: str, *, pod: str = "a") -> Series:
    return {named("penstock_capture_dropped_rows_total", pod=pod): values}


DROPPED = (
    Case("PenstockCaptureDropped", "nothing is wrong", dropped(NONE)),
    Case(
        "PenstockCaptureDropped",
        "rows are dropped for 20 minutes",
        dropped(counts((30, 0), (20, 7), (70, 0))),
        fires=[(30, 64)],
    ),
    Case(
        "PenstockCaptureDropped",
        "a server is started again",
        dropped(counts((30, 0), (10, 7), (1, -1), (79, 0))),
        fires=[(30, 54)],
    ),
    Case(
        "PenstockCaptureDropped",
        "one server of two",
        dropped(NONE) | dropped(counts((30, 0), (90, 1)), pod="b"),
        fires=[(30, 120)],
    ),
    Case(
        "PenstockCaptureDropped",
        "a new server that drops",
        dropped(counts((1, 0), (89, 1), begin=30)),
        fires=[(31, 120)],
    ),
)


def spool(waiting: str, shipped: str, *, pod: str = "a") -> Series:
    return {
        named("penstock_capture_spool_bytes", pod=pod): waiting,
        named("penstock_capture_shipped_timestamp_seconds", pod=pod): shipped,
    }


EACH_MINUTE = f"0+60x{LENGTH - 1}"
SPOOL = CREDIT | {"pod": "a"}
SHIPPED = (
    Case(
        "PenstockCaptureNotShipped",
        "rows are shipped each minute",
        spool(steady(10_000), EACH_MINUTE),
        model=SPOOL,
    ),
    Case(
        "PenstockCaptureNotShipped",
        "nobody asks, and nothing waits",
        spool(steady(0), steady(0)),
        model=SPOOL,
    ),
    Case(
        "PenstockCaptureNotShipped",
        "the first request after two hours",
        spool(" ".join(["0"] * 110 + ["500"] * 10), steady(0)),
        model=SPOOL,
    ),
    Case(
        "PenstockCaptureNotShipped",
        "the store is away for an hour, for one of two pods",
        spool(
            f"_x19 0+10000x59 {steady(10_000, minutes=40)}",
            f"_x19 1200+0x59 4800+60x{LENGTH - 81}",
        )
        | spool(steady(10_000), EACH_MINUTE, pod="b"),
        fires=[(51, 80)],
        model=SPOOL,
    ),
)


def thread(values: str, *, pod: str = "a", thread: str = "capture") -> Series:
    return {named("penstock_thread_up", pod=pod, thread=thread): values}


FAILED = CREDIT | {"pod": "b", "thread": "capture"}
THREADS = (
    Case("PenstockThreadFailed", "nothing is wrong", thread(steady(), pod="b"), model=FAILED),
    Case(
        "PenstockThreadFailed",
        "one of a server's two, then the pod is replaced",
        thread(steady(), pod="b", thread="log")
        | thread(steady())
        | thread(" ".join(["1"] * 30 + ["0"] * 40 + ["stale"]), pod="b")
        | thread(steady(begin=71), pod="c"),
        fires=[(31, 70)],
        model=FAILED,
    ),
)

STUCK = (
    Case(
        "PenstockCanaryStuck",
        "one version, two servers",
        info(steady()) | info(steady(), pod="b"),
        model=GONE,
    ),
    Case("PenstockCanaryStuck", "two models", info(steady()) | info(steady(), FRAUD), model=GONE),
    Case(
        "PenstockCanaryStuck",
        "a rollout of half an hour",
        info(steady(end=62)) | info(steady(begin=30), NEXT, pod="b"),
        model=GONE,
    ),
    Case(
        "PenstockCanaryStuck",
        "nobody judges the candidate, until somebody rolls it back",
        info(steady()) | info(steady(begin=10, end=100), NEXT, pod="b"),
        fires=[(70, 100)],
        model=GONE,
    ),
)

CASES = (
    *ERRORS,
    *SLOW,
    *MODELS,
    *SCRAPED,
    *RESTARTS,
    *UNSEEN,
    *MISSING,
    *DROPPED,
    *SHIPPED,
    *THREADS,
    *STUCK,
)
