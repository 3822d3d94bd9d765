"""Users' requests read from Prometheus: what counts, what never counts twice, what is unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_server import Labels, SmallPrometheus, answered, small_prometheus

from penstock.errors import InputError
from penstock.records.rollout import SERVED_LATENCY, ArmSummary, HistogramBuckets, Pairs
from penstock.rollout.backends.kserve import prometheus as reading
from penstock.rollout.backends.kserve import users as counting
from penstock.rollout.backends.kserve.counters import Counters
from penstock.rollout.backends.kserve.measured import Steering
from penstock.rollout.backends.kserve.pod_counters import Source
from penstock.rollout.backends.kserve.users import Users
from penstock.rollout.proxy.stats import Buckets
from penstock.rollout.router import Observation
from penstock.rollout.spec import PrometheusSpec

NOTHING = Observation(epoch="e", arms={}, pairs=Pairs())
LIVE = {"origin": "live", "protocol": "v1"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_BETWEEN", 0.0)
    monkeypatch.setattr(counting, "_AFTER_FAILURE", 0.0)
    monkeypatch.setattr(reading, "_PATIENCE", 0.3)


@dataclass
class Pod:
    """What a model server would tell, by version."""

    name: str
    version: int
    figures: dict[Labels, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._set("penstock_model_info", 1)

    def answers(self, times: int, *, code: int = 200, origin: str = "live") -> None:
        self._add("penstock_requests_total", times, origin=origin, protocol="v1", code=str(code))

    def bucket(self, name: str, edge: float, count: int, **labels: str) -> None:
        self._set(f"{name}_bucket", count, le=f"{edge:g}".replace("inf", "+Inf"), **labels)

    def histogram(
        self, name: str, edges: tuple[float, ...], counts: list[int], **labels: str
    ) -> None:
        for place, edge in enumerate((*edges, float("inf"))):
            self.bucket(name, edge, sum(counts[: place + 1]), **labels)

    def labelled(self, rows: int, loss: float) -> None:
        for name, value in (("requests", rows), ("loss", loss), ("loss_squared", loss / 2)):
            self._set(f"penstock_labelled_{name}_total", value, origin="live")

    def key(self, name: str, **labels: str) -> Labels:
        mine = {"__name__": name, "model": "adult", "model_version": str(self.version)}
        return frozenset({**mine, **labels}.items())

    @property
    def target(self) -> Labels:
        return frozenset({"namespace": "ns", "pod": self.name}.items())

    def _set(self, name: str, value: float, **labels: str) -> None:
        self.figures[self.key(name, **labels)] = value

    def _add(self, name: str, value: float, **labels: str) -> None:
        key = self.key(name, **labels)
        self.figures[key] = self.figures.get(key, 0) + value


@dataclass
class Desk:
    """Whoever reads, and what is there to read."""

    prometheus: SmallPrometheus
    stable: Pod = field(default_factory=lambda: Pod("one", 1))
    candidate: Pod = field(default_factory=lambda: Pod("two", 2))
    more: list[Pod] = field(default_factory=list)
    users: Users | None = None

    def __post_init__(self) -> None:
        self.prometheus.clock = 1_000_000.0

    @property
    def pods(self) -> list[Pod]:
        return [self.stable, self.candidate, *self.more]

    def reader(self, *, alone: bool = True, **spec: Any) -> Users:
        made = PrometheusSpec.parse({"url": self.prometheus.url, **spec}, where="w")
        self.users = Users(Source(made, namespace="ns", service="adult", alone=alone))
        return self.users

    def scraped(self, *pods: Pod, seconds: float = 15) -> Observation:
        """Let time pass, scrape those pods or all of them, and look."""
        assert self.prometheus.clock is not None
        self.prometheus.clock += seconds
        for pod in pods or self.pods:
            self.prometheus.lay_down(pod.target, pod.figures)
        return self.seen()

    def seen(self) -> Observation:
        assert self.users is not None
        self.users.look(lambda version: {p.name for p in self.pods if p.version == version})
        return self.users.added_to(NOTHING)

    def begun(self, *, weight: int = 10, alone: bool = True, **spec: Any) -> Observation:
        """Begin a step, and take the readings that counts begin from."""
        grids = HistogramBuckets(latency=SERVED_LATENCY) if alone else HistogramBuckets()
        self.reader(alone=alone, **spec).steer(steering(weight=weight, grids=grids))
        self.seen()
        return self.scraped()


def steering(
    *, weight: int = 10, grids: HistogramBuckets | None = None, candidate: int = 2
) -> Steering:
    grids = grids or HistogramBuckets(latency=SERVED_LATENCY)
    edges = Buckets(latency=grids.latency, scores=grids.scores)
    mirror = 1.0 if weight == 0 else 0.0
    return Steering(
        headers={}, stable=1, candidate=candidate, weight=weight, mirror=mirror, edges=edges
    )


@pytest.fixture
def desk() -> Iterator[Desk]:
    with small_prometheus() as prometheus:
        yield Desk(prometheus)


def test_what_users_asked_is_counted_by_version_and_status(desk: Desk) -> None:
    desk.begun()
    desk.stable.answers(90)
    desk.candidate.answers(7)
    desk.candidate.answers(2, code=500)
    desk.candidate.answers(1, code=422)
    desk.candidate.answers(50, origin="replay")
    seen = desk.scraped()
    assert seen.arms[1] == ArmSummary(requests=90)
    assert seen.arms[2] == ArmSummary(requests=10, server_errors=2, client_errors=1)
    assert seen.blind == ""
    desk.candidate.answers(5)
    assert desk.scraped().arms[2].requests == 15


def test_histograms_and_labels_are_read(desk: Desk) -> None:
    desk.begun()
    seconds = [0] * (len(SERVED_LATENCY) + 1)
    seconds[3], seconds[-1] = 4, 1
    edges = tuple(round(0.02 * step, 2) for step in range(1, 51))
    scores = [0] * (len(edges) + 1)
    scores[0], scores[48], scores[49] = 1, 2, 3
    desk.candidate.histogram("penstock_request_duration_seconds", SERVED_LATENCY, seconds, **LIVE)
    desk.candidate.histogram("penstock_drawn_score", edges, scores, origin="live")
    key = desk.candidate.key("penstock_drawn_rows_total", label="yes", origin="live")
    desk.candidate.figures[key] = 6
    desk.candidate.labelled(4, 1.5)
    arm = desk.scraped().arms[2]
    assert arm.latency == {3: 4, len(SERVED_LATENCY): 1}
    # What lies beyond the last edge of the rollout's grid, which the server's goes beyond.
    assert arm.scores == {0: 1, 48: 2, 49: 3}
    assert arm.labels == {"yes": 6}
    assert arm.labelled.model_dump() == {"requests": 4, "loss": 1.5, "squared": 0.75}


def test_what_was_answered_before_the_traffic_was_set_does_not_count(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.stable.answers(1000)
    desk.candidate.answers(400)
    users = desk.reader()
    users.steer(steering())
    assert "nothing is known of one of version 1" in desk.seen().blind
    assert "not counted" not in capsys.readouterr().out
    desk.scraped()
    users.steer(steering())
    assert "have come since" in desk.seen().blind
    desk.stable.answers(10)
    first = desk.scraped()
    assert (first.arms, "have come since" in first.blind) == ({}, True)
    desk.stable.answers(5)
    assert desk.scraped().arms[1].requests == 5
    users.steer(steering(weight=50))
    desk.seen()
    desk.stable.answers(70)
    again = desk.scraped()
    assert (again.arms[1].requests, "have come since" in again.blind) == (5, True)
    desk.stable.answers(3)
    assert desk.scraped().arms[1].requests == 8


def test_a_scrape_that_began_before_the_traffic_was_set_is_no_beginning(desk: Desk) -> None:
    desk.begun()
    desk.candidate.answers(10, code=500)
    assert desk.users is not None
    desk.users.steer(steering(weight=50))
    for pod in desk.pods:
        desk.prometheus.lay_down(pod.target, pod.figures)
    assert desk.seen().arms == {}
    desk.scraped(desk.stable)
    desk.candidate.answers(10, code=500)
    assert desk.scraped().arms == {}
    assert desk.scraped().arms[2].requests == 0


def test_both_versions_count_over_the_same_stretch(desk: Desk) -> None:
    desk.begun()
    for pod in desk.pods:
        pod.answers(10)
    assert desk.scraped(desk.stable).arms == {}
    assert desk.scraped(desk.stable).arms == {}
    seen = desk.scraped(desk.candidate)
    assert (seen.arms[1].requests, seen.arms[2].requests) == (10, 10)


def test_a_server_that_begins_anew_counts_what_it_did_since(desk: Desk) -> None:
    desk.begun()
    desk.candidate.answers(100)
    assert desk.scraped().arms[2].requests == 100
    desk.candidate.figures = Pod("two", 2).figures
    desk.candidate.answers(7)
    desk.candidate.answers(3, code=500)
    seen = desk.scraped()
    assert (seen.arms[2].requests, seen.arms[2].server_errors) == (110, 3)


def test_a_pod_that_goes_and_one_that_comes(desk: Desk) -> None:
    other = Pod("two-b", 2)
    desk.begun()
    desk.candidate.answers(100)
    desk.scraped()
    desk.more.append(other)
    other.answers(10)
    assert desk.scraped().arms[2].requests == 110
    desk.more.clear()
    desk.prometheus.forget(other.target)
    desk.candidate.answers(1)
    assert desk.scraped().arms[2].requests == 111
    desk.more.append(other)
    other.answers(5)
    assert desk.scraped().arms[2].requests == 116


def test_a_series_that_is_left_out_once_counts_once(desk: Desk) -> None:
    desk.begun()
    desk.candidate.answers(100)
    desk.scraped()
    whole = desk.candidate.figures
    desk.candidate.figures = Pod("two", 2).figures
    assert desk.scraped().arms[2].requests == 100
    desk.candidate.figures = whole
    assert desk.scraped().arms[2].requests == 100


def test_an_older_reading_of_another_replica_counts_nothing() -> None:
    counters = Counters()
    counters.grown({"a": {"200": 1000}})
    assert counters.grown({"a": {"200": 990}}) == {}
    assert counters.grown({"a": {"200": 1010}}) == {"200": 10}
    assert counters.grown({"a": {"200": 20, "500": 1}}) == {"200": 20, "500": 1}


def test_in_the_shadow_phase_the_candidate_answers_copies(desk: Desk) -> None:
    desk.begun(weight=0)
    desk.stable.answers(20)
    desk.candidate.answers(19)
    desk.candidate.answers(1, code=500)
    seen = desk.scraped()
    assert (seen.pairs.stable.requests, seen.pairs.candidate.requests) == (20, 20)
    assert seen.pairs.candidate.server_errors == 1
    assert (seen.pairs.rows, seen.arms.keys()) == (0, {1})
    assert desk.users is not None
    desk.users.steer(steering(candidate=3))
    assert desk.seen().pairs == Pairs()


def test_beside_replay_neither_latency_nor_copies_are_mixed_with_what_is_measured_here(
    desk: Desk,
) -> None:
    desk.begun(weight=0, alone=False)
    counts = [1] * (len(SERVED_LATENCY) + 1)
    desk.candidate.histogram("penstock_request_duration_seconds", SERVED_LATENCY, counts, **LIVE)
    desk.candidate.answers(20)
    seen = desk.scraped()
    assert (seen.pairs, seen.arms.keys(), seen.blind) == (Pairs(), {1}, "")
    assert not any("seconds" in query for query in desk.prometheus.asked)


def test_the_scores_of_a_regression_are_not_read(desk: Desk) -> None:
    grids = HistogramBuckets(latency=SERVED_LATENCY, scores=(1.0, 2.0))
    desk.reader().steer(steering(grids=grids))
    desk.seen()
    assert desk.scraped().blind
    assert desk.scraped().blind == ""
    assert not any("score" in query or "predicted" in query for query in desk.prometheus.asked)


def _hides(name: str, version: int) -> Callable[[str], web.Response | None]:
    return lambda query: (
        answered("vector", []) if name in query and f'version="{version}"' in query else None
    )


def _instead(name: str, response: Callable[[], web.Response]) -> Callable[[str], Any]:
    return lambda query: response() if name in query else None


def _vector(*results: tuple[dict[str, str], str]) -> Callable[[], web.Response]:
    return lambda: answered("vector", [{"metric": m, "value": [0, v]} for m, v in results])


FAULTS: dict[str, tuple[Callable[[str], web.Response | None], str]] = {
    "one version alone": (_hides("info", 2), "nothing is known of two of version 2"),
    "an empty result is null": (
        lambda query: (
            answered("vector", None) if "info" in query and 'version="2"' in query else None
        ),
        "nothing is known of two of version 2",
    ),
    "down": (_instead("", lambda: web.Response(status=503, text="not ready")), "503: not ready"),
    "not prometheus": (
        _instead("requests", lambda: web.Response(text="<html>")),
        "does not answer as Prometheus does: 200: <html>",
    ),
    "a list": (_instead("requests", lambda: web.json_response([])), "as Prometheus does"),
    "bad query": (
        _instead(
            "requests",
            lambda: web.json_response(
                {"status": "error", "errorType": "bad_data", "error": "parse error"}, status=400
            ),
        ),
        "refuses the query: bad_data: parse error",
    ),
    "forbidden": (_instead("", lambda: web.Response(status=403)), "let this account ask: 403"),
    "in part": (
        _instead("requests", lambda: answered("vector", [], warnings=["a store is gone"])),
        "answers in part: a store is gone",
    ),
    "a matrix": (_instead("requests", lambda: answered("matrix", [])), "with a matrix, not a vec"),
    "not a number": (
        _instead("requests", _vector(({"pod": "one", "code": "200"}, "NaN"))),
        "answers with NaN",
    ),
    "infinite": (
        _instead("requests", _vector(({"pod": "one", "code": "200"}, "+Inf"))),
        "answers with \\+Inf",
    ),
    "no pod": (_instead("requests", _vector(({"code": "200"}, "1"))), "has no label pod"),
    "no code": (_instead("requests", _vector(({"pod": "one"}, "1"))), "has no label code"),
    "odd code": (
        _instead("requests", _vector(({"pod": "one", "code": "2xx"}, "1"))),
        "not all statuses",
    ),
    "no le": (_instead("seconds", _vector(({"pod": "one"}, "1"))), "has no label le"),
    "an edge is missing": (
        _instead("seconds", _vector(({"pod": "one", "le": "+Inf"}, "1"))),
        "has no bucket le=0.0001",
    ),
    "scraped twice": (
        _instead("info", _vector(({"pod": "one", "job": "a"}, "1"), ({"pod": "one"}, "1"))),
        "one is scraped twice",
    ),
    "a native histogram": (
        _instead("seconds", lambda: answered("vector", [{"metric": {}, "histogram": [0, {}]}])),
        "something else than counters",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_whole_is_no_evidence_and_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    fault, said = FAULTS[name]
    desk.begun()
    assert desk.users is not None
    desk.users._steered -= 100  # no pod is new any more
    desk.stable.answers(10)
    desk.candidate.answers(10)
    desk.prometheus.fault = fault
    for _ in range(2):
        seen = desk.scraped()
        assert seen.arms == {}
        assert seen.blind.startswith("Users' requests are not counted: Prometheus http://")
    assert re.search(said, seen.blind), seen.blind
    out = capsys.readouterr().out
    assert out.count("users' requests are not counted") == 1
    desk.prometheus.fault = lambda _: None
    desk.candidate.answers(5, code=500)
    seen = desk.scraped()
    assert (seen.arms[1].requests, seen.arms[2].requests, seen.blind) == (10, 15, "")
    assert "counted again" in capsys.readouterr().out


def test_figures_that_grow_old_are_no_evidence(desk: Desk) -> None:
    desk.begun(stale_after=40)
    desk.scraped()
    assert desk.prometheus.clock is not None
    desk.prometheus.clock += 41
    assert "one was scraped last 41 s ago" in desk.seen().blind
    assert "two was scraped last 46 s ago" in desk.scraped(desk.stable, seconds=5).blind
    assert desk.scraped().blind == ""


def test_a_ready_pod_that_is_not_scraped_makes_its_version_unknown(desk: Desk) -> None:
    desk.begun()
    desk.more.append(Pod("two-b", 2))
    desk.candidate.answers(10)
    seen = desk.scraped(desk.stable, desk.candidate)
    assert seen.arms == {}
    assert "nothing is known of two-b of version 2" in seen.blind
    assert desk.scraped().arms[2].requests == 10


def test_a_version_without_a_ready_pod_is_unknown(desk: Desk) -> None:
    desk.begun()
    assert desk.users is not None
    desk.users.look(lambda version: {"one"} if version == 1 else set())
    assert "nothing is known of a ready pod of version 2" in desk.users.added_to(NOTHING).blind


def test_what_comes_between_two_queries_waits_for_the_next_look(desk: Desk) -> None:
    desk.begun()
    for pod in desk.pods:
        pod.answers(10)

    def scrape_meanwhile(query: str) -> None:
        if "requests" in query:
            desk.prometheus.fault = lambda _: None
            desk.candidate.answers(90)
            # A scrape of a moment ago, which comes in late.
            assert desk.prometheus.clock is not None
            desk.prometheus.clock -= 0.5
            desk.prometheus.lay_down(desk.candidate.target, desk.candidate.figures)
            desk.prometheus.clock += 0.5

    desk.prometheus.fault = scrape_meanwhile
    assert desk.prometheus.clock is not None
    for pod in desk.pods:
        desk.prometheus.clock += 15
        desk.prometheus.lay_down(pod.target, pod.figures)
    desk.prometheus.clock += 1
    assert desk.seen().arms == {}
    assert desk.seen().arms[2].requests == 100


def test_a_prometheus_that_cannot_be_reached_is_named(desk: Desk) -> None:
    desk.reader(url="http://127.0.0.1:9/prom/").steer(steering())
    seen = desk.seen()
    assert "Prometheus http://127.0.0.1:9/prom/, query time()" in seen.blind
    assert "does not answer" in seen.blind


def test_the_token_is_read_anew_and_a_file_that_is_missing_is_named(
    desk: Desk, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    desk.begun(token_file=str(token))
    assert str(token) in desk.seen().blind
    for text in ("first", "second"):
        token.write_text(f"{text}\n")
        desk.scraped()
        assert desk.prometheus.authorizations[-1] == f"Bearer {text}"
    desk.reader(ca_file=str(tmp_path / "none.pem")).steer(steering())
    assert "a file for its connection cannot be read" in desk.seen().blind


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"queries": {"requests": "sum(x)"}}, "does not say {version}"),
        ({"queries": {"scraped": ""}}, "scraped is empty"),
        ({"queries": {"requests": ""}}, "requests is empty"),
        ({"queries": {"labelled_loss": ""}}, "labelled_loss is empty"),
        ({"queries": {"predicted": ""}}, "predicted is empty"),
        ({"url": "prometheus:9090"}, "must begin with http"),
        ({"latency_edges": [0.1]}, "two at least"),
        ({"latency_edges": [0.2, 0.1]}, "must be above 0 and rise"),
        ({"stale_after": 0}, "stale_after"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        PrometheusSpec.parse(changes, where="w")
    assert said in str(refused.value)


def test_queries_of_somebody_else_s_metrics(desk: Desk) -> None:
    query = 'istio_requests{destination="{service}-v{version}"}'
    desk.begun(queries={"requests": query, "seconds": "", "scores": "", "predicted": ""})
    name = {"__name__": "istio_requests", "destination": "adult-v2", "code": "0"}
    desk.candidate.figures[frozenset(name.items())] = 3
    assert desk.scraped().arms[2] == ArmSummary(requests=3, server_errors=3)
