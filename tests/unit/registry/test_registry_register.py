"""Registering and fetching on a real SQLite store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running_process import silent_port

from penstock import model as model_module
from penstock.common import files
from penstock.errors import InputError, IntegrityError, NotApprovedError, ServiceError
from penstock.gate.evaluation import Evaluation
from penstock.model import onnx as onnx_model
from penstock.records.dataset import Dataset
from penstock.records.decision import Decision, RuleResult
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Scores
from penstock.records.evidence import Evidence
from penstock.records.model import Model
from penstock.registry import versions
from penstock.registry.champion import set_champion
from penstock.registry.evidence import folder_of
from penstock.registry.register import register
from penstock.rollout.fetching import fetch


def evaluation_of(model: Path) -> Evaluation:
    accuracy = Estimate(value=0.9, low=0.85, high=0.95)
    scores = Scores(
        name="candidate",
        description="",
        model=files.digest_of_folder(model),
        metrics={"accuracy": accuracy},
    )
    return Evaluation(
        task="binary",
        metric="accuracy",
        higher_is_better={"accuracy": True},
        dataset="xxh3-128:02",
        model=files.digest_of_folder(model),
        rows=10,
        confidence=0.95,
        resamples=100,
        seed=0,
        scores=(scores,),
        comparisons=(),
    )


def decision_on(model: Path, **changes: Any) -> Decision:
    rule = RuleResult(
        rule="baseline", severity="block", verdict="pass", value=0.1, bound=0, sentence="Better."
    )
    fields = {
        "approved": True,
        "model": files.digest_of_folder(model),
        "dataset": "xxh3-128:02",
        "evaluation": evaluation_of(model).digest(),
        "policy": "sha256:03",
        "rules": (rule,),
    }
    return Decision(**(fields | changes))


def _store(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _is_empty(uri: str) -> bool:
    store = _store(uri)
    return not store.search_registered_models() and len(store.search_experiments()) == 1


def test_a_version_carries_its_lineage_and_evidence(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    model = models()
    report = tmp_path / "report.html"
    report.write_text("<p>report</p>")
    decision, evaluation = decision_on(model), evaluation_of(model)
    got = register(
        model,
        decision=decision,
        evaluation=evaluation,
        name="adult",
        tracking_uri=uri,
        lineage={"image": "penstock:1", "pipeline_run": "r1", "commit": "fff"},
        reports=[report],
    )
    assert (got.name, got.version, got.uri) == ("adult", 1, "models:/adult/1")
    assert (got.model, got.decision) == (files.digest_of_folder(model), decision.digest())

    store = _store(uri)
    version = store.get_model_version("adult", "1")
    assert version.tags == {
        "penstock.model_digest": got.model,
        "penstock.decision_digest": got.decision,
        "penstock.dataset": "xxh3-128:00000000000000000000000000000009",
        "penstock.training_part": got.dataset,
        "penstock.holdout": "xxh3-128:02",
        "penstock.task": "binary",
        "penstock.target": "target",
        "penstock.estimator": "hist_gradient_boosting",
        "penstock.commit": "fff",
        "penstock.threshold": "0.4",
        "penstock.image": "penstock:1",
        "penstock.pipeline_run": "r1",
        "penstock.export_reason": "no holdout was given to check it on",
        "penstock.evidence_digest": version.tags["penstock.evidence_digest"],
    }
    assert store.get_registered_model("adult").aliases == {"challenger": 1}
    pack = Path(store.download_artifacts(got.mlflow_run, folder_of(got.decision)))
    names = {path.name for path in pack.iterdir()}
    assert names == {
        "decision.json", "evaluation.json", "model.json", "report.html", "manifest.json",
    }  # fmt: skip
    assert Decision.read(pack / "decision.json") == decision
    manifest = Evidence.read(pack / "manifest.json")
    assert manifest.digest() == version.tags["penstock.evidence_digest"]
    assert manifest.files.keys() == names - {"manifest.json"}
    assert (manifest.name, manifest.model, manifest.commit) == ("adult", got.model, "abc123")
    metrics = store.get_run(got.mlflow_run).data.metrics
    assert metrics["holdout_accuracy"] == 0.9
    assert metrics["holdout_accuracy_low"] == 0.85
    (logged,) = store.search_logged_models([store.get_run(got.mlflow_run).info.experiment_id])
    assert str(logged.status) == "READY"

    fetched = versions.fetch(got.uri, tracking_uri=uri, destination=tmp_path / "fetched")
    assert files.digest_of_folder(fetched) == got.model
    import mlflow.models

    info = mlflow.models.get_model_info(got.uri)
    assert info.signature is not None
    assert info.saved_input_example_info is not None


def test_registering_again_makes_no_second_version(models: Callable[..., Path], uri: str) -> None:
    arguments: dict[str, Any] = {"evaluation": None, "name": "adult", "tracking_uri": uri}
    first = register(models(), decision=decision_on(models()), **arguments)
    assert register(models(), decision=decision_on(models()), **arguments) == first
    other = register(models(), decision=decision_on(models(), policy="sha256:04"), **arguments)
    assert other.version == 2
    third = register(models(depth=3), decision=decision_on(models(depth=3)), **arguments)
    assert third.version == 3
    assert _store(uri).get_registered_model("adult").aliases == {"challenger": 3}


def test_the_run_that_trained_is_used_if_the_store_knows_it(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    store = _store(uri)
    run = store.create_run(store.create_experiment("train", (tmp_path / "a").as_uri()))
    for name, known in (("known", run.info.run_id), ("unknown", "0" * 32)):
        folder = tmp_path / name
        shutil.copytree(models(), folder)
        record = Model.read(folder / "penstock.json").model_copy(update={"mlflow_run": known})
        record.write(folder / "penstock.json")
        got = register(
            folder, decision=decision_on(folder), evaluation=None, name=name, tracking_uri=uri
        )
        assert (got.mlflow_run == run.info.run_id) == (name == "known")


def _refusals(model: Path, other: Path) -> dict[str, tuple[Decision, Evaluation | None, Any, str]]:
    failed = RuleResult(
        rule="x", severity="block", verdict="fail", value=0, bound=1, sentence="Too bad."
    )
    no, wrong = NotApprovedError, IntegrityError
    return {
        "refused": (decision_on(model, approved=False, rules=(failed,)), None, no, "Too bad"),
        "edited": (decision_on(model, rules=(failed,)), None, no, "its own rules do not"),
        "no rule passed": (decision_on(model, rules=()), None, no, "its own rules do not"),
        "other model": (decision_on(other), None, no, "not this one"),
        "other evaluation": (decision_on(model), evaluation_of(other), wrong, "not on this one"),
    }


@pytest.mark.parametrize(
    "case", ["refused", "edited", "no rule passed", "other model", "other evaluation"]
)
def test_without_approval_of_this_model_nothing_is_registered(
    case: str, models: Callable[..., Path], uri: str
) -> None:
    decision, evaluation, kind, message = _refusals(models(), models(depth=3))[case]
    with pytest.raises(kind, match=message):
        register(models(), decision=decision, evaluation=evaluation, name="adult", tracking_uri=uri)
    assert _is_empty(uri)


def test_a_decision_file_edited_to_approve_opens_nothing(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    failed = RuleResult(
        rule="x", severity="block", verdict="fail", value=0, bound=1, sentence="Too bad."
    )
    path = tmp_path / "decision.json"
    decision_on(models(), approved=False, rules=(failed,)).write(path)
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"approved": True}))
    with pytest.raises(NotApprovedError, match="do not edit its record"):
        register(
            models(),
            decision=Decision.read(path),
            evaluation=None,
            name="adult",
            tracking_uri=uri,
        )
    assert _is_empty(uri)


def test_a_folder_altered_after_the_decision_is_refused(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models(), folder)
    decision = decision_on(folder)
    (folder / "requirements.txt").write_text("other\n")
    with pytest.raises(NotApprovedError, match="altered or replaced after the decision"):
        register(folder, decision=decision, evaluation=None, name="adult", tracking_uri=uri)
    assert _is_empty(uri)


def test_bad_arguments_are_named_before_anything_is_made(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        "decision": decision_on(models()),
        "evaluation": None,
        "name": "adult",
        "tracking_uri": uri,
    }
    with pytest.raises(InputError, match=r"absent.html: the report does not exist"):
        register(models(), reports=[tmp_path / "absent.html"], **given)
    for key in ("model_digest", "A b"):
        with pytest.raises(InputError, match="lineage"):
            register(models(), lineage={key: "x"}, **given)
    assert _is_empty(uri)


def test_a_failure_midway_leaves_no_alias_and_is_made_good_by_a_retry(
    models: Callable[..., Path], uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    arguments: dict[str, Any] = {"evaluation": None, "name": "adult", "tracking_uri": uri}
    register(models(), decision=decision_on(models()), **arguments)

    def fails(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("store went away")

    # A store that goes away between two calls cannot be had on demand from a real one.
    for step in ("log_model_artifacts", "create_model_version", "set_registered_model_alias"):
        with monkeypatch.context() as broken:
            broken.setattr(MlflowClient, step, fails)
            with pytest.raises(ServiceError, match="store went away"):
                register(models(depth=3), decision=decision_on(models(depth=3)), **arguments)
        assert _store(uri).get_registered_model("adult").aliases == {"challenger": 1}
    made = register(models(depth=3), decision=decision_on(models(depth=3)), **arguments)
    assert made.version == 2
    assert _store(uri).get_registered_model("adult").aliases == {"challenger": 2}


def test_the_champion_moves_and_remembers_the_one_before(
    models: Callable[..., Path], uri: str
) -> None:
    assert versions.champion("adult", tracking_uri=uri) is None
    arguments: dict[str, Any] = {"evaluation": None, "name": "adult", "tracking_uri": uri}
    register(models(), decision=decision_on(models()), **arguments)
    assert versions.champion("adult", tracking_uri=uri) is None
    set_champion("adult", 1, tracking_uri=uri)
    register(models(depth=3), decision=decision_on(models(depth=3)), **arguments)
    for _ in range(2):
        set_champion("adult", 2, tracking_uri=uri)
        aliases = _store(uri).get_registered_model("adult").aliases
        assert aliases == {"champion": 2, "previous": 1}
    found = versions.champion("adult", tracking_uri=uri)
    assert found is not None
    assert (found.version, found.uri) == (2, "models:/adult/2")
    assert found.model == files.digest_of_folder(models(depth=3))
    # A version that is champion already is not made challenger by a retry.
    register(models(depth=3), decision=decision_on(models(depth=3)), **arguments)
    assert "challenger" not in _store(uri).get_registered_model("adult").aliases
    with pytest.raises(ServiceError, match="MLflow failed"):
        set_champion("adult", 9, tracking_uri=uri)


def test_what_was_altered_in_the_store_is_not_fetched(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    register(
        models(),
        decision=decision_on(models()),
        evaluation=None,
        name="adult",
        tracking_uri=uri,
    )
    (stored,) = (tmp_path / "artifacts").rglob("requirements.txt")
    stored.write_text("altered\n")
    target = tmp_path / "fetched"
    with pytest.raises(IntegrityError, match=r"models:/adult/1: .*changed after it was registered"):
        versions.fetch("models:/adult@challenger", tracking_uri=uri, destination=target)
    assert not target.exists()
    assert not list(tmp_path.glob(".fetched*"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("models:/adult/9", "no such version"),
        ("models:/none/1", "no such version"),
        ("models:/adult@champion", "no model 'adult' with the alias 'champion'"),
        ("adult", "Write models:/name/3"),
    ],
)
def test_what_is_not_there_is_named(address: str, message: str, uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        versions.fetch(address, tracking_uri=uri, destination=tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_version_without_a_digest_is_not_fetched(uri: str, tmp_path: Path) -> None:
    store = _store(uri)
    store.create_registered_model("foreign")
    store.create_model_version("foreign", source=tmp_path.as_uri())
    with pytest.raises(IntegrityError, match=r"models:/foreign/1: .*no tag penstock.model_digest"):
        versions.fetch("models:/foreign/1", tracking_uri=uri, destination=tmp_path / "fetched")


def test_a_store_that_is_down_is_an_error_and_not_an_answer(models: Callable[..., Path]) -> None:
    with silent_port() as port:
        down = f"http://user:secret@127.0.0.1:{port}"
        for call in (
            lambda: versions.champion("adult", tracking_uri=down),
            lambda: register(
                models(),
                decision=decision_on(models()),
                evaluation=None,
                name="adult",
                tracking_uri=down,
            ),
        ):
            with pytest.raises(ServiceError, match="MLflow does not answer") as caught:
                call()
            assert f"127.0.0.1:{port}" in str(caught.value)
            assert "Start the server" in str(caught.value)
            assert "secret" not in str(caught.value)


def on(holdout: Path, model: Path) -> Decision:
    """A decision that was made on a real holdout."""
    return decision_on(model, dataset=Dataset.of(holdout).content)


def test_a_version_brings_its_onnx_form(
    models: Callable[..., Path],
    write_holdout: Callable[..., Path],
    uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    holdout = write_holdout()
    arguments: dict[str, Any] = {
        "decision": on(holdout, models()),
        "evaluation": None,
        "name": "adult",
        "tracking_uri": uri,
    }
    got = register(models(), holdout=holdout, **arguments)
    figure = _store(uri).get_model_version("adult", "1").tags["penstock.export_max_difference"]
    assert float(figure) < 1e-9
    assert (
        f"served as ONNX, which differs from scikit-learn by {figure} at" in capsys.readouterr().out
    )
    found = versions.registered("models:/adult@challenger", tracking_uri=uri)
    assert (found.version, found.export) == (1, got.export)
    assert found.tags[versions.EXPORT_DIGEST] == got.export
    assert versions.EXPORT_REASON not in found.tags

    fetched = versions.fetch(got.uri, tracking_uri=uri, destination=tmp_path / "fetched")
    form = onnx_model.load(fetched, expected_digest=got.model, export_digest=got.export)
    assert form.export.rows == 200
    assert got.model == model_module.load(fetched, expected_digest=got.model).digest
    pack = Path(_store(uri).download_artifacts(got.mlflow_run, folder_of(got.decision)))
    names = {path.name for path in pack.iterdir()}
    assert names == {
        "decision.json", "export.json", "holdout.json", "model.json", "manifest.json",
    }  # fmt: skip
    assert Evidence.read(pack / "manifest.json").export == got.export
    assert not (models() / "serving").exists()

    # Again: the same version with the same form, whether or not the holdout is still there.
    assert register(models(), holdout=holdout, **arguments) == got
    assert register(models(), **arguments) == got


def test_a_model_without_an_onnx_form_says_why(
    models: Callable[..., Path], write_holdout: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models("regression"), folder)
    _scale(folder)
    holdout = write_holdout()
    got = register(
        folder,
        decision=on(holdout, folder),
        evaluation=None,
        name="adult",
        tracking_uri=uri,
        holdout=holdout,
    )
    assert got.export == ""
    found = versions.registered(got.uri, tracking_uri=uri)
    assert found.tags["penstock.export_reason"].startswith("MinMaxScaler has no ONNX form")
    assert found.export == ""
    fetched = versions.fetch(got.uri, tracking_uri=uri, destination=tmp_path / "fetched")
    assert not (fetched / "serving").exists()


def _scale(folder: Path) -> None:
    """Put a step that has no ONNX form here before the model's estimator."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler
    from skops.io import dump

    pipeline = model_module.load(folder).pipeline
    _, (_, features), (_, estimator) = pipeline.steps
    frame = model_module.load(folder).frame(
        {column.name: [None] for column in model_module.load(folder).record.columns}
    )
    scaler = MinMaxScaler().fit(np.arange(2)[:, None] * np.ones(features.transform(frame).shape))
    pipeline.steps[2] = ("estimator", make_pipeline(scaler, estimator))
    dump(pipeline, folder / "model.skops")


