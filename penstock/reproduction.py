"""Trains a registered version again from its evidence, and says what is another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import penstock
from penstock import model as models
from penstock import tracking
from penstock.data.restore import restore
from penstock.data.spec import SplitSpec
from penstock.data.split import split
from penstock.errors import InputError
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.metrics.business_value import DecisionValue
from penstock.passport.facts import Facts, read_facts
from penstock.quality.check import validate
from penstock.quality.quarantine import what_goes_on
from penstock.quality.spec import Contract, Expectation, ValidationSpec
from penstock.records.model import Model
from penstock.records.recipe import FILE_NAME, Machine, Recipe
from penstock.records.reproduction import Difference, Reproduction
from penstock.registry import versions
from penstock.training.spec import TrainingSpec
from penstock.training.train import train

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

FILE = "reproduction.json"

_CHOSEN = ("name", "parameters", "positive", "threshold", "abstention", "score")
"""Fields of a model's record that its training chose or measured."""


def reproduce(
    uri: str, *, tracking_uri: str, folder: Path, seed: int | None = None, source: str = ""
) -> Reproduction:
    """Train a version again: the same rows, settings and seeds, by the records of its evidence.

    Args:
        uri: `models:/name/3` or `models:/name@alias`.
        tracking_uri: The MLflow store; nothing is written to it.
        folder: An empty folder, for the rows, the model and `reproduction.json`.
        seed: Another seed of the training, to see how much hangs on it; None: the recorded one.
        source: Another address of the same source; empty: the recorded one.

    Returns:
        Whether the model is the same, to the last bit of every score, and what is another.

    Raises:
        InputError: If the evidence lacks a setting, or the source or its version is gone.
        IntegrityError: If the evidence does not hold, or the rows that are there now are others.
        ServiceError: If the registry or the source does not answer.
    """
    facts = read_facts(uri, tracking_uri=tracking_uri)
    registered = versions.fetch(
        facts.version.uri, tracking_uri=tracking_uri, destination=folder / "registered"
    )
    recipe = _recipe(registered, facts)
    table = folder / "dataset"
    restore(_known(facts.train, "the training part's record", facts), output=table, uri=source)
    try:
        again = _trained(_validated(table, facts, folder), facts, recipe, folder=folder, seed=seed)
    finally:
        # MLflow names one store for the process: the registry again, not the one of the training.
        tracking.client(tracking_uri)
    made = Recipe.read(folder / "model" / FILE_NAME)
    circumstances = (
        *_libraries(facts.model, again),
        *_code(facts, again),
        *_machine(recipe.machine, made.machine),
        *_differ("seed", {"training.seed": facts.model.seed}, {"training.seed": again.seed}),
        *_rows(facts, folder),
    )
    found = _compared(facts, registered, folder, circumstances)
    found.write(folder / FILE)
    return found


def _recipe(registered: Path, facts: Facts) -> Recipe:
    place = registered / FILE_NAME
    recipe = Recipe.read(place) if place.is_file() else None
    # An estimator of its own may have been tried and not chosen: then the model carries no code.
    if facts.model.code is not None or (recipe is not None and _names_code(recipe)):
        raise InputError(
            "it was trained with code of the project's own, which is not run from evidence",
            where=facts.version.uri,
            remedy="Run the project at the commit of its code, and compare the models' scores.",
        )
    return _known(recipe, "its recipe", facts)


def _names_code(recipe: Recipe) -> bool:
    metric = recipe.training.get("own_metric", {})
    return bool(
        recipe.training.get("estimator")
        or metric.get("function")
        or (recipe.features or {}).get("transformer")
    )


def _known(given: T | None, what: str, facts: Facts) -> T:
    if given is None:
        raise InputError(
            f"the evidence does not hold {what}, so it cannot be trained again",
            where=facts.version.uri,
            remedy="An older release trained or registered it: train it anew with this one.",
        )
    return given


def _validated(table: Path, facts: Facts, folder: Path) -> Path:
    """Return the rows that go on: where some were quarantined, they are taken out again."""
    found = facts.validation
    if found is None or found.quarantine is None or not found.quarantine.kept:
        return table
    settings = _known(found.settings, "the settings of its validation", facts)
    validate(
        table,
        contract=Contract.parse(settings["contract"], where="contract"),
        expectations=[
            Expectation.parse(one, where="expectations") for one in settings["expectations"]
        ],
        options=ValidationSpec.parse(settings["options"], where="validation"),
        results=folder / "validation.json",
        report=folder / "validation.html",
        valid=folder / "valid",
        quarantined=folder / "quarantined",
    )
    return what_goes_on(table, folder / "valid")


