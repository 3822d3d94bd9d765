"""From a scored batch to its labels, and to the monitor that sees what they say."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scored_tables import source_of, written
from serving_process import ROW

from penstock.captures.places import LocalPlace
from penstock.captures.reader import read_labels
from penstock.metrics.score_bins import score_bins, score_edges
from penstock.monitoring.look import Monitor
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.batch import watched_batch
from penstock.monitoring.store.state import MonitorFolder
from penstock.notification import NotifySpec
from penstock.pipelines import cli
from penstock.records.baseline import Baseline, LossFigure
from penstock.records.estimate import Estimate
from penstock.records.monitoring import Known, MonitorState
from penstock.scoring.score import score


def known(out: Path) -> Known:
    """What the model was worth on rows whose labels it predicted all."""
    table = written(out)
    scores = np.array(table["probability_yes"].to_pylist())
    truth = np.array(table["prediction"].to_pylist()) == "yes"
    bins = score_bins(scores, truth, score_edges(scores, truth, threshold=0.4))
    yes = int(truth.sum())
    baseline = Baseline(
        task="binary",
        target="target",
        metric="accuracy",
        model="sha256:0",
        dataset="xxh3:0",
        rows=len(scores),
        classes=("no", "yes"),
        threshold=0.4,
        scores=(bins,),
        confusion=((len(scores) - yes, 0), (0, yes), (0, 0)),
        losses={"error": LossFigure(mean=0.0, deviation=0.0)},
    )
    return Known(
        model="sha256:0",
        baseline=baseline,
        metrics={"accuracy": Estimate(value=1.0, low=0.99, high=1.0)},
        higher_is_better={"accuracy": True},
        form=2,
    )


def project_in(folder: Path) -> Path:
    """A project whose monitor watches batches."""
    given = {
        "name": "adult",
        "target": "target",
        "source": {"uri": "rows.csv"},
        "monitoring": {"source": "batch", "captures": "captures"},
    }
    (folder / "penstock.yaml").write_text(yaml.safe_dump(given))
    return folder / "penstock.yaml"


def table_of_labels(path: Path, labels: list[tuple[str, str]]) -> str:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("request_id", "target"), *labels])
    return str(path)


def test_from_scores_over_labels_to_what_the_monitor_sees(
    registered: Callable[..., Any],
    many_instances: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = registered()
    captures = tmp_path / "captures"
    project = project_in(tmp_path)
    order = version.order(
        source_of("parquet", many_instances, tmp_path), tmp_path / "out", run="today",
        keep=("id",), request_ids=True, capture=str(captures), part_rows=90,
    )  # fmt: skip
    score(order)
    scored = written(tmp_path / "out")
    ids = scored["request_id"].to_pylist()
    assert ids[:2] == ["today-1", "today-2"]
    assert scored.column_names[:3] == ["id", "request_id", "prediction"]
    monitor = Monitor(
        folder=MonitorFolder(tmp_path / "home"),
        service="adult",
        spec=MonitoringSpec(source="batch", captures=str(captures), min_rows=1),
        notify=NotifySpec(),
        beside=tmp_path,
        watched=partial(
            watched_batch,
            tmp_path / "home",
            "adult",
            captures=str(captures),
            known_of=lambda _: known(tmp_path / "out"),
            tracking_uri=lambda: version.store,
        ),
    )

    def state_after_a_look() -> MonitorState:
        with monitor.held():
            monitor.look()
        return monitor.folder.read(service="adult")[0]

    assert state_after_a_look().labelled_performance is None

    predicted = scored["prediction"].to_pylist()
    right = list(zip(ids, predicted, strict=True))
    turned = [(one, "no" if label == "yes" else "yes") for one, label in right]
    labels = [*turned[:100], *right[100:400], ("today-9999", "yes"), (ids[450], "")]
    given = table_of_labels(tmp_path / "labels.csv", labels)
    command = ["captures", "labels", given, str(project)]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "Wrote 400 labels." in said
    assert "1 are of no row that was captured there" in said
    assert "1 rows of the table have no label yet" in said
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "Wrote 0 labels." in said
    assert "400 were there already" in said

    seen = state_after_a_look()
    assert seen.labelled_performance is not None
    assert seen.labelled_performance.labels == 400
    assert seen.labelled_performance.realized is not None
    assert seen.labelled_performance.realized.value == pytest.approx(0.75)
    assert state_after_a_look().labelled == seen.labelled, "each label counts once"


def test_labels_that_are_wrong_are_not_written(
    registered: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captures = tmp_path / "captures"
    project = str(project_in(tmp_path))
    data = source_of("jsonl", [ROW, ROW], tmp_path)
    right = table_of_labels(tmp_path / "right.csv", [("r-1", "yes")])
    assert cli.main(["captures", "labels", right, project]) == 1
    assert "no captured rows of a batch" in capsys.readouterr().err
    score(registered().order(data, tmp_path / "out", run="r", capture=str(captures)))
    for labels, words in (
        ([("other-1", "yes")], "none of the 1 labels is of a row that was captured"),
        ([("r-1", "yes"), ("r-2", "maybe")], "'maybe', the label of 'r-2', is none of the"),
        ([("r-1", "yes"), ("r-1", "no")], "'r-1' has two labels: 'yes' and 'no'"),
        ([("r-1", "yes"), ("", "no")], "row 2 has no request id"),
    ):
        given = table_of_labels(tmp_path / "labels.csv", labels)
        assert cli.main(["captures", "labels", given, project]) == 1
        assert words in capsys.readouterr().err
        assert read_labels(captures, after=None)[0].num_rows == 0
    absent = ["captures", "labels", right, project, "--label", "paid"]
    assert cli.main(absent) == 1
    assert "paid" in capsys.readouterr().err


@pytest.mark.long
def test_labels_that_were_cut_short_are_written_once(
    registered: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.captures.labels._SEGMENT", 2)
    captures = tmp_path / "captures"
    project = str(project_in(tmp_path))
    data = source_of("jsonl", [ROW] * 5, tmp_path)
    score(registered().order(data, tmp_path / "out", run="r", capture=str(captures)))
    labels = [(f"r-{row}", "yes") for row in range(1, 6)]
    table = tmp_path / "labels.parquet"
    names = dict(zip(("request_id", "target"), map(list, zip(*labels, strict=True)), strict=True))
    import pyarrow as pa

    pq.write_table(pa.table(names), table)
    whole = LocalPlace.write

    class Killed(BaseException):
        pass

    for at in range(7):  # Three segments with their manifests, and the end.
        calls = iter(range(100))

        def dying(self: Any, folder: str, name: str, data: bytes, at: int = at) -> None:
            if next(calls) == at:  # noqa: B023
                raise Killed
            whole(self, folder, name, data)

        with monkeypatch.context() as patch:
            patch.setattr(LocalPlace, "write", dying)
            with pytest.raises(Killed):
                cli.main(["captures", "labels", str(table), project])
        for _ in range(2):
            assert cli.main(["captures", "labels", str(table), project]) == 0
            found = read_labels(captures, after=None)[0]
            assert sorted(found["request_id"].to_pylist()) == [one for one, _ in labels]
        for path in captures.rglob("feedback-*"):
            path.unlink()
        for path in captures.rglob("ended-*"):
            if '"feedback":5' in path.read_text().replace(" ", ""):
                path.unlink()


def test_a_column_of_the_source_may_not_have_the_name(
    registered: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    command = ["score", "models:/adult@champion", "--data", str(tmp_path / "rows.jsonl")]
    command += ["--out", str(tmp_path / "out"), "--tracking-uri", registered().store]
    assert cli.main([*command, "--keep", "request_id", "--request-ids"]) == 1
    assert "has the name of the one that is made: 'request_id'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
