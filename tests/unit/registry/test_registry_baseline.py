"""The baseline of a version: bound, kept, read back, and never another one unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import IntegrityError
from penstock.gate.decision import decide
from penstock.gate.rules.business_value import BusinessValueSpec
from penstock.metrics.business_value import DecisionValue
from penstock.model import digest_of
from penstock.records.baseline import Baseline, LossFigure, ScoreBins
from penstock.records.explanation import Explanation, Importance
from penstock.records.release import Registration
from penstock.registry import versions
from penstock.registry.baseline import VersionBaseline, load_baseline
from penstock.registry.verify import verify

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""


def a_baseline(registry: Registry, **changes: Any) -> Baseline:
    fields: dict[str, Any] = {
        "task": "binary",
        "target": "target",
        "metric": "accuracy",
        "model": digest_of(registry.models(depth=2)),
        "dataset": "rows",
        "rows": 200,
        "classes": (0, 1),
        "threshold": 0.5,
        "scores": (ScoreBins(edges=(0.5, 1.0), rows=(100, 100), sums=(20, 80), hits=(20, 80)),),
        "losses": {"error": LossFigure(mean=0.2, deviation=0.4)},
    }
    return Baseline(**(fields | changes))


def registered(registry: Registry, **grounds: Any) -> Registration:
    baseline = grounds.get("baseline")
    evaluation = registry.evaluation(baseline=baseline.digest() if baseline else "")
    decision = decide(evaluation, policy=registry.policy)
    return registry.register(decision, evaluation, **grounds)


def loaded(registry: Registry) -> VersionBaseline:
    version = versions.registered("models:/adult/1", tracking_uri=registry.uri)
    return load_baseline(version, tracking_uri=registry.uri)


def wrong(registry: Registry) -> dict[str, str]:
    _, checks = verify("models:/adult/1", tracking_uri=registry.uri)
    return {check.name: check.verdict for check in checks if not check.good}


def test_a_version_carries_it(registry: Registry) -> None:
    baseline = a_baseline(registry)
    registration = registered(registry, baseline=baseline)
    assert Baseline.read(registry.pack(registration) / "baseline.json") == baseline
    found = loaded(registry)
    assert found.baseline == baseline
    assert found.attributions == ()
    assert found.notes == (
        "models:/adult/1 was registered without an explanation: no attributions.",
    )
    _, checks = verify("models:/adult/1", tracking_uri=registry.uri)
    verdicts = {check.name: check.verdict for check in checks}
    assert verdicts["baseline.json"] == verdicts["evaluated with baseline"] == "holds"
    assert wrong(registry) == {}


def test_the_cost_is_that_of_the_policy_that_it_was_decided_on(registry: Registry) -> None:
    registered(registry)
    assert loaded(registry).cost is None
    cost = {"matrix": {"true_positive": 5, "false_positive": -1}, "unit": "EUR", "severity": "warn"}
    spec = BusinessValueSpec.parse(cost, where="cost")
    registry.policy = registry.policy.model_copy(update={"cost": spec})
    registered(registry)
    version = versions.registered("models:/adult/2", tracking_uri=registry.uri)
    found = load_baseline(version, tracking_uri=registry.uri).cost
    assert DecisionValue.model_validate(found).matrix == spec.matrix
    assert found is not None
    assert set(found) == {"matrix", "expression", "unit"}


def test_attributions_come_from_the_explanation(registry: Registry) -> None:
    evaluation = registry.evaluation()
    importance = Importance(column="x", attribution=0.5, deciles=tuple(range(11)))
    explanation = Explanation(
        model=evaluation.model,
        dataset=evaluation.dataset,
        metric="accuracy",
        rows=10,
        seed=0,
        method="",
        unit="",
        exact=True,
        largest_gap=0.0,
        importances=(importance,),
        dependences=(),
        examples=(),
    )
    registered(registry, baseline=a_baseline(registry), explanation=explanation)
    found = loaded(registry)
    assert found.attributions == (importance,)
    assert found.notes == ()


def _edit(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": 201}))


def test_one_that_was_edited_is_found_and_not_read(registry: Registry) -> None:
    registration = registered(registry, baseline=a_baseline(registry))
    path = registry.pack(registration) / "baseline.json"
    kept = path.read_text()
    _edit(path)
    assert wrong(registry) == {"baseline.json": "fails", "evaluated with baseline": "fails"}
    with pytest.raises(IntegrityError, match=r"baseline\.json has digest .* was registered"):
        loaded(registry)
    path.write_text(kept)
    _edit_manifest(path.parent / "manifest.json")
    with pytest.raises(IntegrityError, match=r"manifest\.json has digest"):
        loaded(registry)


def _edit_manifest(path: Path) -> None:
    raw = json.loads(path.read_text())
    del raw["files"]["baseline.json"]
    path.write_text(json.dumps(raw))


def test_tags_that_were_edited_with_it_do_not_help(registry: Registry) -> None:
    from penstock.records.evidence import Evidence

    registration = registered(registry, baseline=a_baseline(registry))
    path = registry.pack(registration) / "manifest.json"
    _edit_manifest(path)
    forged = Evidence.read(path).digest()
    registry.store().set_model_version_tag("adult", "1", versions.EVIDENCE_DIGEST, forged)
    with pytest.raises(IntegrityError, match="evidence"):
        loaded(registry)


def test_only_the_one_of_the_evaluation_is_registered(registry: Registry) -> None:
    ours, other = a_baseline(registry), a_baseline(registry, rows=201)
    evaluation = registry.evaluation(baseline=ours.digest())
    decision = decide(evaluation, policy=registry.policy)
    with pytest.raises(IntegrityError, match="made with baseline") as caught:
        registry.register(decision, evaluation, baseline=other)
    assert caught.value.where == "baseline"
    # Nor one beside an evaluation that was made without.
    plain = registry.evaluation()
    with pytest.raises(IntegrityError, match="made with baseline none"):
        registry.register(decide(plain, policy=registry.policy), plain, baseline=ours)
    assert not registry.store().search_model_versions("name = 'adult'")


def test_a_version_without_one_is_whole_and_says_so(registry: Registry) -> None:
    registration, _ = registry.registered()
    assert wrong(registry) == {}
    found = loaded(registry)
    assert found.baseline is None
    assert found.notes[0].startswith(
        "models:/adult/1 has no baseline: it was registered by an older"
    )
    manifest = json.loads((registry.pack(registration) / "manifest.json").read_text())
    assert "the baseline that the monitor compares with" in manifest["notes"][0]


def test_a_version_from_before_evidence_was_kept(registry: Registry) -> None:
    registry.registered()
    registry.store().delete_model_version_tag("adult", "1", versions.EVIDENCE_DIGEST)
    found = loaded(registry)
    assert found.baseline is None
    assert found.notes == ("models:/adult/1 was registered without evidence.",)