def test_only_what_was_approved_is_registered(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models(), folder)
    # The model's digest leaves this folder out, so that a decision says nothing of it.
    (folder / "serving").mkdir()
    (folder / "serving" / "model.onnx").write_bytes(b"planted")
    got = register(
        folder, decision=decision_on(models()), evaluation=None, name="adult", tracking_uri=uri
    )
    fetched = versions.fetch(got.uri, tracking_uri=uri, destination=tmp_path / "fetched")
    assert not (fetched / "serving").exists()


def test_another_holdout_is_refused(
    models: Callable[..., Path], write_holdout: Callable[..., Path], uri: str
) -> None:
    with pytest.raises(IntegrityError, match=r"made on dataset xxh3-128:02, not on this one"):
        register(
            models(),
            decision=decision_on(models()),
            evaluation=None,
            name="adult",
            tracking_uri=uri,
            holdout=write_holdout(),
        )
    assert _is_empty(uri)


@pytest.mark.parametrize(
    "change",
    ["alter", "plant", *(pytest.param(one, marks=pytest.mark.long) for one in ("add", "remove"))],
)
def test_a_form_that_was_altered_in_the_store_is_not_fetched(
    models: Callable[..., Path],
    write_holdout: Callable[..., Path],
    uri: str,
    tmp_path: Path,
    change: str,
) -> None:
    holdout = write_holdout()
    register(
        models(),
        decision=on(holdout, models()),
        evaluation=None,
        name="adult",
        tracking_uri=uri,
        holdout=None if change == "plant" else holdout,
    )
    (stored,) = (tmp_path / "artifacts").rglob("MLmodel")
    serving = stored.parent / "serving"
    if change == "alter":
        (serving / "model.onnx").write_bytes(b"altered")
    elif change == "remove":
        shutil.rmtree(serving)
    else:
        serving.mkdir(exist_ok=True)
        (serving / "another").write_bytes(b"planted")
    target = tmp_path / "fetched"
    with pytest.raises(IntegrityError, match=r"the digest of its ONNX form is .* was registered"):
        versions.fetch("models:/adult/1", tracking_uri=uri, destination=target)
    assert not target.exists()


