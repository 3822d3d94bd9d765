"""One value, one meaning: in the file, in every request, in MLflow's frames and in batch."""

from __future__ import annotations

import asyncio
import csv
import json
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.model import LoadedModel, load
from penstock.serving.request_errors import RequestError
from penstock.serving.service import Service

SPELLINGS: dict[str, list[str]] = {
    "number": ["1.50", "+2", "3e0", " 4.0 ", "-5", ".5", "NA", "n/a", "", "\t7.25"],
    "whole": ["1", "2", " 3", "NULL", "40", "?", ""],
    "thousands": ["1,234", "999", "12,400", " 7", "1,000,000", "NA"],
    "decimals": ["1.234,5", "0,25", "7", "1.000,00", "-3,5"],
    "money": ["$12.00", "$ 3.50", "-$4", "($7.25)", "$1,200.00", "NA"],
    "percent": ["3.5%", "10 %", "-1%", "0%", "N/A"],
    "yes": ["true", "False", "TRUE", "NA", " false"],
    "text": ["US", " US", "DE ", "N/A", "None", "nowhere", ""],
    "code": ["00501", "00544", "10001", " 90210", "00000", "NA"],
    "day": ["31/12/2025", "01/02/2026", "5/6/2026", "NA", " 14/07/2024"],
    "at": [
        "2026-01-31T12:00:00Z",
        "2026-01-31 12:00:00.123456789+5",
        "2026-03-01",
        "2026-03-01 07:15",
        "null",
    ],
}
"""By column, texts that a file may hold; the same value is among them in several spellings."""


