"""Labels that come after an answer: joined with it by request and row, and scored."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from penstock.captures import lines as captured
from penstock.records.model import Model
from penstock.records.rollout import Labelled
from penstock.serving.feedback_entry import check_value, request_and_row
from penstock.serving.request_errors import RequestError, kind, only_fields, show

REMEMBERED = 100_000
"""Rows that a server remembers by default, so that a label finds its answer."""

MAX_LABELS = 10_000
"""Labels in one request."""

Arm = Literal["live", "mirror"]


@dataclass(slots=True)
class _Answered:
    """One request that was answered, and which of its rows have their label."""

    scores: Sequence[float]
    labels: Sequence[Any]
    arm: Arm
    known: set[int] | None = None


@dataclass(frozen=True)
class Joined:
    """What became of the labels of one request.

    Attributes:
        joined: Labels that found their row.
        unknown: Labels whose row is not remembered: never answered here, or too long ago.
        repeated: Labels of rows that had theirs already; these count no second time.
        sums: The losses of requests that had no label before, by whether a request was a user's or
            a copy.
        new: Request, row and label of those that found their row.
        missed: Request, row and label of those whose row is not remembered.
    """

    joined: int
    unknown: int
    repeated: int
    sums: Mapping[Arm, Labelled]
    new: Sequence[tuple[str, int, Any]]
    missed: Sequence[tuple[str, int, Any]]


class Memory:
    """The last rows that were answered.

    Args:
        record: The model, which says what a label may be and what a loss is.
        rows: How many rows to remember, at most; whole requests are forgotten, the oldest first.
    """

    def __init__(self, record: Model, *, rows: int = REMEMBERED) -> None:
        self._record = record
        self._limit = rows
        self._rows = 0
        # Taking the oldest of a plain dict looks at every entry that was taken before it.
        self._answered: OrderedDict[str, _Answered] = OrderedDict()

    def add(
        self, request_id: str, *, scores: Sequence[float], labels: Sequence[Any], mirrored: bool
    ) -> None:
        """Remember one answer. Where an id comes again, its first answer counts.

        Else whoever knows an id could put another answer in the place of the one that it names, or
        have one id labelled over and over.
        """
        if request_id in self._answered:
            return
        arm: Arm = "mirror" if mirrored else "live"
        self._answered[request_id] = _Answered(scores, labels, arm)
        self._rows += len(labels)
        while self._rows > self._limit:
            _, oldest = self._answered.popitem(last=False)
            self._rows -= len(oldest.labels)

    def join(self, truths: Sequence[tuple[str, int, Any]]) -> Joined:
        """Join labels, as `parse` returned them, with the rows they belong to.

        Rows of one request are not independent, so a request is one unit of evidence, whose loss is
        the mean over the rows that its first labels are of. Labels of other rows that come later
        are joined, and change it no more.
        """
        counts = {"joined": 0, "repeated": 0}
        first: dict[str, list[float]] = {}
        new, missed = [], []
        for truth in truths:
            request_id, row, label = truth
            answered = self._answered.get(request_id)
            if answered is None or row >= len(answered.labels):
                missed.append(truth)
                continue
            if answered.known is None:
                answered.known = set()
                first[request_id] = []
            if row in answered.known:
                counts["repeated"] += 1
                continue
            answered.known.add(row)
            counts["joined"] += 1
            new.append(truth)
            if request_id in first:
                first[request_id].append(
                    loss(self._record, answered.labels[row], answered.scores[row], label)
                )
        losses: dict[Arm, list[float]] = {"live": [], "mirror": []}
        for request_id, values in first.items():
            losses[self._answered[request_id].arm].append(math.fsum(values) / len(values))
        sums = {arm: _summed(values) for arm, values in losses.items()}
        return Joined(**counts, unknown=len(missed), sums=sums, new=new, missed=missed)


def parse(request: Mapping[str, Any], *, record: Model) -> list[tuple[str, int, Any]]:
    """Return request, row and label of each label in a feedback request.

    Args:
        request: `{"labels": [{"request_id": "...", "row": 0, "label": ...}, ...]}`; `row` is 0
            where it is left out. An entry may have a `value`, beside its label or instead of it:
            clients send the KPI of an experiment before they know that it has ended. It is checked
            and left out.
        record: The model, whose classes a label must be one of; for a regression, a number.

    Raises:
        RequestError: Naming the entry and the field that do not fit.
    """
    only_fields(request, required="labels", allowed=frozenset(["labels"]))
    labels = request["labels"]
    if not isinstance(labels, list):
        raise RequestError(f'"labels" must be a list, not {kind(labels)}')
    if not labels:
        raise RequestError("the request holds no label")
    if len(labels) > MAX_LABELS:
        raise RequestError(
            f"{len(labels):,} labels in one request; the limit is {MAX_LABELS:,}", status=413
        )
    found = [_entry(entry, f"labels[{i}]", record) for i, entry in enumerate(labels)]
    return [truth for truth in found if truth is not None]


def loss(record: Model, predicted: Any, score: float, truth: Any) -> float:
    """Return the loss of one row, in [0, 1], as `penstock.records.rollout.Labelled` defines it."""
    if record.task == "binary":
        return (score - float(truth == record.positive)) ** 2
    if record.task == "multiclass":
        return float(predicted != truth)
    if not math.isfinite(score):
        return 1.0
    # Halved, so that no sum of two finite numbers overflows.
    scale = abs(score) / 2 + abs(truth) / 2
    return float(abs(score / 2 - truth / 2) / scale) if scale else 0.0


def _entry(entry: Any, where: str, record: Model) -> tuple[str, int, Any] | None:
    if not isinstance(entry, dict):
        raise RequestError(f"{where} must be an object, not {kind(entry)}")
    unknown = sorted(entry.keys() - {"request_id", "row", "label", "value"})
    if unknown:
        raise RequestError(f"{where}: unknown field {show(unknown[0])}")
    request_id, row = request_and_row(entry, where)
    if "value" in entry:
        check_value(entry["value"], where)
        if "label" not in entry:
            return None
    if "label" not in entry:
        raise RequestError(f'{where}: the field "label" is missing')
    return request_id, row, _label(entry["label"], f"{where}.label", record)


def _label(label: Any, where: str, record: Model) -> Any:
    if record.task == "regression":
        if isinstance(label, bool) or not isinstance(label, int | float):
            raise RequestError(f"{where} must be a number, got {show(label)}")
        if not math.isfinite(label):
            raise RequestError(f"{where} must be a finite number")
        return float(label)
    # In Python True equals 1, in a model's classes it does not.
    if not any(type(label) is type(known) and label == known for known in record.classes):
        known = ", ".join(map(show, record.classes[:20]))
        raise RequestError(f"{where} must be one of {known}; got {show(label)}")
    return label


def _summed(losses: Sequence[float]) -> Labelled:
    return Labelled(
        requests=len(losses),
        loss=math.fsum(losses),
        squared=math.fsum(value * value for value in losses),
    )


def restore(memory: Memory, folder: Path, *, version: str, rows: int) -> None:
    """Have labels find the answers that were captured before this process began.

    Labels that have come already are known to have come, and count no second time.

    Args:
        memory: What labels are joined with.
        folder: Where answers and labels were captured.
        version: Of the model; other versions' answers are not this one's.
        rows: How many rows are worth reading.
    """
    lines = captured.newest(folder, rows=rows)
    for request_id, group in groupby(lines, key=lambda line: line["request_id"]):
        answer = [line for line in group if line["version"] == version]
        # The beginning of the oldest file's first request may be gone.
        if [line["row"] for line in answer] == list(range(len(answer))) and answer:
            memory.add(
                request_id,
                scores=[line["score"] for line in answer],
                labels=[line["label"] for line in answer],
                mirrored=answer[0]["mirrored"],
            )
    # A label was kept only while its row was remembered, so older ones are of rows forgotten.
    labels = captured.newest(folder, rows=2 * rows, kind="feedback")
    memory.join([_truth(line) for line in labels])


def _truth(line: dict[str, Any]) -> tuple[str, int, Any]:
    return line["request_id"], line["row"], line["label"]
