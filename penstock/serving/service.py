"""One version of a model, and what it answers to the bytes of a request. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from penstock.records.export import Export
from penstock.records.model import Model
from penstock.serving import cloudevents, requests, responses
from penstock.serving.columns import Batch, Columns, Intake, UnseenPolicy
from penstock.serving.csv_body import csv_columns
from penstock.serving.explaining import Explainer, lacks_background
from penstock.serving.prediction import (
    Prediction,
    Scorer,
    prediction_of,
    row_scores,
    without_score,
)
from penstock.serving.request_errors import RequestError, parse_object

if TYPE_CHECKING:
    from penstock.serving.online_features import OnlineFeatures

Protocol = Literal["v1", "v2", "mlflow"]
Form = Callable[[Prediction], tuple[bytes, int | None]]
"""Makes the body of a response, and says how many bytes of it are JSON; None: all are."""


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for.

    Attributes:
        rows: Rows in one request.
        body: Bytes in one request's body.
        bodies: Bytes of the bodies of all requests under way, beyond 64 KiB each.
        labels: Bytes in the body of a request that brings labels.
        seconds: How long a client may take to send a body, and to take an answer.
        connections: Connections at a time.
        inline: Bytes of a request's body up to which ONNX answers on the event loop itself: a
            handful of rows cost less than handing them to a thread.
    """

    rows: int = 10_000
    body: int = 16 << 20
    bodies: int = 128 << 20
    labels: int = 4 << 20
    seconds: float = 60.0
    connections: int = 1000
    inline: int = 16 << 10


@dataclass(frozen=True)
class Outcome:
    """An answer, and what is to be noted of it.

    Attributes:
        body: The response's body.
        values: The columns, as they were sent.
        batch: The columns, as they were scored.
        scores: One score a row.
        labels: One predicted label a row.
        vectors: One score a class for each row, where there are more than two classes.
        header_length: How many bytes of the body are JSON, binary tensors being the rest; None: all
            are.
    """

    body: bytes
    values: Columns
    batch: Batch
    scores: np.ndarray
    labels: list[Any]
    vectors: list[list[float]] | None = None
    header_length: int | None = None


