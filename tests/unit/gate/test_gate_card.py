"""The model card: nothing that a record does not say, and what is absent is said to be."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.data.table import read_dataset
from penstock.errors import IntegrityError
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.explanation.explain import explain
from penstock.gate.decision import decide
from penstock.gate.policy import Policy
from penstock.model import digest_of
from penstock.records.approval import Approval, Identity
from penstock.records.dataset import Dataset
from penstock.records.model import Model
from penstock.records.quality import Quarantine, Validation
from penstock.registry.card import model_card
from penstock.registry.evidence import Grounds, fetch_pack
from penstock.registry.register import register
from penstock.registry.spec import CardSpec
from penstock.registry.versions import registered


@pytest.fixture(scope="module")
def records(gate_world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every record of the good model, from the real steps."""
    home = tmp_path_factory.mktemp("card")
    evaluation = evaluate(
        gate_world.holdout,
        model=gate_world.good,
        baselines=gate_world.baselines,
        spec=EvaluationSpec(resamples=200),
        output=home / "evaluation.json",
        report=None,
    ).evaluation
    decision = decide(evaluation, policy=Policy())
    explanation = explain(
        gate_world.holdout, model=gate_world.good, output=home / "e.json", report=home / "e.html"
    )
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    approval = Approval(
        uri="models:/loans/1",
        model=evaluation.model,
        decision=decision.digest(),
        verdict="approved",
        by=Identity(name="mira", means="kubernetes user"),
        reason="The board has seen it",
        time=now,
        expires=now.replace(day=28),
    )
    return {
        "training": read_dataset(gate_world.home / "good-train"),
        "holdout": read_dataset(gate_world.holdout),
        "evaluation": evaluation,
        "decision": decision,
        "explanation": explanation,
        "approvals": (approval,),
    }


def facts(gate_world: Any) -> dict[str, Any]:
    return {
        "model": Model.read(gate_world.good / "penstock.json"),
        "digest": digest_of(gate_world.good),
        "name": "loans",
    }


SAID = CardSpec(
    intended_use="Help clerks <b>sort</b> applications.",
    out_of_scope="Deciding without a clerk.",
    limits=("Only | three regions.",),
    owner="Credit team",
    contact="credit@example.org",
)


def test_a_card_holds_what_was_measured(gate_world: Any, records: dict[str, Any]) -> None:
    card = model_card(**facts(gate_world), uri="models:/loans/1", spec=SAID, **records)
    auc = records["evaluation"].candidate.metrics["roc_auc"]
    top = records["explanation"].importances[0].column
    for text in (card.html, card.markdown):
        for wanted in (
            f"{auc.value:.4g} ({auc.low:.4g} to {auc.high:.4g})",
            "Deciding without a clerk.",
            "mira",
            "kubernetes user",
            "The board has seen it",
            records["decision"].reason(),
            records["training"].content,
            records["decision"].policy,
            top,
            "600 rows",
        ):
            assert wanted in text.replace("\\_", "_"), wanted
    assert "&lt;b&gt;sort" in card.html
    assert "\\<b\\>sort" in card.markdown
    assert "Only \\| three regions." in card.markdown
    titles = [line[3:] for line in card.markdown.splitlines() if line.startswith("## ")]
    assert titles[:3] == ["Model details", "Intended use", "Out of scope"]
    assert all(f">{html.escape(title)}</h2>" in card.html for title in titles)


def test_what_is_absent_is_said_to_be_absent(gate_world: Any) -> None:
    card = model_card(**facts(gate_world))
    parts = {part.splitlines()[0]: part for part in card.markdown.split("\n## ")[1:]}
    for title in ("Intended use", "Out of scope", "Ethical considerations"):
        assert "Not stated" in parts[title]
    for title in ("Metrics", "Parts of the data (slices)", "Groups of people", "Serving"):
        assert "Not measured" in parts[title]
    assert "not looked for" in parts["Leakage"]
    assert "Not known" in parts["Training data"]
    assert "was not judged by the gate" in parts["The gate's decision"]
    assert "None is recorded" in parts["Approvals by people"]
    assert "It was not measured" in card.markdown.splitlines()[2]
    assert "approved" not in card.markdown.lower().replace("approvals", "")


def test_a_refused_model_is_not_flattered(gate_world: Any, records: dict[str, Any]) -> None:
    strict = Policy.parse({"floors": [{"metric": "roc_auc", "at_least": 0.9999}]}, where="test")
    judged = records["evaluation"].model_copy(update={"policy": strict.digest()})
    refused = decide(judged, policy=strict)
    card = model_card(**facts(gate_world), evaluation=judged, decision=refused)
    assert "Refused: " in card.markdown
    assert "floor roc\\_auc | fail | block" in card.markdown


@pytest.mark.parametrize("kind", ["evaluation", "decision", "explanation", "training", "holdout"])
def test_records_of_different_things_make_no_card(
    gate_world: Any, records: dict[str, Any], kind: str
) -> None:
    field = "content" if kind in ("training", "holdout") else "model"
    other = records[kind].model_copy(update={field: "sha256:another"})
    with pytest.raises(IntegrityError, match="sha256:another"):
        model_card(**facts(gate_world), **(records | {kind: other}))


def quarantined(kept: str) -> Validation:
    apart = Quarantine(rows=4, of=1000, max_share=0.01, kept=kept, content="rows1:apart")
    return Validation(
        dataset="rows1:all", suite="s", rows=1000, passed=True, findings=(), quarantine=apart
    )


def test_quarantined_rows_are_said_beside_the_training_data(
    gate_world: Any, records: dict[str, Any]
) -> None:
    version = facts(gate_world)["model"].dataset_version
    card = model_card(**facts(gate_world), validation=quarantined(version), **records)
    parts = {part.splitlines()[0]: part for part in card.markdown.split("\n## ")[1:]}
    assert "Of the data, 4 of 1,000 rows (0.4 %) were quarantined" in parts["Training data"]
    with pytest.raises(IntegrityError, match="without quarantined rows is rows1:another"):
        model_card(**facts(gate_world), validation=quarantined("rows1:another"), **records)


def test_the_same_records_make_the_same_card(gate_world: Any, records: dict[str, Any]) -> None:
    first, again = (model_card(**facts(gate_world), spec=SAID, **records) for _ in range(2))
    assert first == again


def test_a_registered_version_has_its_card_with_what_it_was_trained_on(
    gate_world: Any, records: dict[str, Any], tmp_path: Path
) -> None:
    got = register(
        gate_world.good,
        decision=records["decision"],
        evaluation=records["evaluation"],
        name="carded",
        tracking_uri=gate_world.store,
        grounds=Grounds(card=SAID, explanation=records["explanation"]),
    )
    version = registered(got.uri, tracking_uri=gate_world.store)
    pack, _ = fetch_pack(version, tracking_uri=gate_world.store, into=tmp_path)
    assert pack is not None
    card = (pack / "card.md").read_text()
    assert "Deciding without a clerk." in card
    assert records["training"].content in card
    assert "Held out by the stratified method" in card
    assert Dataset.read(pack / "train.json") == records["training"]


def test_the_section_is_part_of_a_project_file(tmp_path: Path) -> None:
    from penstock import project

    path = tmp_path / "project.yaml"
    path.write_text(
        "name: x\ntarget: y\nsource: {uri: z.csv}\n"
        "card: {intended_use: Sorting., limits: [One., Two.], owner: Us}\n"
    )
    card = project.load(path).card
    assert (card.intended_use, card.limits, card.owner) == ("Sorting.", ("One.", "Two."), "Us")