def _rows(count: int) -> list[dict[str, str]]:
    draw = random.Random(7)
    rows = [{name: draw.choice(texts) for name, texts in SPELLINGS.items()} for _ in range(count)]
    for at, row in enumerate(rows):
        row["y"] = "no" if (at * 7) % 5 < 2 else "yes"
    return rows


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The table as a client that knows nothing of types reads it: texts."""
    return _rows(240)


@pytest.fixture
def file(tmp_path: Path, rows: list[dict[str, str]]) -> Path:
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*SPELLINGS, "y"])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def model(bench: Any, file: Path) -> LoadedModel:
    ingest(SourceSpec(uri=str(file)), output=bench.folder / "train")
    kinds = {"code": "category", "day": "datetime", "at": "datetime"}
    bench.fit(columns=kinds, rare_share=0.0)
    bench.train(candidates=("linear",), trials=1, folds=2)
    return load(bench.folder / "model")


def _texts(rows: list[dict[str, str]], model: LoadedModel) -> list[dict[str, str]]:
    names = [column.name for column in model.record.columns]
    return [{name: row[name] for name in names} for row in rows]


def _scores(service: Service, body: dict[str, Any], protocol: Any) -> np.ndarray:
    return service.predict(json.dumps(body).encode(), protocol).scores


def test_every_spelling_scores_like_the_rows_of_the_training_table(
    model: LoadedModel, bench: Any, file: Path, rows: list[dict[str, str]]
) -> None:
    import mlflow.pyfunc
    import mlflow.sklearn

    assert {c.name for c in model.record.columns} == set(SPELLINGS)
    stored = read_table(bench.folder / "train")
    right = model.scores(model.frame(stored))
    assert len(set(right.tolist())) > 200

    # What a client reads with csv.DictReader and sends as it is.
    texts = _texts(rows, model)
    service = Service(model, name="m", version="1")
    by_v1 = _scores(service, {"instances": texts}, "v1")
    by_mlflow = _scores(service, {"dataframe_records": texts}, "mlflow")
    tensors = [
        {
            "name": name,
            "datatype": "BYTES",
            "shape": [len(texts)],
            "data": [row[name] for row in texts],
        }
        for name in texts[0]
    ]
    assert np.array_equal(_scores(service, {"inputs": tensors}, "v2"), right)
    assert np.array_equal(by_v1, right)
    assert np.array_equal(by_mlflow, right)
    table = pd.DataFrame(texts).to_csv(index=False).encode()
    assert np.array_equal(service.predict(table, "mlflow", csv=True).scores, right)

    # What a client holds after it read the values itself.
    plain = json.loads(
        stored.to_pandas().drop(columns="y").to_json(orient="records", date_unit="us")
    )
    for row, known in zip(plain, stored.to_pylist(), strict=True):
        for name in ("day", "at"):
            row[name] = known[name].isoformat() if known[name] else None
    assert np.array_equal(_scores(service, {"instances": plain}, "v1"), right)

    # MLflow's two flavours, on the frames that pandas makes of the file and of the dataset.
    raw = pd.read_csv(file, dtype=str, keep_default_na=False)
    natural = pd.read_csv(file, dtype={"code": str})
    holdout = pd.read_parquet(bench.folder / "train" / "part-00000.parquet")
    assert natural["whole"].dtype == object  # "?" is a text for pandas
    flavour = mlflow.sklearn.load_model(str(bench.folder / "model"))
    pyfunc = mlflow.pyfunc.load_model(str(bench.folder / "model"))
    labels = model.labels(model.frame(stored))
    assert np.array_equal(flavour.predict(raw), labels)
    for frame in (raw, natural, holdout):
        positive = list(flavour.classes_).index(model.record.positive)
        assert np.array_equal(flavour.predict_proba(frame)[:, positive], right)
        assert np.array_equal(pyfunc.predict(frame), labels)


def test_a_missing_whole_number_and_a_boolean_with_gaps_go_through_mlflow(
    model: LoadedModel, bench: Any
) -> None:
    import mlflow.pyfunc

    frame = read_table(bench.folder / "train").to_pandas()
    assert frame["whole"].dtype == np.float64  # pandas made doubles of whole numbers with gaps
    pyfunc = mlflow.pyfunc.load_model(str(bench.folder / "model"))
    assert len(pyfunc.predict(frame)) == len(frame)
    assert len(pyfunc.predict(frame.dropna())) == len(frame.dropna())
    assert len(pyfunc.predict(frame.head(1))) == 1


def test_what_a_file_would_refuse_is_refused(
    model: LoadedModel, bench: Any, rows: list[dict[str, str]]
) -> None:
    service = Service(model, name="m", version="1")
    for name, wrong in (
        ("number", "1,5"),
        ("thousands", "1,23"),
        ("money", "12.00"),
        ("percent", "0.035"),
        ("whole", "1.5"),
        ("day", "31.12.2025"),
        ("at", "31/01/2026"),
        ("yes", "maybe"),
        ("number", "0x10"),
        ("number", "inf"),
    ):
        row = {**_texts(rows, model)[0], name: wrong}
        with pytest.raises(RequestError, match=f'"{name}".*"{wrong}"'):
            _scores(service, {"instances": [row]}, "v1")
        with pytest.raises(InputError, match=name):
            model.frame(pd.DataFrame([row]))
    # pandas made 501 of the code 00501: that is another value, and not taken in silence.
    with pytest.raises(InputError, match=r"column .code.*not text"):
        model.frame(pd.DataFrame([{**_texts(rows, model)[0], "code": 501}]))


def test_mlflow_models_serve_answers_the_row_that_a_run_shows(
    model: LoadedModel, bench: Any, rows: list[dict[str, str]]
) -> None:
    import mlflow.pyfunc
    from mlflow.pyfunc.scoring_server import init

    stored = read_table(bench.folder / "train")
    label = str(model.labels(model.frame(stored.slice(0, 1)))[0])
    texts = _texts(rows, model)[:1]
    row = stored.to_pylist()[0]
    typed = {name: row[name] for name in texts[0]} | {n: str(row[n]) for n in ("day", "at")}
    bodies: list[dict[str, Any]] = [
        {"instances": texts},
        {"instances": [typed]},
        {"dataframe_records": [typed]},
        {"dataframe_split": {"columns": list(typed), "data": [list(typed.values())]}},
    ]
    app = init(mlflow.pyfunc.load_model(str(bench.folder / "model")))

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://mlflow") as client:
            return [await client.post("/invocations", json=body) for body in bodies]

    for answer in asyncio.run(ask()):
        assert answer.status_code == httpx.codes.OK, answer.text
        assert answer.json()["predictions"] == [label]
