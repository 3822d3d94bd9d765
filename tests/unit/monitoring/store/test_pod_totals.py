"""What pods have counted, summed up: they come and go, start again, and nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cluster_shop import PodFigures
from prometheus_server import small_prometheus

from penstock.captures.places import LocalPlace
from penstock.errors import ServiceError
from penstock.monitoring.store.pod_totals import PodTotals
from penstock.monitoring.store.storage import Storage
from penstock.records.rollout import ArmSummary
from penstock.records.service_counters import ServiceCounters
from penstock.rollout.spec import PrometheusSpec

NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
def figures() -> Iterator[PodFigures]:
    with small_prometheus() as prometheus:
        yield PodFigures(prometheus)


def totals(figures: PodFigures, folder: Path, *, days: float = 0, **spec: object) -> PodTotals:
    return PodTotals(
        storage=Storage(LocalPlace(folder), where=str(folder)),
        prometheus=PrometheusSpec.parse({"url": figures.prometheus.url, **spec}, where="test"),
        namespace="penstock",
        service="shop",
        now=lambda: NOW + timedelta(days=days),
    )


def read(figures: PodFigures, folder: Path, *pods: str, version: int = 1, **more) -> ArmSummary:
    figures.scrape()
    counted = totals(figures, folder, **more).counted(version, pods=pods)
    return ArmSummary.model_validate(counted["arm"])


def test_all_that_a_version_has_answered_is_summed_over_its_pods(
    figures: PodFigures, tmp_path: Path
) -> None:
    figures.answers("a", 1, 100, errors=3)
    figures.answers("b", 1, 50)
    figures.answers("c", 2, 1000)
    seen = read(figures, tmp_path, "a", "b")
    assert (seen.requests, seen.server_errors, sum(seen.latency.values())) == (150, 3, 150)
    figures.answers("a", 1, 10)
    assert read(figures, tmp_path, "a", "b").requests == 160
    assert read(figures, tmp_path, "a", "b").requests == 160


def test_a_pod_that_ended_still_counts_and_one_that_began_anew_counts_what_is_new(
    figures: PodFigures, tmp_path: Path
) -> None:
    figures.answers("a", 1, 100)
    figures.answers("b", 1, 100)
    assert read(figures, tmp_path, "a", "b").requests == 200
    del figures.figures["a", 1]
    figures.prometheus.forget(frozenset({"namespace": "penstock", "pod": "a"}.items()))
    figures.figures["b", 1] = {}
    figures.answers("b", 1, 30)
    assert read(figures, tmp_path, "b").requests == 230
    read(figures, tmp_path, "b", days=2)
    kept = ServiceCounters.read(tmp_path / "counters.json")
    assert set(kept.pods["requests"]) == {"b"}
    assert kept.arm.requests == 230


def test_another_version_counts_from_nothing(figures: PodFigures, tmp_path: Path) -> None:
    figures.answers("a", 1, 100)
    figures.answers("b", 2, 40)
    figures.scrape()
    first = totals(figures, tmp_path).counted(1, pods=["a"])
    assert read(figures, tmp_path, "b", version=2).requests == 40
    assert totals(figures, tmp_path).counted(2, pods=["b"])["epoch"] != first["epoch"]


def test_other_bins_begin_a_new_sum_and_count_nothing_again(
    figures: PodFigures, tmp_path: Path
) -> None:
    figures.answers("a", 1, 100)
    figures.scrape()
    first = totals(figures, tmp_path).counted(1, pods=["a"])
    other = totals(figures, tmp_path, latency_edges=(0.1, 1.0)).counted(1, pods=["a"])
    assert (other["epoch"] == first["epoch"], other["bins"]) == (False, "0.1 1")
    seen = ArmSummary.model_validate(other["arm"])
    assert (seen.requests, seen.latency) == (0, {})
    figures.answers("a", 1, 5)
    again = read(figures, tmp_path, "a", latency_edges=(0.1, 1.0))
    assert (again.requests, sum(again.latency.values())) == (5, 5)


def test_without_fresh_figures_of_each_pod_nothing_is_counted(
    figures: PodFigures, tmp_path: Path
) -> None:
    figures.answers("a", 1, 100)
    with pytest.raises(ServiceError, match="nothing is known of b of version 1"):
        read(figures, tmp_path, "a", "b")
    with pytest.raises(ServiceError, match="nothing is known of a ready pod"):
        read(figures, tmp_path)
    assert not (tmp_path / "counters.json").exists()


@pytest.mark.parametrize("torn", ["", "{", '{"record": "penstock/other", "schema_version": 1}'])
def test_what_was_kept_and_is_torn_begins_anew(
    figures: PodFigures, tmp_path: Path, torn: str
) -> None:
    figures.answers("a", 1, 100)
    read(figures, tmp_path, "a")
    (tmp_path / "counters.json").write_text(torn)
    assert read(figures, tmp_path, "a").requests == 100
