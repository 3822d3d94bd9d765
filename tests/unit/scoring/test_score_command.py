"""The command, which versions may score, and what the monitor sees of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scored_tables import source_of, written
from serving_process import ROW

from penstock.errors import InputError, NotApprovedError
from penstock.monitoring.look import Monitor
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.batch import watched_batch
from penstock.monitoring.store.state import MonitorFolder
from penstock.notification import NotifySpec
from penstock.pipelines import cli
from penstock.records.scores import FILE_NAME, Scores
from penstock.registry import versions
from penstock.scoring.score import score


def test_the_command_says_what_it_did(
    registered: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered()
    table = tmp_path / "rows.csv"
    names = ["id", *ROW]
    lines = [
        ";".join(map(str, [at, *(ROW | {"age": age}).values()])) for at, age in enumerate([1, "x"])
    ]
    table.write_text("\n".join([";".join(names), *lines]) + "\n")
    command = ["score", "models:/adult@champion", "--data", str(table), "--keep", "id"]
    command += ["--out", str(tmp_path / "out"), "--tracking-uri", version.store]
    assert cli.main(command) == 1
    assert 'a whole number, got "x"' in capsys.readouterr().err
    # The same destination: what was begun goes on only as it was asked for.
    assert cli.main([*command, "--on-error", "quarantine"]) == 1
    assert "another on_error" in capsys.readouterr().err
    command[command.index("--out") + 1] = str(tmp_path / "other")
    way = ["--on-error", "quarantine", "--form", "csv", "--workers", "2"]
    assert cli.main([*command, *way]) == 0
    said = capsys.readouterr().out
    scores = Scores.read(tmp_path / "other" / FILE_NAME)
    assert "models:/adult/1 (champion, onnx) scored 1 of 2 rows" in said
    assert scores.output_content in said
    assert f"refused   1 rows by column 'age', first {table}: line 3" in said
    assert (tmp_path / "other/rows/part-00000.csv").read_text().startswith('"id","prediction"')
    assert cli.main([*command, "--source", "columns=[id]"]) == 2
    assert cli.main([*command, "--workers", "0"]) == 2
    assert cli.main([*command[:3], str(tmp_path / "absent.csv"), *command[4:]]) == 2


def test_a_version_that_nobody_approved_needs_its_number_and_a_flag(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    version = registered(seed=1)
    data = source_of("parquet", [ROW], tmp_path)
    client = MlflowClient(tracking_uri=version.store, registry_uri=version.store)
    client.set_registered_model_alias("adult", "challenger", "2")
    for at, named in enumerate(("models:/adult/2", "models:/adult@challenger")):
        order = version.order(data, tmp_path / f"refused{at}", model=named)
        with pytest.raises(NotApprovedError, match=r"no decision .*--unapproved"):
            score(order)
        assert not (tmp_path / f"refused{at}").exists()
    order = version.order(
        data, tmp_path / "by-alias", model="models:/adult@challenger", unapproved=True
    )
    with pytest.raises(NotApprovedError):
        score(order)
    order = version.order(data, tmp_path / "out", model="models:/adult/2", unapproved=True)
    assert score(order).version.admitted == "asked for by number, though not approved"
    client.set_registered_model_alias("adult", "champion", "2")
    client.set_registered_model_alias("adult", "previous", "1")
    former = version.order(data, tmp_path / "former", model="models:/adult/1")
    assert score(former).version.admitted == "former champion"
    client.set_model_version_tag("adult", "1", versions.ROLLED_BACK, "loss rose")
    with pytest.raises(NotApprovedError, match="rolled back: loss rose"):
        score(version.order(data, tmp_path / "back", model="models:/adult/1"))


def test_the_monitor_looks_at_batches(
    registered: Callable[..., Any], many_instances: list[dict[str, Any]], tmp_path: Path
) -> None:
    version = registered()
    captures = tmp_path / "captures"
    data = source_of("parquet", many_instances, tmp_path)
    spec = MonitoringSpec(source="batch", captures=str(captures), min_rows=1)
    monitor = Monitor(
        folder=MonitorFolder(tmp_path / "home"),
        service="adult",
        spec=spec,
        notify=NotifySpec(),
        beside=tmp_path,
        watched=partial(
            watched_batch,
            tmp_path / "home",
            "adult",
            captures=str(captures),
            known_of=lambda _: None,
            tracking_uri=lambda: version.store,
            require=False,
        ),
    )
    seen = []
    for run, share in (("first", 1.0), ("second", 0.25)):
        order = version.order(
            data, tmp_path / run, run=run, capture=str(captures), capture_sample=share, part_rows=90
        )
        captured = score(order).captured
        with monitor.held():
            verdict, _ = monitor.look()
        seen.append(captured)
        state, _ = monitor.folder.read(service="adult")
        assert (verdict.version, state.seen) == (1, sum(seen))
        assert written(tmp_path / run).num_rows == len(many_instances)
    assert seen[0] == len(many_instances)
    assert 80 < seen[1] < 170


def test_batches_have_a_place_and_no_retraining() -> None:
    for given, what in (
        ({}, "needs captures"),
        ({"captures": "c", "retrain": "automatic"}, "begins none"),
    ):
        with pytest.raises(InputError, match=what):
            MonitoringSpec.parse({"source": "batch", **given}, where="monitoring")
