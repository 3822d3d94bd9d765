"""The arms of an experiment at the proxy: who gets which, and what is written down of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from router_parts import FEEDBACK, Backend, Steered, binary, running_proxy, says, serving
from running_process import free_port, until

from penstock.rollout.backends.local.state import LocalState
from penstock.serving.request_headers import REPLAY

USERS = {"identity": "2-experiment-x", "salt": "grain", "header": "x-user-id"}
CLIENTS = [f"client-{number}" for number in range(60)]

Two = tuple[Steered, Backend, Backend]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with running_proxy(tmp_path) as proxy, serving(says, says) as (stable, candidate):
        proxy.folder.events(USERS["identity"]).parent.mkdir(parents=True)
        stable.said, candidate.said = binary("no", score=0.25), binary("yes", score=0.75)
        yield proxy, stable, candidate


def _arm(proxy: Steered, user: str = "", **given: Any) -> str:
    headers = {"x-user-id": user} if user else {}
    answer = proxy.post(headers=headers | given.pop("headers", {}), **given).json()
    return "candidate" if answer["predictions"] == ["yes"] else "stable"


def _events(proxy: Steered) -> list[dict[str, Any]]:
    path = proxy.folder.events(USERS["identity"])
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line]


def _challengers(proxy: Steered) -> set[str]:
    return {client for client in CLIENTS if _arm(proxy, client) == "candidate"}


def test_a_user_keeps_the_version_over_restarts_and_moves_only_to_the_challenger(
    two: Two, tmp_path: Path
) -> None:
    proxy, stable, candidate = two
    moved: set[str] = set()
    for weight in (5, 20, 50):
        proxy.arms(stable.port, candidate.port, weight=weight, experiment=USERS)
        now = _challengers(proxy)
        assert moved <= now
        # Five standard deviations of a binomial draw.
        spread = 5 * math.sqrt(len(CLIENTS) * weight * (100 - weight)) / 100
        assert abs(len(now) - len(CLIENTS) * weight / 100) <= spread
        # Another server of the same version, another table: the same users.
        proxy.arms(stable.port, candidate.port, weight=weight, experiment=USERS, fresh="again")
        assert _challengers(proxy) == now
        moved = now
    with running_proxy(tmp_path / "other") as other:
        other.folder.events(USERS["identity"]).parent.mkdir(parents=True)
        other.arms(stable.port, candidate.port, weight=50, experiment=USERS)
        assert _challengers(other) == moved
        # The next experiment meets other users first.
        other.arms(stable.port, candidate.port, weight=50, experiment=USERS | {"salt": "sand"})
        assert _challengers(other) != moved
    proxy.arms(stable.port, candidate.port, weight=0, experiment=USERS)
    assert _challengers(proxy) == set()


def test_requests_without_a_user_get_the_champion_and_are_counted_apart(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, weight=50, experiment=USERS)
    assert {_arm(proxy) for _ in range(30)} == {"stable"}
    assert _arm(proxy, headers={"x-user-id": ""}) == "stable"
    users = CLIENTS[:20]
    for client in users:
        _arm(proxy, client)
    until(lambda: sum(event.get("n", 0) for event in _events(proxy)) == 31)
    requests = [event for event in _events(proxy) if event["e"] == "request"]
    assert len({event["user"] for event in requests}) == len(requests) == len(users)
    assert not any(client in json.dumps(requests) for client in users)
    # What has no user is no evidence on either version.
    arms = proxy.observe().arms
    assert arms[1].requests + arms[2].requests == len(users)


def test_replayed_requests_and_those_that_name_a_version_are_of_nobody(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, weight=50, experiment=USERS)
    key = {REPLAY: proxy.folder.key()}
    assert {_arm(proxy, client, headers=key) for client in CLIENTS[:8]} <= {"stable", "candidate"}
    _arm(proxy, "ann", path="/v1/models/adult/versions/2:predict")
    until(lambda: sum(event.get("n", 0) for event in _events(proxy)) == 1)
    assert [event["e"] for event in _events(proxy)] == ["apart"]


def test_a_value_is_written_down_by_the_request_and_no_server_gets_it(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, weight=50, experiment=USERS)
    answer = proxy.post(headers={"x-user-id": "ann"})
    request = answer.request.headers.get("x-request-id") or "given"
    before = len(stable.seen) + len(candidate.seen)
    entries = [
        {"request_id": request, "value": 12.5},
        {"request_id": request, "row": 1, "value": 3},
    ]
    given = proxy.post(FEEDBACK, json={"labels": entries})
    assert (given.status_code, given.json()) == (200, {"values": 2})
    assert len(stable.seen) + len(candidate.seen) == before
    found = [event for event in _events(proxy) if event["e"] == "feedback"]
    assert [(one["id"], one["row"], one["value"]) for one in found] == [
        (request, 0, 12.5), (request, 1, 3)
    ]  # fmt: skip


def test_a_value_that_is_no_number_or_of_no_row_is_refused_and_nothing_is_written(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, weight=50, experiment=USERS)
    values: list[Any] = ["12", True, None]
    rows: list[Any] = [-1, 0.5, True, 1e300, 1 << 64]
    refused = [({"row": 1, "value": value}, "labels[1].value") for value in values]
    refused += [({"value": 1.0, "row": row}, "labels[1].row must be a row's index") for row in rows]
    for bad, said in refused:
        labels = [{"request_id": "a", "value": 1.0}, {"request_id": "a", **bad}]
        given = proxy.post(FEEDBACK, json={"labels": labels})
        assert given.status_code == 400, bad
        assert said in given.json()["error"]
    assert not [event for event in _events(proxy) if event["e"] == "feedback"]


def test_without_an_experiment_a_value_is_taken_and_counts_nowhere(two: Two) -> None:
    proxy, stable, _ = two
    proxy.arms(stable.port)
    given = proxy.post(FEEDBACK, json={"labels": [{"request_id": "a", "value": 1.0}]})
    assert (given.status_code, given.json()) == (200, {"values": 0})


def test_labels_count_only_where_a_server_took_them(two: Two) -> None:
    proxy, stable, candidate = two
    cost = USERS | {"labels": True}
    proxy.arms(stable.port, candidate.port, weight=50, experiment=cost)
    _arm(proxy, "ann")
    body = {"labels": [{"request_id": "a", "label": "yes", "value": 3.0}]}
    stable.status = candidate.status = 400
    assert proxy.post(FEEDBACK, json=body).status_code == 400
    assert not [event for event in _events(proxy) if event["e"] == "feedback"]
    sums = {"requests": 1, "loss": 0.1, "squared": 0.01}
    nothing = {"requests": 0, "loss": 0, "squared": 0}
    said = {"joined": 1, "unknown": 0, "repeated": 0, "live": sums, "mirrored": nothing}
    stable.status = candidate.status = 200
    stable.said = candidate.said = json.dumps(said).encode()
    assert proxy.post(FEEDBACK, json=body).status_code == 200
    events = _events(proxy)
    assert events[0]["labels"] in (["no"], ["yes"])
    assert [event["label"] for event in events if event["e"] == "feedback"] == ["yes"]


def test_what_follows_half_a_line_is_whole(two: Two) -> None:
    proxy, stable, candidate = two
    path = proxy.folder.events(USERS["identity"])
    path.write_text('{"e": "requ')
    proxy.arms(stable.port, candidate.port, weight=50, experiment=USERS)
    _arm(proxy, "ann")
    until(lambda: len(path.read_text().splitlines()) == 2)
    assert json.loads(path.read_text().splitlines()[1])["e"] == "request"


def test_a_challenger_that_is_not_reached_is_answered_for_and_stays_the_users_arm(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, weight=50, experiment=USERS)
    mine = sorted(_challengers(proxy))[0]
    until(lambda: len(_events(proxy)) == len(CLIENTS))
    proxy.arms(stable.port, free_port(), weight=50, experiment=USERS)
    before = len(_events(proxy))
    assert _arm(proxy, mine) == "stable"
    # What came of a request is written down after its answer: both attempts are of the user's arm.
    until(lambda: len(_events(proxy)) == before + 2)
    assert [event["arm"] for event in _events(proxy)[before:]] == ["candidate", "candidate"]


def test_a_state_without_an_experiment_is_written_as_before() -> None:
    state = LocalState(service="adult", port=1)
    assert "experiment" not in json.dumps(state.payload())
    given = state.model_dump(mode="json") | {"assignment": {"experiment": USERS}}
    kept = LocalState.parse({"record": "penstock/service", "schema_version": 1, **given}, where="")
    assert LocalState.loads(kept.dumps(), where="").assignment.experiment is not None
