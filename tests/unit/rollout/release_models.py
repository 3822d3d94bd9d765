"""Models, policies, evaluations and plans to release, as small as they can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.gate.approval import ApprovalSpec
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.records.dataset import Column
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison, Scores
from penstock.records.model import FILE_NAME, Model

HOLDOUT = "xxh3-128:00000000000000000000000000000002"
TRAINING = "xxh3-128:00000000000000000000000000000001"

PLAN: dict[str, Any] = {
    "port": 0,
    "canary": {
        "interval": 1,
        "shadow": {"share": 0},
        "steps": [{"weight": 50, "min_samples": 100, "max_wait": 600}],
        "deadline": 3600,
        "traffic": {"source": "live"},
    },
}


def model_in(made: Path, *, number: int) -> Path:
    """Write a model's folder; another number is another model."""
    made.mkdir(parents=True)
    (made / "MLmodel").write_text("flavors: {}\n")
    (made / "model.bin").write_text(str(number))
    Model(
        name="m",
        task="binary",
        target="t",
        classes=("a", "b"),
        positive="b",
        threshold=0.5,
        columns=(Column(name="x", type="number"),),
        metric="roc_auc",
        score=0.9,
        parameters={"n": number},
        dataset=TRAINING,
        seed=0,
        commit="abc123",
        libraries={},
        trusted_types=(),
    ).write(made / FILE_NAME)
    return made


def evaluation_of(digest: str, *, champion: str, policy: Policy) -> Evaluation:
    better = Estimate(value=0.1, low=0.05, high=0.15)
    others = ["majority", "linear", *(["champion"] if champion else [])]
    return Evaluation(
        task="binary",
        metric="accuracy",
        higher_is_better={"accuracy": True},
        dataset=HOLDOUT,
        model=digest,
        rows=200,
        confidence=0.95,
        resamples=100,
        seed=0,
        champion=champion,
        champion_state="compared" if champion else "none",
        commit="abc123",
        policy=policy.digest(),
        scores=tuple(
            Scores(
                name=name,
                description="",
                model=digest,
                dataset=HOLDOUT,
                metrics={"accuracy": better},
            )
            for name in ("candidate", *others)
        ),
        comparisons=tuple(
            Comparison(against=name, metric="accuracy", advantage=better) for name in others
        ),
    )


def policy_asking(people: int) -> Policy:
    """The rules on the whole holdout alone, and so many people."""
    kept = {"baseline", "linear", "champion", "approval"}
    off = {
        name: None
        for name, f in Policy.model_fields.items()
        if f.default is not None and name not in kept and f.default != ()
    }
    return Policy(**off, approval=ApprovalSpec(people=people))