@dataclass(frozen=True)
class Service:
    """One version of a model under the name that requests use.

    Attributes:
        scorer: The model.
        name: Its name in requests.
        version: Its version.
        limits: How much one request may ask for.
        levels: Values that training saw, by column, for the categories.
        unseen: What becomes of other values in those.
        background: Rows of the training part to explain against, by column, as JSON values;
            empty: the model holds none.
        export: What was exported from it for serving, and how far that is from the model itself.
        missing: Share of the training rows in which a column is missing, 0 to 1, by column; what is
            not known is left out.
        notes: Further fields of the metadata.
        features: What is asked of a feature server for rows that name an entity instead; None:
            rows are whole.
    """

    scorer: Scorer
    name: str
    version: str
    limits: Limits = Limits()
    levels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unseen: UnseenPolicy = "accept"
    background: Mapping[str, list[Any]] = field(default_factory=dict)
    export: Export | None = None
    missing: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    features: OnlineFeatures | None = None
    intake: Intake = field(init=False)
    _output_names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Prepare what every request needs."""
        intake = Intake(
            self.record.columns,
            reading=self.record.reading,
            levels=self.levels,
            unseen=self.unseen,
        )
        object.__setattr__(self, "intake", intake)
        names = [tensor["name"] for tensor in responses.output_tensors(self.record)]
        object.__setattr__(self, "_output_names", names)

    @property
    def record(self) -> Model:
        """What is known of the model."""
        return self.scorer.record

    def predict(
        self,
        body: bytes,
        protocol: Protocol,
        *,
        header_length: int | None = None,
        csv: bool = False,
    ) -> Outcome:
        """Return the answer to a request's body.

        Args:
            body: The body.
            protocol: Of the request.
            header_length: How many bytes of it are JSON, binary tensors being the rest; None: all
                are.
            csv: Whether it is a CSV table, which MLflow's protocol has beside JSON.

        Raises:
            RequestError: If the body does not fit the protocol or the model.
        """
        if csv:
            values, row = csv_columns(body, intake=self.intake, max_rows=self.limits.rows)
            return self._outcome(values, row, self._v1_form)
        text, rest = requests.parts(body, header_length, binary=protocol == "v2")
        request = parse_object(text)
        if protocol == "v1":
            request = cloudevents.data_of(request)
        if protocol != "v2":
            reader = requests.v1_columns if protocol == "v1" else requests.mlflow_columns
            values, row = self._whole(request, reader)
            return self._outcome(values, row, self._v1_form)
        values, row = self._whole(request, partial(requests.v2_columns, rest=rest))
        return self._outcome(values, row, self._v2_form(request))

    def explain(self, body: bytes) -> bytes:
        """Return the contributions of one row's columns to its score, largest first.

        Raises:
            RequestError: If the body is not a v1 request of exactly one row, or the model holds
                nothing to explain against.
        """
        lacking = lacks_background(self.scorer, self.background)
        if lacking:
            raise RequestError(lacking, status=404)
        request = parse_object(body)
        values, row = self._whole(request, requests.v1_columns)
        batch = self.intake.convert(values, row=row)
        if batch.rows != 1:
            raise RequestError(f"one row is explained at a time; the request holds {batch.rows}")
        scores = self._scores(batch, row)
        label = self.scorer.labels_of(scores).tolist()[0]
        explainer = Explainer(self.scorer, self.background)
        found = explainer.explain(batch.arrays, label)
        size = sorted(found.contributions.items(), key=lambda item: -abs(item[1]))
        return responses.encode(
            {
                "explanations": [
                    {"column": name, "value": values[name][0], "contribution": contribution}
                    for name, contribution in size
                ],
                "prediction": label,
                "score": found.score,
                "base": found.base,
                "unit": explainer.unit(label),
                "method": found.method,
                "background_rows": found.background,
                "model_name": self.name,
                "model_version": self.version,
                "dataset": self.record.dataset_version,
            }
        )

    def metadata(self) -> dict[str, Any]:
        """Return the v2 metadata of the model, and what it was checked for."""
        record, export = self.record, self.export
        described: dict[str, Any] = {
            "name": self.name,
            "versions": [self.version],
            "platform": self.scorer.runtime,
            "inputs": responses.input_tensors(record),
            "outputs": responses.output_tensors(record),
            "task": record.task,
            "digest": self.scorer.digest,
            "dataset": record.dataset_version,
            "threshold": record.threshold,
            "unseen": self.unseen,
            "unseen_unknown": [level.column for level in record.levels or () if not level.complete],
        }
        if export is not None:
            described["export"] = {
                "max_difference": export.max_difference,
                "tolerance": export.tolerance,
                "label_differences": export.label_differences,
                "rows": export.rows,
                "probes": export.probes,
                "reason": export.reason,
            }
        return {**described, **self.notes}

    def _whole(
        self, request: Mapping[str, Any], reader: Callable[..., tuple[Columns, str]]
    ) -> tuple[Columns, str]:
        """Return the model's columns of a request, features of entities that it names included."""
        features = self.features
        if features is None or not features.are_asked_for(request):
            return reader(request, intake=self.intake, max_rows=self.limits.rows)
        values, row = reader(request, intake=features.intake, max_rows=self.limits.rows)
        return features.completed(values, row=row), row

    def _outcome(self, values: Columns, row: str, form: Form) -> Outcome:
        batch = self.intake.convert(values, row=row)
        scores = self._scores(batch, row)
        labels = self.scorer.labels_of(scores)
        answer = prediction_of(self.record, labels=labels, scores=scores)
        body, header_length = form(answer)
        return Outcome(
            body=body,
            values=values,
            batch=batch,
            scores=row_scores(self.record, scores),
            labels=answer.labels,
            vectors=answer.probabilities if self.record.task == "multiclass" else None,
            header_length=header_length,
        )

    def _scores(self, batch: Batch, row: str) -> np.ndarray:
        """Return the scores of rows.

        Raises:
            ArithmeticError: If one is not finite: the model has failed on the request.
        """
        scores = self.scorer.scores_of(batch.arrays)
        at = without_score(scores)
        if at is not None:
            raise ArithmeticError(f"{row.format(at)}: the model's score is not finite")
        return scores

    def _v1_form(self, answer: Prediction) -> tuple[bytes, None]:
        body = responses.v1_response(
            answer, record=self.record, name=self.name, version=self.version
        )
        return responses.encode(body), None

    def _v2_form(self, request: Mapping[str, Any]) -> Form:
        outputs = requests.v2_outputs(request, names=self._output_names)

        def form(answer: Prediction) -> tuple[bytes, int | None]:
            body = responses.v2_response(
                answer,
                record=self.record,
                name=self.name,
                version=self.version,
                request_id=request.get("id"),
                outputs=[output.name for output in outputs],
            )
            return responses.encode_tensors(body, binary=[output.binary for output in outputs])

        return form
