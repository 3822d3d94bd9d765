"""What of the training data travels with a model, and that it can be left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.explanation.explain import explain
from penstock.model import load
from penstock.records.model import Model
from penstock.serving.request_errors import RequestError
from penstock.serving.service import Service
from penstock.training import saving
from penstock.training.baselines import rebuild_constant

Tables = Callable[..., dict[str, Any]]
LONG = pytest.mark.long


def prepared(bench: Any, make_table: Tables) -> dict[str, Any]:
    table = make_table(200)
    rows = len(table["y"])
    table["shop"] = [f"shop-{i % 4}" if i % 2 else f"secret-{i // 4}" for i in range(rows)]
    bench.prepare(table, rare_share=0.05)
    return table


def texts(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_model_that_carries_no_rows_holds_none_and_still_works(
    bench: Any, make_table: Tables
) -> None:
    table = prepared(bench, make_table)
    record: Model = bench.train(trials=1, carry_rows=False)
    folder = bench.folder / "model"
    held = {path.name for path in folder.iterdir()}
    assert not {"background.json", "rows.npy", "input_example.json"} & held
    assert not any("example" in name for name in held)
    assert b"shop-1" in texts(folder)
    assert b"secret-" not in texts(folder)
    (shop,) = (level for level in record.levels or () if level.column == "shop")
    assert (shop.values, shop.complete) == (("shop-1", "shop-3"), False)

    loaded = load(folder)
    asked = {column.name: [table[column.name][0]] for column in record.columns}
    service = Service(scorer=loaded, name="m", version="1")
    assert service.metadata()["unseen_unknown"] == ["shop"]
    body = json.dumps({"instances": [{name: values[0] for name, values in asked.items()}]})
    with pytest.raises(RequestError, match=r"training\.carry_rows: false") as refused:
        service.explain(body.encode())
    assert refused.value.status == 404

    explained = explain(
        bench.folder / "train",
        model=folder,
        output=bench.folder / "explanation.json",
        report=bench.folder / "explanation.html",
        rows=40,
    )
    assert explained.examples == ()
    assert "carry_rows is off" in (bench.folder / "explanation.html").read_text()

    made = rebuild_constant(folder, output=bench.folder / "again")
    assert made is not None
    trivial = load(made / "majority")
    assert trivial.scores(trivial.frame(asked)) == pytest.approx(
        load(bench.folder / "model-baselines" / "majority").scores(loaded.frame(asked))
    )


def test_rare_values_travel_where_they_are_few(
    bench: Any, make_table: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(bench, make_table)
    record: Model = bench.train(trials=1)
    held = {level.column: level for level in record.levels or ()}
    assert held["shop"].complete
    assert {"shop-1", "secret-7"} <= set(held["shop"].values)
    monkeypatch.setattr(saving, "RARE_LEVELS", 10)
    record = bench.train(trials=1, name="bounded")
    held = {level.column: level for level in record.levels or ()}
    assert (held["shop"].values, held["shop"].complete) == (("shop-1", "shop-3"), False)
    assert held["job"].complete


@pytest.mark.parametrize(
    ("kind", "old"),
    [
        pytest.param("float", False, id="float-this release", marks=LONG),
        pytest.param("boolean", True, id="boolean-an older one", marks=LONG),
        pytest.param("many", True, id="many-an older one"),
        pytest.param("float", True, id="float-an older one", marks=LONG),
        pytest.param("boolean", False, id="boolean-this release", marks=LONG),
        pytest.param("many", False, id="many-this release", marks=LONG),
    ],
)
def test_the_trivial_baseline_is_made_again_of_any_classes(
    bench: Any, make_table: Tables, kind: str, old: bool
) -> None:
    table = make_table(240)
    rows = np.arange(240)
    table["y"] = {
        "float": (rows % 3 == 0).astype(float).tolist(),
        "many": [f"class {at}" for at in np.sqrt(rows + 4).astype(int)],
        "boolean": (rows % 5 == 0).tolist(),
    }[kind]
    bench.prepare(table)
    record: Model = bench.train(trials=1)
    assert sum(record.class_rows) == 240
    folder = bench.folder / "model"
    if old:
        record.model_copy(update={"class_rows": ()}).write(folder / "penstock.json")
    made = rebuild_constant(folder, output=bench.folder / "again")
    if old and kind == "many":
        assert made is None
        return
    assert made is not None
    ours, theirs = load(made / "majority"), load(bench.folder / "model-baselines" / "majority")
    frame = ours.frame({name: values[:3] for name, values in table.items()})
    assert ours.scores(frame) == pytest.approx(theirs.scores(frame))
