"""`python soak_release.py ACTION FOLDER NAME`: the end of a pipeline, to be killed at will.

`release` registers a variant of the model that lies in FOLDER, decided on against the champion of
that moment, and brings it to users; `resume` goes on with what a killed controller left. Prints the
outcome; the code is 0 for a promotion, 4 for a rollback, 1 for an error.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.model import digest_of
from penstock.records.dataset import Dataset
from penstock.records.decision import Decision
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison, Scores
from penstock.records.model import FILE_NAME, Model
from penstock.records.rollout import Order, Rollout
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import Grounds
from penstock.registry.register import register
from penstock.rollout import control
from penstock.rollout.release import Outputs, deploy
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import target_of

CODES = {"promoted": 0, "rolled_back": 4}


def main() -> int:
    """Do one action."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("release", "resume"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--variant", type=int, default=0)
    parser.add_argument("--fault", default="")
    options = parser.parse_args()
    folder, name = options.folder, options.name
    try:
        if options.action == "resume":
            rollout = _resume(folder, name)
        else:
            rollout = _release(folder, name, variant=options.variant, fault=options.fault)
    except PenstockError as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    print(f"version {rollout.candidate} {rollout.outcome}: {rollout.reason}")
    return CODES.get(rollout.outcome or "", 1)


def store_of(folder: Path) -> str:
    """Return the registry that both services share."""
    return f"sqlite:///{folder / 'mlflow.db'}"


def home_of(folder: Path) -> Path:
    """Return the home that both services share."""
    return folder / "home"


def _resume(folder: Path, name: str) -> Rollout:
    spec = DeploymentSpec(port=0)
    place = target_of(spec, service=name, home=home_of(folder), tracking_uri=store_of(folder))
    return control.resume(place)


def _release(folder: Path, name: str, *, variant: int, fault: str) -> Rollout:
    uri, holdout = store_of(folder), folder / "models" / "holdout"
    made = _variant(folder, name, variant)
    policy = _policy()
    champion = checked_champion(name, tracking_uri=uri).version
    evaluation = _evaluation(
        made, holdout=holdout, champion=champion.uri if champion else "", policy=policy
    )
    decision: Decision = decide(evaluation, policy=policy)
    registration = register(
        made,
        decision=decision,
        evaluation=evaluation,
        name=name,
        tracking_uri=uri,
        holdout=holdout,
        grounds=Grounds(policy=policy),
    )
    plan = json.loads((folder / "plan.json").read_text())
    order = Order(
        registration=registration,
        decision=decision,
        deployment={"port": 0, "canary": plan, "fault_injection": fault},
        holdout=str(holdout),
        tracking_uri=uri,
    )
    out = folder / "outputs" / name
    outputs = Outputs(out / "deployment.json", out / "rollout.json", out / "report.html")
    return deploy(order, home=home_of(folder), run=f"soak-{variant}", outputs=outputs)


def _variant(folder: Path, name: str, variant: int) -> Path:
    """Another model by its digest, whose answers are those of the first."""
    target = folder / "variants" / f"{name}-{variant}"
    if not target.exists():
        shutil.copytree(folder / "models" / "hist_gradient_boosting" / "penstock", target)
        shutil.rmtree(target / "serving", ignore_errors=True)
        record = Model.read(target / FILE_NAME)
        changed = {"parameters": {**record.parameters, "variant": variant}, "commit": "soak"}
        record.model_copy(update=changed).write(target / FILE_NAME)
    return target


def _policy() -> Policy:
    """The rules on the whole holdout alone: what is decided is not what is tried here."""
    kept = {"baseline", "linear", "champion", "approval"}
    off: dict[str, Any] = {
        name: None
        for name, field in Policy.model_fields.items()
        if field.default is not None and name not in kept and field.default != ()
    }
    return Policy(**off)


def _evaluation(model: Path, *, holdout: Path, champion: str, policy: Policy) -> Evaluation:
    better = Estimate(value=0.1, low=0.05, high=0.15)
    others = ["majority", "linear", *(["champion"] if champion else [])]
    digest, rows = digest_of(model), Dataset.of(holdout).content
    return Evaluation(
        task="binary",
        metric="accuracy",
        higher_is_better={"accuracy": True},
        dataset=rows,
        model=digest,
        rows=200,
        confidence=0.95,
        resamples=100,
        seed=0,
        champion=champion,
        champion_state="compared" if champion else "none",
        commit="soak",
        policy=policy.digest(),
        scores=tuple(
            Scores(
                name=each,
                description="",
                model=digest,
                dataset=rows,
                metrics={"accuracy": better},
            )
            for each in ("candidate", *others)
        ),
        comparisons=tuple(
            Comparison(against=each, metric="accuracy", advantage=better) for each in others
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
