"""Penstock from Python: the notebook of the documents, predictions, refusals, and what is drawn.

What its release left is also what the official validators of a passport are given.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import penstock
from penstock import tracking
from penstock.errors import InputError, PenstockError
from penstock.passport.documents import write_passport

ROOT = Path(__file__).parents[2]


def _run_notebook(folder: Path) -> Any:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs/from-python.ipynb", as_version=4)
    # Looked at before the last cell stops what is served.
    *cells, _ = notebook.cells
    notebook.cells = cells
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3")
    client.execute(cwd=str(folder), env=environment)
    return notebook


@pytest.fixture(scope="module", autouse=True)
def own_store() -> Iterator[None]:
    """The project's own registry, whatever tests before these have set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "PENSTOCK_HOME"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def ran(own_store: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """The folder that the notebook ran in, and the notebook with its outputs."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = _run_notebook(folder)
    yield folder, notebook
    assert _project(folder).stop() != []


def _project(folder: Path) -> penstock.Project:
    return penstock.Project.load(folder / "example/project.yaml")


def _training(folder: Path) -> Path:
    (found,) = folder.glob("example/.penstock/runs/*/kfp/*/split/train")
    return found


def _holdout(folder: Path) -> penstock.Dataset:
    (found,) = folder.glob("example/.penstock/runs/*/kfp/*/split/holdout")
    return penstock.Dataset.open(found)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("from-python")
def test_the_notebook_runs_and_draws_what_it_finds(ran: tuple[Path, Any]) -> None:
    folder, notebook = ran
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    drawn = [output.data.get("text/html", "") for output in outputs if "data" in output]
    # A terminal's text is one stream; a notebook's progress is drawn.
    printed = "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs
    )
    assert any("RELEASED</strong>" in html for html in drawn), printed
    assert any("Approved</strong>" in html for html in drawn)
    assert any("shap_amount" in html for html in drawn)
    assert "ok      Deploy" in printed
    assert (folder / "release.yaml").is_file()


def _served_at(folder: Path) -> str:
    (summary,) = folder.glob("example/.penstock/runs/*/summary.json")
    return str(json.loads(summary.read_text())["served"])