def _trained(table: Path, facts: Facts, recipe: Recipe, *, folder: Path, seed: int | None) -> Model:
    """Split, make features and train by the recorded settings; return the new model's record."""
    known = _known(facts.split, "the record of its split", facts)
    settings = _known(known.settings, "the settings of its split", facts)
    features = _known(recipe.features, "the settings of its features", facts)
    spec = TrainingSpec.parse(recipe.training, where="recipe.training")
    if seed is not None:
        spec = spec.model_copy(update={"seed": seed})
    parts, target = folder / "train", facts.model.target
    proof = split(
        table,
        SplitSpec.parse(settings, where="split"),
        target=target,
        task=facts.model.task,
        train=parts,
        holdout=folder / "holdout",
    )
    fit_features(
        parts,
        target=target,
        spec=FeaturesSpec.parse(features, where="recipe.features"),
        output=folder / "features",
        report=folder / "features.html",
        split=proof,
    )
    value = recipe.value
    return train(
        parts,
        features=folder / "features",
        target=target,
        task=facts.model.task,
        positive=recipe.positive,
        spec=spec,
        model=folder / "model",
        baselines=folder / "baselines",
        report=folder / "training.html",
        experiment=facts.version.name,
        # A store of its own: the registry does not change by being checked.
        tracking_uri=f"sqlite:///{folder.resolve() / 'mlflow.db'}",
        split=proof,
        value=None if value is None else DecisionValue.parse(value, where="recipe.value"),
    )


def _compared(
    facts: Facts, registered: Path, folder: Path, circumstances: tuple[Difference, ...]
) -> Reproduction:
    import numpy as np

    then, now = models.load(registered), models.load(folder / "model")
    chosen = tuple(
        _differ(
            "result",
            {name: getattr(then.record, name) for name in _CHOSEN},
            {name: getattr(now.record, name) for name in _CHOSEN},
        )
    )
    scores = [_scores(one, folder / "holdout") for one in (then, now)]
    # Bits are compared, so that -0.0 is not 0.0 and NaN is NaN.
    same = np.equal(*(one.view(np.int64) for one in scores))
    unequal = int((~same.reshape(len(same), -1).all(axis=1)).sum())
    largest = float(np.abs(scores[0] - scores[1]).max())
    if unequal:
        words = f"{unequal:,} of {len(same):,} rows have another, by {largest:.3g} at most"
        scored = Difference(kind="result", what="scores of the holdout", then="recorded", now=words)
        chosen = (*chosen, scored)
    return Reproduction(
        uri=facts.version.uri,
        evidence=facts.evidence.digest(),
        equal=not chosen,
        rows=len(same),
        unequal=unequal,
        largest=largest,
        differences=(*circumstances, *chosen),
    )


def _scores(loaded: models.LoadedModel, holdout: Path) -> np.ndarray:
    import numpy as np

    from penstock.data.table.frames import read_frame

    names = [column.name for column in loaded.record.columns]
    return np.ascontiguousarray(loaded.scores(read_frame(holdout, names)), dtype=np.float64)


def _libraries(then: Model, now: Model) -> Iterator[Difference]:
    return _differ("library", then.libraries, now.libraries)


def _code(facts: Facts, now: Model) -> Iterator[Difference]:
    return _differ(
        "code",
        {"penstock": facts.evidence.code, "commit": facts.model.commit},
        {"penstock": penstock.__version__, "commit": now.commit},
    )


def _machine(then: Machine, now: Machine) -> Iterator[Difference]:
    def plain(machine: Machine) -> dict[str, str]:
        fields = machine.model_dump()
        return {k: v if isinstance(v, str) else ", ".join(v) for k, v in fields.items()}

    return _differ("machine", plain(then), plain(now))


def _rows(facts: Facts, folder: Path) -> Iterator[Difference]:
    """Yield where the same rows were divided otherwise than then."""
    from penstock.records.dataset import Dataset

    parts = {"training part": "train", "holdout": "holdout"}
    now = {what: Dataset.of(folder / name).content for what, name in parts.items()}
    then = {"training part": facts.evidence.dataset, "holdout": facts.evidence.holdout}
    return _differ("rows", then, now)


def _differ(
    kind: str, then: Mapping[str, object], now: Mapping[str, object]
) -> Iterator[Difference]:
    for what in dict.fromkeys([*then, *now]):
        was, is_now = then.get(what, ""), now.get(what, "")
        if was != is_now:
            yield Difference.model_validate(
                {"kind": kind, "what": what, "then": str(was), "now": str(is_now)}
            )
