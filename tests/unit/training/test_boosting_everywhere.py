"""One answer of a boosted version on every path, and by the library in its own file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import every_path
import numpy as np
import pytest
from fresh_store import fresh_store

from penstock.bundle.make import bundle
from penstock.common import files
from penstock.errors import InputError
from penstock.export.export import export
from penstock.model import digest_of, load
from penstock.pipelines import cli
from penstock.records.export import FOLDER
from penstock.registry import versions
from penstock.serving.loading import load_scorer
from penstock.serving.service import Service

TARGETS = {"binary": "y", "multiclass": "kind", "regression": "amount"}
CASES = [
    pytest.param("binary", "xgboost", marks=pytest.mark.long),
    ("multiclass", "lightgbm"),
    # Each costs five seconds.
    pytest.param("binary", "lightgbm", marks=pytest.mark.long),
    pytest.param("multiclass", "xgboost", marks=pytest.mark.long),
    pytest.param("regression", "xgboost", marks=pytest.mark.long),
    pytest.param("regression", "lightgbm", marks=pytest.mark.long),
]


def champion(folder: Path, *, holdout: Path, store: str) -> str:
    """Register a trained folder with its ONNX form; return that form's digest."""
    from mlflow import MlflowClient

    assert not export(folder, holdout=holdout, output=folder / FOLDER).reason
    digest = files.digest_of_folder(folder / FOLDER)
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    client.create_registered_model("boosted")
    tags = {versions.MODEL_DIGEST: digest_of(folder), versions.EXPORT_DIGEST: digest}
    client.create_model_version("boosted", str(folder), tags=tags)
    client.set_registered_model_alias("boosted", "champion", "1")
    return digest


def by_the_library(folder: Path, features: np.ndarray) -> np.ndarray:
    """Ask as KServe's xgbserver and lgbserver do; before the link, shape (n, outputs)."""
    known = json.loads((folder / "features.json").read_text())
    assert len(known["features"]) == features.shape[1]
    if known["library"] == "xgboost":
        import xgboost

        booster = xgboost.Booster(model_file=folder / "model.json")
        found = booster.predict(xgboost.DMatrix(features), output_margin=True)
    else:
        import lightgbm

        booster = lightgbm.Booster(model_file=folder / "model.bst")
        found = booster.predict(features, raw_score=True)
    return np.asarray(found, dtype=np.float64).reshape(len(features), -1)


@pytest.mark.parametrize(("task", "family"), CASES)
def test_every_path_gives_the_same_bits(
    bench: Any, make_table: Callable[..., dict[str, Any]], task: str, family: str
) -> None:
    table = make_table()
    # Waves, which no line follows, so that trees win.
    waves = [np.sin(3 * value) for value in table["noise"]]
    table["y"] = np.where(np.array(waves) > 0, "good <b>", "bad").tolist()
    table["kind"] = np.digitize(waves, [-0.4, 0.4]).tolist()
    table["amount"] = [50 + 10 * value for value in waves]
    table["w"] = [float(at % 3) for at in range(len(waves))]
    target = TARGETS[task]
    dropped = {name: "drop" for name in (*TARGETS.values(), "w") if name != target}
    holdout = bench.prepare(table, target=target, columns=dropped)
    monotonic = {} if task == "multiclass" else {"x one": "increasing"}
    record = bench.train(
        target=target, candidates=(family,), weights="w", monotonic=monotonic,
        early_stopping={"most_trees": 30, "patience": 5},
    )  # fmt: skip
    assert record.name == family
    folder, store = bench.folder / "model", fresh_store(bench.folder, "registry.db")
    digest = champion(folder, holdout=holdout, store=store)
    rows = [
        {name: table[name][at] for name in ("x one", "job", "noise")} for at in range(len(waves))
    ]
    odd = [{"job": "never seen"}, dict.fromkeys(rows[0]), {"noise": 1e300}, {"x one": -0.0}]
    rows += [rows[0] | change for change in odd]

    scorer = load_scorer(folder, digest=digest_of(folder), export=digest)
    server = Service(scorer=scorer, name="boosted", version="1")

    def served(asked: list[dict[str, Any]]) -> dict[str, Any]:
        body = json.loads(server.predict(json.dumps({"instances": asked}).encode(), "v1").body)
        return {n: body[n] for n in ("predictions", "probabilities") if n in body}

    def penstock(*arguments: str) -> None:
        assert cli.main([*arguments, "--tracking-uri", store]) == 0

    answers, uri = served(rows), "models:/boosted/1"
    for at in range(0, len(rows), 9):
        alone = {name: values[at : at + 1] for name, values in answers.items()}
        assert served(rows[at : at + 1]) == alone
    positive = None if task != "binary" else record.classes.index(record.positive)
    champions = "models:/boosted@champion"
    assert every_path.by_batch(penstock, champions, rows, folder=bench.folder) == answers
    assert every_path.by_bundle(penstock, champions, rows, folder=bench.folder) == answers
    assert every_path.by_mlflow(store, uri, rows, positive=positive) == answers

    bundle(champions, output=bench.folder / "stock", tracking_uri=store, form="booster")
    loaded = load(folder)
    frame = loaded.frame({name: [row[name] for row in rows] for name in rows[0]})
    features, estimator = (step for _, step in loaded.typed.steps)
    matrix = np.asarray(features.transform(frame))
    # XGBoost refuses what is no 32-bit float.
    near = (np.abs(np.nan_to_num(matrix)) < 1e38).all(axis=1)
    found = by_the_library(bench.folder / "stock", matrix[near])
    margins = estimator.estimator_ if hasattr(estimator, "estimator_") else estimator
    assert np.array_equal(found, margins.margins(matrix[near]))


@pytest.mark.long
def test_a_version_of_another_family_has_no_booster(
    binary: tuple[Any, Any], tmp_path: Path
) -> None:
    bench, record = binary
    assert record.name not in ("xgboost", "lightgbm")
    shutil.copytree(bench.folder / "model", tmp_path / "model")
    store = fresh_store(tmp_path, "registry.db")
    champion(tmp_path / "model", holdout=bench.folder / "train", store=store)
    with pytest.raises(InputError, match="is no model of XGBoost or LightGBM alone"):
        bundle("models:/boosted/1", output=tmp_path / "out", tracking_uri=store, form="booster")
    assert not (tmp_path / "out").exists()