def _asked(folder: Path, model: penstock.Model, rows: pd.DataFrame) -> dict[str, Any]:
    """Return what the server answers, by the name of the output."""
    kinds = {"integer": "INT64", "number": "FP64", "boolean": "BOOL"}
    given = json.loads(rows[list(model.columns)].to_json(orient="split", date_format="iso"))
    values = dict(zip(given["columns"], zip(*given["data"], strict=True), strict=True))
    inputs = [
        {
            "name": column.name,
            "shape": [len(rows)],
            "datatype": kinds.get(column.type, "BYTES"),
            "data": list(values[column.name]),
        }
        for column in model.record.columns
    ]
    request = urllib.request.Request(
        f"{_served_at(folder)}/v2/models/simulated-transactions/infer",
        data=json.dumps({"inputs": inputs}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return {one["name"]: one["data"] for one in json.load(answer)["outputs"]}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("from-python")
def test_it_predicts_the_bits_of_its_server(ran: tuple[Path, Any]) -> None:
    folder, _ = ran
    model, rows = _project(folder).model(), _holdout(folder).frame().head(300)
    found = model.predict(rows.set_index(rows.index + 7))
    assert list(found.index) == list(rows.index + 7)
    answered = _asked(folder, model, rows)
    assert found["prediction"].tolist() == answered["predictions"]
    probabilities = np.reshape(answered["probabilities"], (300, 2))
    assert np.array_equal(found.filter(like="probability_").to_numpy(), probabilities)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("from-python")
def test_values_are_read_as_the_server_reads_them_or_refused_by_row_and_column(
    ran: tuple[Path, Any],
) -> None:
    model, rows = _project(ran[0]).model(), _holdout(ran[0]).frame().head(4)
    plain = model.predict(rows)
    mixed = rows.astype(dict.fromkeys(("category", "country"), "category"))
    mixed["amount"] = mixed["amount"].astype(object)
    mixed["time"] = mixed["time"].astype(str)
    assert model.predict(mixed).equals(plain)
    mixed.loc[rows.index[2], "amount"] = "wrong"
    with pytest.raises(InputError, match=r"row 3, column 'amount': expected a number"):
        model.predict(mixed)
    with pytest.raises(InputError, match='missing column "amount"'):
        model.predict(rows.drop(columns="amount"))
    missing = rows.assign(amount=[None, *rows["amount"][1:]])
    assert model.predict(missing).iloc[1:].equals(plain.iloc[1:])


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("from-python")
def test_what_was_not_approved_or_was_altered_does_not_answer(
    ran: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = ran[0]
    with pytest.raises(InputError, match="no such version"):
        _project(folder).model(9)
    shutil.copy(folder / "example/.penstock/mlflow.db", tmp_path)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking.client(store).set_model_version_tag(
        "simulated-transactions", "1", "penstock.model_digest", "sha256:00"
    )
    with pytest.raises(PenstockError, match="registered"):
        penstock.Model("models:/simulated-transactions/1", tracking_uri=store)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.xdist_group("from-python")
def test_official_validators_take_the_passport_of_its_release(
    ran: tuple[Path, Any], tmp_path: Path
) -> None:
    import mlcroissant
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from huggingface_hub import ModelCard

    folder = tmp_path / "passport"
    store = f"sqlite:///{ran[0] / 'example/.penstock/mlflow.db'}"
    uri = "models:/simulated-transactions@champion"
    written = write_passport(uri, tracking_uri=store, folder=folder)
    bill = (folder / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    data = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert "amount" in [field.name for field in data.metadata.record_sets[0].fields]
    card = ModelCard.load(folder / "README.md")
    values = {one.metric_type: one.metric_value for one in card.data.eval_results}
    (evaluation,) = ran[0].glob(
        "example/.penstock/artifacts/*/artifacts/evidence/*/evaluation.json"
    )
    measured = json.loads(evaluation.read_text())["scores"][0]["metrics"]
    assert values == {name: estimate["value"] for name, estimate in measured.items()}
    for line in (folder / "lineage.ndjson").read_text().splitlines():
        _lineage_event(json.loads(line))
    text = (folder / "technical-documentation.md").read_text()
    assert f"{penstock.Dataset.open(_training(ran[0])).rows:,} rows, 13 columns" in text
    assert "Not in the evidence, and for the provider to write." in text
    assert len(written.files) == 5


def _lineage_event(event: dict[str, Any]) -> None:
    """Build an event by the classes of OpenLineage, which refuse what is not one."""
    from openlineage.client import event_v2
    from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

    kinds = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet,
        "schema": schema_dataset.SchemaDatasetFacet,
    }

    def facet(name: str, of: dict[str, Any]) -> Any:
        values = {key: value for key, value in of.items() if key != "_schemaURL"}
        made = kinds[name](producer=values.pop("_producer"), **values)
        assert made._schemaURL == of["_schemaURL"]
        return made

    def facets(of: dict[str, Any]) -> dict[str, Any]:
        return {name: facet(name, each) for name, each in of.items()}

    sides = {
        side: [
            kind(one["namespace"], one["name"], facets=facets(one["facets"])) for one in event[side]
        ]
        for side, kind in (("inputs", event_v2.InputDataset), ("outputs", event_v2.OutputDataset))
    }
    made = event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        run=event_v2.Run(**event["run"]),
        job=event_v2.Job(**event["job"]),
        producer=event["producer"],
        **sides,
    )
    assert made.schemaURL == event["schemaURL"]


def test_importing_it_loads_nothing_heavy() -> None:
    program = (
        "import sys, penstock; penstock.__version__; "
        "print([m for m in ('kfp', 'mlflow', 'pandas', 'pydantic', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert {"Dataset", "Model", "Project"} <= set(dir(penstock))
    with pytest.raises(AttributeError, match="no attribute 'Projects'"):
        penstock.Projects  # noqa: B018


def test_what_is_drawn_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("<b>a</b>,y\n" + "1,2\n2,3\n" * 20)
    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec

    ingest(SourceSpec(uri=str(tmp_path / "table.csv")), output=tmp_path / "dataset")
    html = penstock.Dataset.open(tmp_path / "dataset")._repr_html_()
    assert "&lt;b&gt;a&lt;/b&gt;" in html
    assert "<b>" not in html
