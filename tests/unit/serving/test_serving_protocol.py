"""Requests to columns and answers to responses, for all three tasks, without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.model import LoadedModel, load
from penstock.serving import protocol
from penstock.serving.answer import answer_of
from penstock.serving.protocol import RequestError


def _answer(loaded: LoadedModel, rows: list[dict[str, Any]]) -> Any:
    columns = protocol.v1_columns(
        {"instances": rows}, columns=loaded.record.columns, max_rows=10_000
    )
    return answer_of(loaded, loaded.frame(columns))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_answer_is_the_models_own(
    task: str, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    loaded = load(models(task))
    frame = loaded.frame({name: [row[name] for row in instances] for name in instances[0]})
    scores = loaded.scores(frame)
    answer = _answer(loaded, instances)
    assert answer.labels == loaded.labels(frame).tolist()
    if task == "binary":
        positive = loaded.record.classes.index("yes")
        assert [row[positive] for row in answer.probabilities] == scores.tolist()
        assert {sum(row) for row in answer.probabilities} == {1.0}
        assert {"yes", "no"} == set(answer.labels)
    elif task == "multiclass":
        assert answer.probabilities == scores.tolist()
    else:
        assert answer.labels == scores.tolist()
        assert answer.probabilities is None


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_responses_say_what_answered_and_match_their_metadata(
    task: str, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    loaded = load(models(task))
    record, answer = loaded.record, _answer(loaded, instances)
    v1 = protocol.v1_response(answer, record=record, name="adult", version="3")
    v2 = protocol.v2_response(answer, record=record, name="adult", version="3", request_id="r1")
    for body in (v1, v2):
        assert (body["model_name"], body["model_version"]) == ("adult", "3")
        assert orjson.loads(protocol.encode(body)) == body
    assert v1["dataset"] == v2["parameters"]["dataset"] == record.dataset
    assert v2["id"] == "r1"
    described = protocol.output_tensors(record)
    for tensor, described_one in zip(v2["outputs"], described, strict=True):
        assert tensor["datatype"] == described_one["datatype"]
        size = 1
        for edge in tensor["shape"]:
            size *= edge
        assert len(tensor["data"]) == size
    assert v2["outputs"][0]["data"] == v1["predictions"]
    if task == "regression":
        assert "probabilities" not in v1
    else:
        assert v1["classes"] == list(record.classes)
        assert orjson.loads(v2["parameters"]["classes"]) == list(record.classes)
        assert len(v1["probabilities"][0]) == len(v1["classes"])


def test_times_of_any_zone_are_the_same_moment(models: Callable[..., Path]) -> None:
    columns = load(models()).record.columns
    row = {"age": 1, "hours per-week": 1, "member": True, "job": "x"}
    times = ["2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "2026-01-31 12:00:00"]
    rows = [row | {"since": time} for time in times]
    taken = protocol.v1_columns({"instances": rows}, columns=columns, max_rows=3)["since"]
    assert len(set(taken)) == 1


def test_more_rows_than_allowed_are_refused(
    models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    columns = load(models()).record.columns
    with pytest.raises(RequestError, match="20 rows in one request; at most 19") as caught:
        protocol.v1_columns({"instances": instances}, columns=columns, max_rows=19)
    assert caught.value.status == 413
