"""What the proxy counts of one version's responses."""

from __future__ import annotations

import json

from penstock.rollout.proxy.stats import Buckets, Outcome, Stats

BUCKETS = Buckets(latency=(0.1,), scores=(0.5,))


def test_a_label_is_counted_on_after_the_counter_is_full() -> None:
    stats = Stats()
    classes = [f"c{number}" for number in range(1_001)]
    for label in (*classes, "c0", "c1000"):
        body = json.dumps({"predictions": [label], "classes": classes}).encode()
        stats.add(Outcome(200, body=body), edges=BUCKETS)
    assert (len(stats.labels), stats.labels["c0"], stats.labels["c1000"]) == (1_000, 2, 0)
