"""A row to which a model gives no finite score gets no label, from no server and in no batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from penstock.errors import InputError
from penstock.model import labels_of
from penstock.records.dataset import Column
from penstock.records.model import Model, Task
from penstock.scoring.answers import Answerer
from penstock.scoring.frame import rows_of_frame
from penstock.serving.service import Service


@dataclass(frozen=True)
class Dividing:
    """A model whose score is 1 / age: none that Penstock trains has no answer on purpose."""

    record: Model
    digest: str = ""
    runtime: str = "sklearn"

    def scores_of(self, columns: Mapping[str, Any]) -> np.ndarray:
        with np.errstate(divide="ignore"):
            p = 1 / np.asarray(columns["age"])
        return (
            np.stack([p, 1 - p, np.zeros_like(p)], axis=1)
            if self.record.task == "multiclass"
            else p
        )

    def labels_of(self, scores: np.ndarray) -> np.ndarray:
        return labels_of(self.record, scores)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_no_label_is_made_up(task: Task) -> None:
    classes = {"binary": (0, 1), "multiclass": (0, 1, 2), "regression": ()}[task]
    record = Model.model_construct(
        name="own", task=task, target="y", classes=classes, columns=(_AGE,), reading=None,
        positive=1, threshold=0.5, dataset="rows",
    )  # fmt: skip
    scorer = Dividing(record)
    service = Service(scorer, name="m", version="1")
    for ages in ([2, 4], [2, 0]):
        body = json.dumps({"instances": [{"age": age} for age in ages]}).encode()
        rows = rows_of_frame(pd.DataFrame({"age": ages}), record)
        answerer = Answerer(scorer, keep=())
        if 0 not in ages:
            assert len(service.predict(body, "v1").labels) == 2
            assert answerer.answer(rows).table.num_rows == 2
            continue
        # Neither an answer nor a refusal of the request: the server answers 500.
        with pytest.raises(ArithmeticError, match=r"1.*the model's score is not finite"):
            service.predict(body, "v1")
        with pytest.raises(InputError, match="score of a row is not finite"):
            answerer.answer(rows)


_AGE = Column(name="age", type="integer")
