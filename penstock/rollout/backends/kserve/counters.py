"""How counters of several pods grew between two readings, and what that shows of a version."""

from __future__ import annotations

import math
from collections.abc import Mapping

from penstock.records.rollout import ArmSummary, Counts, Labelled
from penstock.rollout.proxy.stats import Buckets

Reading = Mapping[str, Mapping[str, float]]
"""By pod, what each of its counters stands at, by status, bucket or label."""


class Counters:
    """Counters of one kind and version, read now and then.

    Args:
        last: What each pod's stood at when they were read last; None: they were not.
    """

    def __init__(self, last: Reading | None = None) -> None:
        self._last: dict[str, Mapping[str, float]] = dict(last or {})

    @property
    def last(self) -> Reading:
        """What each pod's stood at when they were read last."""
        return self._last

    def grown(self, reading: Reading) -> dict[str, float]:
        """Return by how much they grew since the last reading, summed over the pods.

        A pod or counter that was not there before began at 0. One that is not there any more is
        remembered, so that it counts only what is new if it comes back. A pod that fell to less
        than half began anew; one that fell by less is an older reading, from another replica of
        Prometheus: nothing is counted until it is overtaken, since counting twice is worse.
        """
        total: dict[str, float] = {}
        for pod, now in reading.items():
            before = self._last.get(pod, {})
            had, has = sum(before.values()), sum(now.values())
            if has < had / 2:
                before = {}
            elif has < had:
                continue
            for name, value in now.items():
                total[name] = total.get(name, 0.0) + max(0.0, value - before.get(name, 0.0))
            self._last[pod] = {**before, **now}
        return total


def summary(grown: Mapping[str, Mapping[str, float]], *, edges: Buckets) -> ArmSummary:
    """Return what one version did for users.

    Args:
        grown: How its counters grew, by the name of the query: `requests` by status, `seconds` and
            `scores` by upper edge, `predicted` by label, and `labelled_...`. What was not read is
            not there.
        edges: Of the histograms.
    """
    codes = {int(code): round(count) for code, count in grown["requests"].items()}
    return ArmSummary(
        requests=sum(codes.values()),
        client_errors=sum(count for code, count in codes.items() if 400 <= code < 500),
        server_errors=sum(count for code, count in codes.items() if code >= 500 or code == 0),
        latency=_bins(grown.get("seconds", {}), edges.latency),
        scores=_bins(grown.get("scores", {}), edges.scores),
        labels={
            label: round(rows) for label, rows in grown.get("predicted", {}).items() if round(rows)
        },
        labelled=Labelled(
            requests=round(sum(grown.get("labelled_requests", {}).values())),
            loss=sum(grown.get("labelled_loss", {}).values()),
            squared=sum(grown.get("labelled_squared", {}).values()),
        ),
    )


def lacking(buckets: Mapping[str, float], edges: tuple[float, ...]) -> float | None:
    """Return the first edge that a histogram's buckets lack, or None."""
    known = set(map(float, buckets))
    return next((edge for edge in (*edges, math.inf) if edge not in known), None)


def _bins(buckets: Mapping[str, float], edges: tuple[float, ...]) -> Counts:
    """Turn counts at or below each edge into counts between two; finer buckets are put together."""
    if not buckets:
        return {}
    below = {float(edge): count for edge, count in buckets.items()}
    levels = [0.0, *(below[edge] for edge in (*edges, math.inf))]
    counts = (round(levels[i + 1] - levels[i]) for i in range(len(levels) - 1))
    return {place: count for place, count in enumerate(counts) if count > 0}
