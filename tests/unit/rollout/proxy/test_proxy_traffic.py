"""What the proxy does with predictions: assignment, mirroring, retry, counting, labels."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from router_parts import (
    FEEDBACK,
    GRIDS,
    PREDICT,
    Backend,
    Steered,
    bin_of,
    binary,
    running_proxy,
    says,
    serving,
)
from running_process import RunningProcess, free_port, listens, silent_port, until

from penstock.records.rollout import ArmSummary, HistogramBuckets, Labelled, Pairs
from penstock.rollout.proxy.response_parsing import parse
from penstock.serving import request_headers

Two = tuple[Steered, Backend, Backend]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    with running_proxy(tmp_path_factory.mktemp("proxy")) as parts:
        yield parts


@pytest.fixture
def two(proxy: Steered) -> Iterator[Two]:
    """A proxy, and new servers of the stable version and the candidate."""
    with serving(says, says) as (stable, candidate):
        stable.said, candidate.said = binary("no", score=0.25), binary("yes", score=0.75)
        yield proxy, stable, candidate


def _version(proxy: Steered, **given: Any) -> str:
    return "candidate" if proxy.post(**given).json()["predictions"] == ["yes"] else "stable"


def test_a_client_that_was_moved_stays_moved(two: Two) -> None:
    proxy, stable, candidate = two
    moved: set[str] = set()
    clients = [f"client-{number}" for number in range(75)]
    for weight in (0, 10, 40, 75, 100):
        proxy.arms(stable.port, candidate.port, weight=weight, sticky_header="x-user")
        now = {c for c in clients if _version(proxy, headers={"X-User": c}) == "candidate"}
        assert moved <= now
        # Five standard deviations of a binomial draw.
        spread = 5 * math.sqrt(len(clients) * weight * (100 - weight)) / 100
        assert abs(len(now) - len(clients) * weight / 100) <= spread
        again = {c for c in clients[:30] if _version(proxy, headers={"x-user": c}) == "candidate"}
        assert again == now & set(clients[:30])
        moved = now
    proxy.arms(stable.port, candidate.port, weight=0, sticky_header="x-user")
    assert _version(proxy, headers={"x-user": clients[0]}) == "stable"


def test_a_client_may_choose_a_version_that_has_traffic(two: Two) -> None:
    proxy, stable, candidate = two
    for weight, chosen, expected in (
        (1, "candidate", {"candidate"}),
        (99, "stable", {"stable"}),
        (100, "stable", {"stable"}),
        (0, "candidate", {"stable"}),
        (100, "nonsense", {"candidate"}),
    ):
        proxy.arms(stable.port, candidate.port, weight=weight, choice_header="x-version")
        got = {_version(proxy, headers={"x-version": chosen}) for _ in range(10)}
        assert got == expected, (weight, chosen)


def test_a_request_that_names_a_version_reaches_it_and_is_not_copied(two: Two) -> None:
    proxy, stable, candidate = two
    for weight, named, expected in (
        (99, 1, "stable"),
        (1, 2, "candidate"),
        (0, 2, "stable"),
        (0, 9, "stable"),
        (100, 9, "candidate"),
    ):
        proxy.arms(stable.port, candidate.port, weight=weight)
        for path in (
            f"/v2/models/a/versions/{named}/infer",
            f"/v1/models/a/versions/{named}:predict",
        ):
            got = {_version(proxy, path=path) for _ in range(5)}
            assert got == {expected}, (weight, named)
    proxy.arms(stable.port, candidate.port, mirror=1.0, fresh="mirror")
    before = len(candidate.seen)
    assert _version(proxy, path="/v2/models/a/versions/1/infer?a=/versions/2/") == "stable"
    assert _version(proxy) == "stable"
    assert proxy.pairs_of(1).candidate.requests == 1
    assert len(candidate.seen) == before + 1


def test_counts_are_of_predictions_alone(two: Two) -> None:
    proxy, stable, _ = two
    proxy.arms(stable.port)
    assert proxy.client.get("/v2/health/ready").status_code == 200
    assert proxy.client.post("/v1/models/adult:explain", json={}).status_code == 200
    stable.said = binary("no", score=0.31, rows=3)
    proxy.post()
    proxy.post("/v2/models/adult/infer?x=1", headers={"x-penstock-replay": proxy.folder.key()})
    forged = dict.fromkeys(request_headers.ROLLOUT, "1") | {"user-agent": "penstock-smoke"}
    proxy.post(headers=forged)
    for stable.status in (422, 500, 503):
        assert proxy.post().status_code == stable.status
    until(lambda: proxy.arm().requests == 6)
    counted = proxy.arm()
    assert (counted.client_errors, counted.server_errors, counted.unreachable) == (1, 2, 0)
    assert counted.replayed == 1
    assert counted.scores == {bin_of(GRIDS.scores, 0.31): 3}, "one row of each request"
    assert counted.labels == {"no": 3}
    assert sum(counted.latency.values()) == 3


def test_latency_is_counted_in_the_bin_it_belongs_to(two: Two) -> None:
    proxy, stable, _ = two
    proxy.arms(stable.port)
    stable.delay = 0.3
    proxy.post()
    until(lambda: proxy.arm().requests == 1)
    ((place, count),) = proxy.arm().latency.items()
    assert count == 1
    assert bin_of(GRIDS.latency, 0.28) <= place <= bin_of(GRIDS.latency, 0.9)


def test_counters_last_as_long_as_what_they_count(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, weight=0, mirror=1.0)
    proxy.post()
    epoch, pairs = proxy.observe().epoch, proxy.pairs_of(1)
    # The candidate is promoted: the same server goes on under another role.
    proxy.arms(stable.port, candidate.port, weight=100)
    proxy.post()
    until(lambda: proxy.arm(2).requests == 1)
    assert (proxy.arm(1).requests, proxy.observe().pairs, proxy.observe().epoch) == (
        1,
        pairs,
        epoch,
    )
    proxy.arms(stable.port, candidate.port, fresh="another")
    found = proxy.observe()
    assert found.pairs == Pairs()
    assert found.arms == {1: ArmSummary(), 2: ArmSummary()}
    assert found.epoch == epoch
    proxy.arms(stable.port, candidate.port, fresh="another", grids=HistogramBuckets(scores=(0.5,)))
    assert proxy.observe().epoch != epoch
    proxy.post()
    until(lambda: proxy.arm().requests == 1)
    assert proxy.arm().scores == {0: 1}


def test_copies_are_compared_and_never_seen(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, mirror=1.0)
    for asked, (label, rows) in enumerate((("no", 3), ("yes", 2)), start=1):
        stable.said = binary("no", score=0.25, rows=rows)
        candidate.said = binary(label, rows=rows)
        assert proxy.post().json()["predictions"] == ["no"] * rows
        pairs = proxy.pairs_of(asked)
    assert (pairs.rows, pairs.agreeing, pairs.dropped) == (2, 1, 0)
    assert pairs.stable.requests == pairs.candidate.requests == 2
    assert pairs.stable.scores == {bin_of(GRIDS.scores, 0.25): 2}
    assert pairs.candidate.scores == {bin_of(GRIDS.scores, 0.75): 2}
    assert pairs.candidate.labels == {"no": 1, "yes": 1}
    assert sum(pairs.candidate.latency.values()) == sum(pairs.stable.latency.values()) == 2
    assert [seen["x-penstock-mirror"] for seen in candidate.seen] == [proxy.folder.key()] * 2
    assert all("x-penstock-mirror" not in seen for seen in stable.seen)
    ids = [[seen["x-request-id"] for seen in backend.seen] for backend in (stable, candidate)]
    assert ids[0] == ids[1]
    # What is its own is counted apart from what was only copied to it.
    assert proxy.arm(2) == ArmSummary()
    assert proxy.arm(1).requests == 2


@pytest.mark.parametrize(
    ("status", "client_errors", "server_errors"), [(422, 1, 0), (500, 0, 1), (0, 0, 1)]
)
def test_a_copy_that_fails_is_counted_and_not_seen(
    two: Two, status: int, client_errors: int, server_errors: int
) -> None:
    proxy, stable, candidate = two
    candidate.status = status or 200
    with silent_port() as closed:
        port = candidate.port if status else closed
        proxy.arms(stable.port, port, mirror=1.0)
        assert proxy.post().status_code == 200
        pairs = proxy.pairs_of(1)
    got = pairs.candidate
    assert (got.client_errors, got.server_errors) == (client_errors, server_errors)
    assert got.unreachable == (0 if status else 1)
    assert (pairs.rows, pairs.stable.requests, pairs.stable.client_errors) == (0, 1, 0)


def test_a_slow_candidate_delays_nobody_and_fills_nothing(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, mirror=1.0)
    candidate.delay = 5
    started = time.monotonic()
    for _ in range(100):
        assert proxy.post().status_code == 200
    assert time.monotonic() - started < 4.5
    # 64 are under way; the others were not sent.
    pairs = proxy.observe().pairs
    assert (pairs.dropped, pairs.candidate.requests) == (36, 0)
    large = b"x" * 2_000_000
    assert proxy.post(json=None, content=large).status_code == 200
    assert proxy.observe().pairs.dropped == 37


def test_a_share_is_mirrored(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, mirror=0.3)
    for _ in range(300):
        proxy.post()
    until(lambda: proxy.arm().requests == 300)
    # Five standard deviations of a binomial draw around 90 of 300.
    assert 50 <= proxy.pairs_of(50).candidate.requests <= 130


def test_regressions_agree_within_a_tenth(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(
        stable.port, candidate.port, mirror=1.0, grids=HistogramBuckets(scores=(0.0, 5.0, 50.0))
    )
    answers = ((10.0, 10.9), (10.0, 11.5), (0.0, 0.0), (-3.0, 3.0))
    for asked, (one, other) in enumerate(answers, start=1):
        stable.said = orjson.dumps({"predictions": [one]})
        candidate.said = orjson.dumps({"predictions": [other]})
        proxy.post()
        pairs = proxy.pairs_of(asked)
    assert (pairs.rows, pairs.agreeing) == (4, 2)
    assert pairs.stable.scores == {0: 1, 1: 1, 2: 2}
    assert pairs.stable.labels == {}


def test_a_request_is_one_unit_of_evidence_whatever_its_rows(two: Two) -> None:
    proxy, stable, candidate = two
    proxy.arms(stable.port, candidate.port, mirror=1.0)
    rows = 1000
    stable.said = orjson.dumps({"predictions": ["no"] * rows, "classes": ["no", "yes"]})
    candidate.said = orjson.dumps({"predictions": ["yes"] * rows, "classes": ["no", "yes"]})
    for _ in range(3):
        proxy.post()
    pairs = proxy.pairs_of(3)
    assert (pairs.rows, pairs.agreeing) == (3, 0)
    assert pairs.candidate.labels == proxy.observe().pairs.candidate.labels == {"yes": 3}
    # Both versions' figures are of the same row.
    half = ["no", "yes"] * (rows // 2)
    stable.said = candidate.said = orjson.dumps({"predictions": half, "classes": ["no", "yes"]})
    for _ in range(30):
        proxy.post()
    pairs = proxy.pairs_of(33)
    assert (pairs.rows, pairs.agreeing) == (33, 30)
    assert 5 <= pairs.stable.labels["yes"] <= 25, "drawn, not the first or the last"


def test_what_could_not_be_sent_is_sent_to_the_other(two: Two) -> None:
    proxy, stable, candidate = two
    with silent_port() as nobody:
        proxy.arms(stable.port, nobody, weight=100)
        for content in (b"{}", b"x" * 2_000_000):
            assert proxy.post(json=None, content=content).json()["predictions"] == ["no"]
        until(lambda: proxy.arm(1).requests == 2)
        failing = proxy.arm(2)
        assert (failing.requests, failing.unreachable, failing.server_errors) == (2, 2, 2)
        assert proxy.arm(1).server_errors == 0
        # The stable version fails: the candidate answers only if it has traffic at all.
        proxy.arms(nobody, candidate.port, weight=1, choice_header="x-version")
        choice = {"x-version": "stable"}
        assert proxy.post(headers=choice).json()["predictions"] == ["yes"]
        proxy.arms(nobody, candidate.port, weight=0)
        refused = proxy.post()
        assert refused.status_code == 502
        assert "version 1 cannot be reached" in refused.json()["error"]
        assert refused.headers["x-request-id"]
    assert len(candidate.seen) == 1


def test_what_was_sent_is_not_sent_twice(two: Two) -> None:
    proxy, stable, _ = two

    async def breaks(_: Backend, request: web.BaseRequest) -> web.StreamResponse:
        request.transport.close()
        return web.Response()

    with serving(breaks) as (broken,):
        proxy.arms(stable.port, broken.port, weight=100)
        response = proxy.post()
        assert response.status_code == 502
        assert "version 2 did not answer" in response.json()["error"]
        assert (len(broken.seen), len(stable.seen)) == (1, 0)
        until(lambda: proxy.arm(2).requests == 1)
        counted = proxy.arm(2)
    assert (counted.server_errors, counted.unreachable) == (1, 0)


async def _joins(backend: Backend, request: web.BaseRequest) -> web.StreamResponse:
    """Predict, and score labels as the model server does: live ones and mirrored ones apart."""
    body = orjson.loads(await request.content.read())
    if request.path == PREDICT:
        return web.Response(body=binary("yes"), content_type="application/json")
    if any(label["label"] not in ("yes", "no") for label in body["labels"]):
        return web.json_response({"error": "labels[0].label is not a class"}, status=400)
    own = {seen["x-request-id"]: "x-penstock-mirror" in seen for seen in backend.seen}
    known = [own[label["request_id"]] for label in body["labels"] if label["request_id"] in own]
    sums = [
        {"requests": one, "loss": one * backend.delay, "squared": one * backend.delay**2}
        for one in (len(known) - sum(known), sum(known))
    ]
    return web.json_response(
        {
            "joined": len(known),
            "unknown": len(body["labels"]) - len(known),
            "repeated": 0,
            "live": sums[0],
            "mirrored": sums[1],
            "model_name": "adult",
            "model_version": "1",
        }
    )


def test_labels_reach_whoever_answered(proxy: Steered) -> None:
    with serving(_joins, _joins) as (stable, candidate):
        stable.delay, candidate.delay = 0.25, 0.5
        ids = [f"r{number}" for number in range(9)]
        for weight, mirror, some in ((0, 0.0, ids[:2]), (0, 1.0, ids[2:5]), (100, 0.0, ids[5:])):
            proxy.arms(stable.port, candidate.port, weight=weight, mirror=mirror)
            for request_id in some:
                assert proxy.post(headers={"x-request-id": request_id}).status_code == 200
        proxy.pairs_of(3)
        proxy.arms(stable.port, candidate.port, weight=50)
        labels = [{"request_id": i, "row": 0, "label": "yes"} for i in [*ids, "nobody"]]
        answer = proxy.post(FEEDBACK, json={"labels": labels})
        assert answer.status_code == 200
        said = answer.json()
        assert (said["joined"], said["unknown"], said["model_name"]) == (9, 1, "adult")
        assert said["live"] == {"requests": 9, "loss": 5 * 0.25 + 4 * 0.5, "squared": 1.3125}
        assert said["mirrored"]["requests"] == 3
        found = proxy.observe()
        assert found.arms[1].labelled == Labelled(requests=5, loss=1.25, squared=0.3125)
        assert found.arms[2].labelled == Labelled(requests=4, loss=2.0, squared=1.0)
        # Both sides of the pairs hold the three rows that both answered, and no other.
        assert found.pairs.stable.labelled == Labelled(requests=3, loss=0.75, squared=0.1875)
        assert found.pairs.candidate.labelled == Labelled(requests=3, loss=1.5, squared=0.75)
        wrong = proxy.post(FEEDBACK, json={"labels": [{"request_id": "r1", "label": "maybe"}]})
        assert (wrong.status_code, "not a class" in wrong.text) == (400, True)
        assert proxy.observe() == found


def test_labels_that_cannot_be_read_are_refused_by_the_version_itself(two: Two) -> None:
    proxy, stable, candidate = two
    stable.status, stable.said = 400, b'{"error": "no"}'
    proxy.arms(stable.port, candidate.port)
    for content in (b"{", b"[]", b'{"labels": 3}', b'{"labels": []}', b'{"labels": [{}]}'):
        refused = proxy.post(FEEDBACK, json=None, content=content)
        assert (refused.status_code, refused.json()) == (400, {"error": "no"})
    assert candidate.seen == []


_BINARY = [0.2, 0.8, 0.6, 0.4]


@pytest.mark.parametrize(
    ("answer", "labels", "scores"),
    [
        (json.loads(binary("yes", score=0.8)), ["yes"], [0.8]),
        (
            {
                "predictions": ["b", "c"],
                "classes": ["a", "b", "c"],
                "probabilities": [[0.1, 0.7, 0.2], [0.2, 0.2, 0.6]],
            },
            ["b", "c"],
            [0.7, 0.6],
        ),
        ({"predictions": [1.5, -2]}, [1.5, -2], [1.5, -2.0]),
        (
            {
                "parameters": {"classes": '["no", "yes"]', "positive": "yes"},
                "outputs": [
                    {"name": "predictions", "data": ["yes", "no"]},
                    {"name": "probabilities", "shape": [2, 2], "data": _BINARY},
                ],
            },
            ["yes", "no"],
            [0.8, 0.4],
        ),
        (
            {
                "parameters": {"classes": "[0, 1, 2]"},
                "outputs": [
                    {"name": "predictions", "data": [2]},
                    {"name": "probabilities", "data": [0.1, 0.2, 0.7]},
                ],
            },
            [2],
            [0.7],
        ),
        ({"outputs": [{"name": "predictions", "data": [4.0]}]}, [4.0], [4.0]),
    ],
)
def test_answers_are_read(answer: Any, labels: list[Any], scores: list[float]) -> None:
    found = parse(orjson.dumps(answer))
    assert found is not None
    assert (found.labels, found.scores) == (labels, scores)


def test_labels_alone_are_read_too() -> None:
    parameters = {"classes": '["no", "yes"]', "positive": "yes"}
    outputs = [{"name": "predictions", "data": ["yes"]}]
    found = parse(orjson.dumps({"parameters": parameters, "outputs": outputs}))
    assert found is not None
    assert (found.labels, found.scores) == (["yes"], [])


def _binary_answer(**changes: Any) -> tuple[bytes, int]:
    outputs = [
        {"name": "predictions", "datatype": "BYTES", "shape": [2]},
        {"name": "probabilities", "datatype": "FP64", "shape": [2, 2]},
    ]
    blocks = [b"\3\0\0\0yes\2\0\0\0no", struct.pack("<4d", *_BINARY)]
    for output, block in zip(outputs, blocks, strict=True):
        output["parameters"] = {"binary_data_size": len(block)} | changes
    parameters = {"classes": '["no", "yes"]', "positive": "yes"}
    head = orjson.dumps({"parameters": parameters, "outputs": outputs})
    return b"".join([head, *blocks]), len(head)


def test_binary_answers_are_read() -> None:
    body, length = _binary_answer()
    found = parse(body, header_length=length)
    assert found is not None
    assert (found.labels, found.scores) == (["yes", "no"], [0.8, 0.4])
    for size in (-1, 3, 10**9, "x", None):
        broken, length = _binary_answer(binary_data_size=size)
        assert parse(broken, header_length=length) is None
    for wrong in (0, length - 5, length + 5, 10**9):
        assert parse(body, header_length=wrong) is None
    assert parse(body) is None


@pytest.mark.parametrize(
    "answer",
    [
        b'{"outputs": [3]}',
        b"{",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b'{"predictions": 3}',
        b'{"predictions": ["a"]}',
    ],
)
def test_what_is_no_answer_is_left_alone(answer: bytes) -> None:
    assert parse(answer) is None


_CLIENT = """
import asyncio, json, sys, aiohttp

