"""Requests to columns and answers to responses, for all three tasks, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from penstock.model import LoadedModel, load
from penstock.records.dataset import Column
from penstock.records.model import Abstention, Model
from penstock.serving import requests, responses
from penstock.serving.columns import Intake
from penstock.serving.prediction import Prediction, prediction_of, row_scores
from penstock.serving.request_errors import RequestError
from penstock.serving.service import Limits, Service

TASKS = pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])


def _intake(loaded: LoadedModel, **options: Any) -> Intake:
    return Intake(loaded.record.columns, levels={}, **options)


def _answer(loaded: LoadedModel, rows: list[dict[str, Any]]) -> tuple[Prediction, Any]:
    intake = _intake(loaded)
    values, row = requests.v1_columns({"instances": rows}, intake=intake, max_rows=10_000)
    scores = loaded.scores_of(intake.convert(values, row=row).arrays)
    return prediction_of(loaded.record, labels=loaded.labels_of(scores), scores=scores), scores


@TASKS
def test_the_answer_is_the_models_own(
    task: str, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    loaded = load(models(task))
    frame = loaded.frame({name: [row[name] for row in instances] for name in instances[0]})
    scores = loaded.scores(frame)
    answer, found = _answer(loaded, instances)
    assert (found == scores).all()
    assert answer.labels == loaded.labels(frame).tolist()
    if task == "binary":
        positive = loaded.record.classes.index("yes")
        assert [row[positive] for row in answer.probabilities or []] == scores.tolist()
        assert {sum(row) for row in answer.probabilities or []} == {1.0}
        assert set(answer.labels) == {"yes", "no"}
        assert row_scores(loaded.record, scores).tolist() == scores.tolist()
    elif task == "multiclass":
        assert answer.probabilities == scores.tolist()
        best = [max(row) for row in answer.probabilities or []]
        assert row_scores(loaded.record, scores).tolist() == best
    else:
        assert answer.labels == scores.tolist()
        assert answer.probabilities is None


@TASKS
def test_responses_say_what_answered_and_match_their_metadata(
    task: str, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    loaded = load(models(task))
    record, (answer, _) = loaded.record, _answer(loaded, instances)
    described = responses.output_tensors(record)
    said: Any = {"record": record, "name": "adult", "version": "3"}
    v1 = responses.v1_response(answer, **said)
    names = [tensor["name"] for tensor in described]
    v2 = responses.v2_response(answer, **said, request_id="r1", outputs=names)
    v1, v2 = (orjson.loads(responses.encode(body)) for body in (v1, v2))
    for body in (v1, v2):
        assert (body["model_name"], body["model_version"]) == ("adult", "3")
    assert v1["dataset"] == v2["parameters"]["dataset"] == record.dataset_version
    assert v2["id"] == "r1"
    for tensor, described_one in zip(v2["outputs"], described, strict=True):
        assert tensor["datatype"] == described_one["datatype"]
        assert len(tensor["data"]) == int(np.prod(tensor["shape"]))
    assert v2["outputs"][0]["data"] == v1["predictions"]
    assert ("positive" in v1) == ("positive" in v2["parameters"]) == (task == "binary")
    if task == "regression":
        assert "probabilities" not in v1
    else:
        assert v1["classes"] == list(record.classes)
        assert orjson.loads(v2["parameters"]["classes"]) == list(record.classes)
        assert len(v1["probabilities"][0]) == len(v1["classes"])


def test_rows_that_are_left_to_people_are_marked_beside_the_answers() -> None:
    facts: Any = {"task": "binary", "classes": ("no", "yes"), "positive": "yes", "table": "t"}
    plain = Model.model_construct(**facts)
    asking = Model.model_construct(**facts, abstention=Abstention(low=0.05, high=0.75))
    scores, labels = np.array([0.01, 0.4, 0.9]), np.array(["no", "yes", "yes"])
    said: Any = {"name": "adult", "version": "3"}
    v1, v2 = [], []
    for record in (plain, asking):
        answer = prediction_of(record, labels=labels, scores=scores)
        v1.append(responses.v1_response(answer, record=record, **said))
        names = [tensor["name"] for tensor in responses.output_tensors(record)]
        v2.append(
            responses.v2_response(answer, record=record, **said, request_id=None, outputs=names)
        )
    assert v1[1].pop("abstained") == [False, True, False]
    assert v2[1]["parameters"].pop("abstained") == "[false,true,false]"
    # What a client reads of an answer stays as it is.
    assert v1[0] == v1[1]
    assert v2[0] == v2[1]


def test_all_protocols_carry_the_same_rows(
    models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    service = Service(load(models()), name="adult", version="3")
    names = list(instances[0])[::-1]
    data = [[row[name] for name in names] for row in instances]
    plain = service.predict(orjson.dumps({"instances": instances}), "v1")
    for form in (
        {"dataframe_split": {"columns": names, "data": data}},
        {"dataframe_split": {"columns": names, "data": data, "index": list(range(20))}},
        {"dataframe_records": instances, "params": {}},
        {"instances": instances},
    ):
        assert service.predict(orjson.dumps(form), "mlflow").body == plain.body
    kinds = {"age": ("FP64", "np"), "job": ("BYTES", "str"), "member": ("BOOL", "pd")}
    kinds |= {"hours per-week": ("FP32", "np"), "since": ("BYTES", "datetime")}
    tensors = [
        {
            "name": name,
            "datatype": kind,
            "shape": [20, 1],
            "parameters": {"content_type": content, "other": 1},
            "data": [[row[name]] for row in instances],
        }
        for name, (kind, content) in kinds.items()
    ]
    pandas = {"parameters": {"content_type": "pd"}, "inputs": tensors}
    outcome = service.predict(orjson.dumps(pandas), "v2")
    assert outcome.scores.tolist() == plain.scores.tolist()
    assert [t["name"] for t in json.loads(outcome.body)["outputs"]] == [
        "predictions",
        "probabilities",
    ]
    asked = pandas | {"outputs": [{"name": "probabilities"}]}
    found = json.loads(service.predict(orjson.dumps(asked), "v2").body)["outputs"]
    assert [tensor["name"] for tensor in found] == ["probabilities"]


def test_times_of_any_zone_are_the_same_moment(models: Callable[..., Path]) -> None:
    intake = _intake(load(models()))
    times = ["2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "2026-01-31 12:00:00"]
    columns: Any = {name: [None] * 3 for name in intake.names} | {"since": times}
    taken = intake.convert(columns, row="{}").arrays["since"]
    assert taken.tolist() == [np.datetime64("2026-01-31T12:00:00", "us").item()] * 3


def test_what_is_missing_or_new_is_counted() -> None:
    columns = [Column(name="n", type="integer"), Column(name="c", type="string")]
    columns.append(Column(name="t", type="datetime"))
    intake = Intake(columns, levels={"c": frozenset(["a"])})
    given: Any = {"n": [1, None, None], "c": ["a", "b", None], "t": [None] * 3}
    batch = intake.convert(given, row="{}")
    assert (batch.rows, batch.missing, batch.unseen) == (3, {"n": 2, "c": 1, "t": 3}, {"c": 1})
    assert np.isnan(batch.arrays["n"]).tolist() == [False, True, True]
    rejecting = Intake(columns, levels={"c": frozenset(["a"])}, unseen="reject")
    with pytest.raises(RequestError, match='row 1, column "c": "b" is not a value') as caught:
        rejecting.convert(given, row="row {}")
    assert caught.value.status == 422


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63), 2**63 - 1, 0.0, 1e15])
def test_whole_numbers_of_any_size_are_taken(value: float) -> None:
    intake = Intake([Column(name="n", type="integer")], levels={})
    assert intake.convert({"n": [value]}, row="{}").arrays["n"].tolist() == [float(value)]


@pytest.mark.parametrize("value", [2**63 + 3000, -(2**63) - 3000, 0.5, 1e300])
def test_what_is_no_whole_number_of_64_bits_is_refused(value: float) -> None:
    intake = Intake([Column(name="n", type="integer")], levels={})
    with pytest.raises(RequestError, match='row 0, column "n": expected a whole number'):
        intake.convert({"n": [value]}, row="row {}")


def test_more_rows_than_allowed_are_refused(
    models: Callable[..., Path], instances: list[dict[str, Any]]
) -> None:
    service = Service(load(models()), name="a", version="1", limits=Limits(rows=19))
    with pytest.raises(RequestError, match="20 rows in one request; the limit is 19") as caught:
        service.predict(orjson.dumps({"instances": instances}), "v1")
    assert caught.value.status == 413
