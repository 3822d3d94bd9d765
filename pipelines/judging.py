"""One model measured and judged as a pipeline's steps do it, without a pipeline."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.data.spec import SourceSpec
    from penstock.evaluation.spec import EvaluationSpec
    from penstock.gate.compared import Champion
    from penstock.gate.evaluation import Evaluation
    from penstock.gate.policy import Policy
    from penstock.records.dataset import Dataset
    from penstock.records.decision import Decision
    from penstock.records.model import Model

NONE = "none"
REGISTERED = "models:/"

_CHAMPION = "@champion"
_TEXTS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")


@dataclass(frozen=True)
class Order:
    """What is to be judged, and by what.

    Args:
        policy: What must hold.
        spec: How to measure.
        model: `models:/NAME/VERSION`, `models:/NAME@ALIAS` or a model folder.
        data: Rows that the model has not seen: a dataset folder, or a table.
        champion: What to compare with, in the form of `model`; `none`: with nothing; empty: with
            the champion of the registered model.
        baselines: What train wrote beside the model; None: the trivial baseline, made again.
        source: How to read a table; None: as the model's training table was read.
        name: What the pages call the model; empty: its address.
        image: The image that judges; empty outside of one.
    """

    policy: Policy
    spec: EvaluationSpec
    model: str
    data: str
    champion: str = ""
    baselines: Path | None = None
    source: SourceSpec | None = None
    name: str = ""
    image: str = ""


def judge(order: Order, *, scratch: Path, page: bool = True) -> tuple[Decision, Evaluation]:
    """Measure a model on rows that it has not seen and judge it by a policy.

    It does what the steps evaluate, probe_serving and decide do, by the same functions. Registered
    models are looked for in the MLflow store of the environment (`in_store`).

    Args:
        order: What is judged.
        scratch: A folder that is filled: evaluation.json, evaluation.html, operations.json,
            decision.json and decision.html are left in it.
        page: Whether the evaluation's page is made: its drawings take as long as the rest.

    Raises:
        UsageError: If the model, the rows or the champion are not there.
        InputError: If the rows do not fit the model, or the policy asks for what they lack.
        ServiceError: If the registry does not answer.
    """
    from penstock.evaluation.evaluate import evaluate
    from penstock.gate.decision import run
    from penstock.gate.evaluation import Evaluation
    from penstock.serving.probe import probe

    if not order.champion and not order.model.startswith(REGISTERED):
        raise UsageError(
            "a model folder does not name the champion that it would replace",
            where="--champion",
            remedy="Name it, for example models:/NAME@champion, or give --champion none.",
        )
    model = _model(order.model, scratch / "model", what="--model")
    holdout = _data(order.data, model=model, source=order.source, scratch=scratch)
    evaluation = scratch / "evaluation.json"
    evaluate(
        holdout,
        model=model,
        baselines=_baselines(order.baselines, model=model, scratch=scratch),
        champion=_champion(order, scratch / "champion"),
        policy=order.policy,
        spec=order.spec,
        output=evaluation,
        report=scratch / "evaluation.html" if page else None,
    )
    probe(model, holdout=holdout, policy=order.policy, output=scratch / "operations.json")
    decision = run(
        evaluation,
        policy=order.policy,
        name=order.name or _name(order.model),
        output=scratch / "decision.json",
        report=scratch / "decision.html",
        operations=scratch / "operations.json",
        image=order.image,
    )
    return decision, Evaluation.read(evaluation)


@contextlib.contextmanager
def in_store(tracking_uri: str) -> Iterator[None]:
    """Let the block talk to a store; an empty address leaves the environment's."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _model(text: str, folder: Path, *, what: str) -> Path:
    """Return a model's folder, fetched if it is a registered version."""
    if text.startswith(REGISTERED):
        from penstock.registry.versions import fetch

        return fetch(text, tracking_uri="", destination=folder)
    if not Path(text).is_dir():
        raise UsageError(
            f"there is no folder {text!r}",
            where=what,
            remedy="Give a model folder, or a version as models:/NAME/VERSION.",
        )
    return Path(text)


def _champion(order: Order, folder: Path) -> Champion | None:
    """Return the champion; None if there is none."""
    from penstock.gate.compared import Champion

    text = order.champion
    if text == NONE:
        return None
    implied = not text or text.endswith(_CHAMPION)
    if implied:
        from penstock.registry.champion import fetch_champion

        name = (text or order.model).removeprefix(REGISTERED).partition("/")[0].partition("@")[0]
        return fetch_champion(name, tracking_uri="", destination=folder)
    if text.startswith(REGISTERED):
        from penstock.registry.versions import registered

        # By its number: an alias may name another version tomorrow.
        text = registered(text, tracking_uri="").uri
    return Champion(uri=text, folder=_model(text, folder, what="--champion"))


def _data(text: str, *, model: Path, source: SourceSpec | None, scratch: Path) -> Path:
    """Return the rows as a dataset: the one given, or a table read as the project reads its own."""
    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec
    from penstock.records.dataset import Dataset

    if Dataset.record_in(Path(text)):
        return Path(text)
    if "://" not in text and not Path(text).exists():
        raise UsageError(f"there is no file {text!r}", where="--data")
    fields = _as_trained(model) if text.endswith(_TEXTS) else {}
    if source is not None:
        fields = source.model_dump(exclude={"format", "query", "incremental"})
    spec = SourceSpec.model_validate(fields | {"uri": text})
    found = ingest(spec, output=scratch / "data")
    # The pipeline settled types on the whole table; from these rows alone others may be inferred,
    # and equal rows would have another digest.
    trained = {column.name: column.type for column in _trained(model).columns}
    other = {
        column.name: trained[column.name]
        for column in found.columns
        if trained.get(column.name, column.type) != column.type
    }
    if not other:
        return scratch / "data"
    types = {**other, **spec.types}
    ingest(spec.model_copy(update={"types": types}), output=scratch / "retyped")
    return scratch / "retyped"


def _as_trained(model: Path) -> dict[str, Any]:
    """Return the settings that read texts as the table was read that the model learned from."""
    from penstock.data.spec import settings_of

    reading = _trained(model).reading
    return {} if reading is None else settings_of(reading)


def _trained(model: Path) -> Model | Dataset:
    """Return the record that has most of the columns that a model learned from."""
    from penstock.records.dataset import FILE_NAME, Dataset
    from penstock.records.model import FILE_NAME as MODEL_NAME
    from penstock.records.model import Model

    if (model / FILE_NAME).is_file():
        return Dataset.read(model / FILE_NAME)
    return Model.read(model / MODEL_NAME)


def _baselines(given: Path | None, *, model: Path, scratch: Path) -> Path | None:
    """Return the baselines to beat: those given, else the trivial one, made again."""
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"there is no folder {str(given)!r}", where="--baselines")
        return given
    from penstock.training.baselines import rebuild_constant

    made = rebuild_constant(model, output=scratch / "baselines")
    if made is None:
        print(
            "penstock: the model's folder does not say what its training rows were like, so no "
            "baseline is measured; give --baselines",
            file=sys.stderr,
        )
    return made


def _name(model: str) -> str:
    return model.removeprefix(REGISTERED) if model.startswith(REGISTERED) else Path(model).name
