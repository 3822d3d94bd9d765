"""One dataset version: what ingest says of the table, whoever shows it later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.data.split import split
from penstock.records.dataset import Dataset
from penstock.records.model import Model
from penstock.serving.responses import v1_response

MODEL: dict[str, Any] = {
    "record": "penstock/model", "schema_version": 1, "name": "linear", "task": "regression",
    "target": "y", "columns": [{"name": "x", "type": "number"}], "metric": "r2", "score": 0.5,
    "parameters": {}, "dataset": "rows1:part", "seed": 1, "libraries": {}, "trusted_types": [],
}  # fmt: skip


class Answered:
    labels = (1.0,)
    probabilities = None
    abstained = None


def test_both_parts_of_a_split_name_the_version_that_ingest_told(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("x,y\n" + "".join(f"{n},{n % 7}.5\n" for n in range(60)))
    told = ingest(SourceSpec(uri=str(file)), output=tmp_path / "d")

    split(
        tmp_path / "d",
        SplitSpec(),
        target="y",
        task="regression",
        train=tmp_path / "train",
        holdout=tmp_path / "holdout",
    )

    assert told.version == told.content
    parts = [Dataset.of(tmp_path / part) for part in ("train", "holdout")]
    assert [part.version for part in parts] == [told.content] * 2
    assert told.content not in {part.content for part in parts}


def test_a_model_is_shown_with_the_version_of_its_table() -> None:
    record = Model.parse({**MODEL, "table": "rows1:whole"}, where="test")
    answer: Any = Answered()

    assert record.dataset == "rows1:part"
    body = v1_response(answer, record=record, name="m", version="1")
    assert body["dataset"] == "rows1:whole"


def test_the_record_of_an_older_release_says_what_it_knows(tmp_path: Path) -> None:
    (tmp_path / "penstock.json").write_text(json.dumps(MODEL))

    record = Model.read(tmp_path / "penstock.json")

    assert (record.table, record.dataset_version) == ("", "rows1:part")