async def main(port, number, at_once):
    counts = {}
    left = number
    async def ask(session):
        nonlocal left
        while left > 0:
            left -= 1
            try:
                async with session.post(f"http://127.0.0.1:{port}/v1/models/a:predict",
                                        data=b"{}") as response:
                    await response.read()
                    key = str(response.status) + response.headers.get("x-penstock-version", "")
            except Exception as error:
                key = repr(error)
            counts[key] = counts.get(key, 0) + 1
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(ask(session) for _ in range(at_once)))
    print(json.dumps(counts))

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), 8))
"""

_ARM = """
import asyncio, sys

class Arm(asyncio.Protocol):
    said = (b"HTTP/1.1 200 OK\\r\\nx-penstock-version: " + sys.argv[2].encode()
            + b"\\r\\ncontent-type: application/json\\r\\ncontent-length: 2\\r\\n\\r\\n{}")
    def connection_made(self, transport):
        self.transport, self.got = transport, b""
    def data_received(self, data):
        self.got += data
        while self.got.endswith(b"{}"):
            self.got = b""
            self.transport.write(self.said)

async def main():
    server = await asyncio.get_running_loop().create_server(Arm, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights",
    [[20, 80, 0], pytest.param([5, 20, 50, 35, 80, 100, 0, 10], marks=pytest.mark.long)],
    ids=len,
)
def test_the_split_is_that_of_the_weights_while_they_change(
    proxy: Steered, tmp_path: Path, weights: list[int]
) -> None:
    total = 1_500 * len(weights)
    with ExitStack() as stack:
        ports = [free_port() for _ in range(2)]
        for version, port in enumerate(ports, start=1):
            command = [sys.executable, "-c", _ARM, port, version]
            arm = stack.enter_context(RunningProcess(command, log=tmp_path / f"{version}.log"))
            arm.wait_until(lambda port=port: listens(port))
        proxy.arms(*ports, weight=weights[0], fresh="split")
        client = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, str(proxy.running.port), str(total)],
            stdout=subprocess.PIPE,
        )
        stack.callback(client.wait)
        stack.callback(client.kill)
        windows = []
        for index, weight in enumerate(weights, start=1):
            before = [proxy.arm(version).requests for version in (1, 2)]
            due = total * index // len(weights)
            until(lambda due=due: sum(proxy.arm(v).requests for v in (1, 2)) >= due, seconds=120)
            after = [proxy.arm(version).requests for version in (1, 2)]
            windows.append((weight, after[0] - before[0], after[1] - before[1]))
            if index < len(weights):
                proxy.arms(*ports, weight=weights[index], fresh="split")
        said, _ = client.communicate(timeout=60)
        counted = [proxy.arm(version) for version in (1, 2)]
    answers = json.loads(said)
    assert answers == {"2001": counted[0].requests, "2002": counted[1].requests}
    assert sum(answers.values()) == total
    assert counted[0].server_errors == counted[1].server_errors == 0
    for weight, stable, candidate in windows:
        asked, share = stable + candidate, weight / 100
        assert asked > 1_000
        # 4.5 standard deviations of a binomial draw, and what was under way at either edge.
        spread = 4.5 * math.sqrt(asked * share * (1 - share)) + 16
        assert abs(candidate - asked * share) <= spread, windows
