"""The data of a registered version, read again from the version of the source that was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from documented import Walk
from versioned_tables import SECOND, delta_table

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.passport.facts import read_facts
from penstock.pipelines import cli
from penstock.records.dataset import Dataset
from penstock.records.model import FILE_NAME, Model
from penstock.registry import versions


def test_a_version_names_its_data_and_they_are_read_again(
    registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deltalake import write_deltalake

    uri = delta_table(tmp_path / "lake")
    table = ingest(SourceSpec(uri=uri), output=tmp_path / "table")
    train = table.model_copy(
        update={
            "content": Model.read(registry.models(depth=2) / FILE_NAME).dataset,
            "parent": table.content,
            "part": "train",
            "origin": table.origin_of_parts,
        }
    )
    decision, evaluation = registry.decided()
    made = registry.register(decision, evaluation, train=train)
    write_deltalake(tmp_path / "lake", SECOND, mode="append")

    version = versions.registered(made.uri, tracking_uri=registry.uri)
    named = {"kind": "delta", "locator": uri, "resolved": "1"}
    assert json.loads(version.tags[versions.DATA_REFERENCE]) == named
    inputs = registry.store().get_run(version.run).inputs.dataset_inputs
    assert named.items() <= json.loads(inputs[0].dataset.source).items()
    facts = read_facts(made.uri, tracking_uri=registry.uri)
    assert facts.train
    assert facts.train.origin
    assert facts.train.origin.content == table.content
    assert "delta version 1" in facts.card

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    with Walk("docs/data-versions.md", tmp_path) as walk:
        restore = walk.words("penstock data restore", ("models:/loans/1", made.uri))
    assert cli.main(restore) == 0
    assert f"holds the same 5 rows, {table.content}" in capsys.readouterr().out
    assert Dataset.of(tmp_path / "loans-again").content == table.content
    for number, named_by in enumerate([version.dataset, str(tmp_path / "table")]):
        assert cli.main(["data", "restore", named_by, "-o", f"again-{number}"]) == 0
    assert cli.main(["data", "restore", "rows1:00", "-o", "none"]) == 1
    assert "no registered version was trained on this dataset" in capsys.readouterr().err