def test_a_version_can_be_tagged_but_not_with_another_digest(
    models: Callable[..., Path], uri: str
) -> None:
    got = register(
        models(), decision=decision_on(models()), evaluation=None, name="adult", tracking_uri=uri
    )
    for reason in ("slow", "errors"):
        versions.tag("adult", 1, {"penstock.rolled_back": reason}, tracking_uri=uri)
        found = versions.registered(got.uri, tracking_uri=uri)
        assert found.tags["penstock.rolled_back"] == reason
    for key in (versions.MODEL_DIGEST, versions.EXPORT_DIGEST):
        with pytest.raises(InputError, match=f"the tag {key} is set when"):
            versions.tag("adult", 1, {key: "sha256:0"}, tracking_uri=uri)
    assert versions.registered(got.uri, tracking_uri=uri).model == got.model
    with pytest.raises(ServiceError, match="MLflow failed"):
        versions.tag("adult", 9, {"x": "y"}, tracking_uri=uri)
    with pytest.raises(InputError, match="no such version"):
        versions.registered("models:/adult/9", tracking_uri=uri)


def test_a_folder_here_with_a_form_that_was_not_registered_is_fetched_again(
    models: Callable[..., Path], uri: str, tmp_path: Path
) -> None:
    got = register(
        models(), decision=decision_on(models()), evaluation=None, name="adult", tracking_uri=uri
    )
    version = versions.registered(got.uri, tracking_uri=uri)
    folder = fetch(version, into=tmp_path / "here", tracking_uri=uri).folder
    (folder / "serving").mkdir()
    (folder / "serving" / "export.json").write_text("planted")
    again = fetch(version, into=tmp_path / "here", tracking_uri=uri).folder
    assert again == folder
    assert not (folder / "serving").exists()


def test_mlflow_shows_the_datasets_of_the_run_and_the_metrics_of_the_model(
    registry: Any,
) -> None:
    registration, _ = registry.registered()
    store = registry.store()
    content = Dataset.of(registry.holdout).content
    (holdout,) = [
        one.dataset
        for one in store.get_run(registration.mlflow_run).inputs.dataset_inputs
        if one.tags[0].value == "holdout"
    ]
    assert content.endswith(f":{holdout.digest}")
    assert json.loads(holdout.source)["digest"] == content
    model_id = store.get_model_version("adult", "1").source.rpartition("/")[2]
    measured = {metric.key: metric for metric in store.get_logged_model(model_id).metrics}
    assert measured["holdout_accuracy"].value == 0.1
    assert measured["holdout_accuracy_low"].value == 0.05
    assert measured["holdout_accuracy"].dataset_digest == holdout.digest
    assert store.get_run(registration.mlflow_run).data.metrics["holdout_accuracy"] == 0.1
