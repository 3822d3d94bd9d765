"""A version is trained again from its evidence: equal to the bit, or what is another is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from documented import Walk

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.data.split import split
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.pipelines import cli
from penstock.quality.check import validate
from penstock.quality.quarantine import what_goes_on
from penstock.quality.spec import Contract, Expectation, ValidationSpec
from penstock.records.recipe import Machine, Recipe
from penstock.training import environment, recipe
from penstock.training.spec import TrainingSpec
from penstock.training.train import train


def _table(path: Path) -> str:
    lines = ["age,income,city,defaulted"]
    for n in range(400):
        age, income = 20 + n * 7 % 45, 1_000 + n * 389 % 4_000
        noisy = n * 97 % 3_000 + (n * 31 % 17) * 40
        city = ("Bonn", "Kiel", "Ulm")[n % 3]
        lines.append(f"{age if n % 50 else -1},{income}.{n},{city},{int(noisy > income)}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def trained(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A registry with a version of a table, some rows of which were quarantined."""
    # What the registry's decisions are made on.
    monkeypatch.setenv("PENSTOCK_COMMIT", "abc123")
    home = tmp_path / "home"
    home.mkdir()
    table = home / "table"
    ingest(SourceSpec(uri=_table(tmp_path / "loans.csv")), output=table)
    positive = Expectation(
        type="expect_column_values_to_be_between",
        kwargs={"column": "age", "min_value": 0},
        severity="block",
    )
    validation = validate(
        table, contract=Contract(), expectations=[positive],
        options=ValidationSpec.parse(
            {"on_fail": "quarantine", "quarantine": {"max_share": 0.1}}, where="validation"
        ),
        results=home / "validation.json", report=home / "validation.html",
        valid=home / "valid", quarantined=home / "quarantined",
    )  # fmt: skip
    assert validation.quarantine is not None
    assert validation.quarantine.rows == 8
    proof = split(
        what_goes_on(table, home / "valid"), SplitSpec(holdout=0.25, seed=3),
        target="defaulted", task="binary",
        train=home / "train", holdout=home / "holdout",
    )  # fmt: skip
    fit_features(
        home / "train", target="defaulted", spec=FeaturesSpec(rare_share=0.01),
        output=home / "features", report=home / "features.html", split=proof,
    )  # fmt: skip
    train(
        home / "train", features=home / "features", target="defaulted", task="binary",
        positive="1", spec=TrainingSpec(candidates=("linear",), trials=1, seed=5),
        model=home / "model", baselines=home / "baselines",
        report=home / "training.html", experiment="loans", tracking_uri=registry.uri,
        split=proof,
    )  # fmt: skip
    own = dataclasses.replace(registry, holdout=home / "holdout", models=lambda **_: home / "model")
    decision, evaluation = own.decided()
    own.register(decision, evaluation, validation=validation)
    return own


def _runs(registry: Any) -> list[str]:
    store = registry.store()
    experiments = [one.experiment_id for one in store.search_experiments()]
    return [run.info.run_id for run in store.search_runs(experiments)]


@pytest.fixture
def documented(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[str]]:
    """The two commands of docs/reproduce.md, the second with another seed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained.uri)
    with Walk("docs/reproduce.md", tmp_path) as walk:
        plain, seeded = (walk.words("penstock reproduce", ("loans", "adult")) for _ in range(2))
    return plain, seeded


def test_a_version_is_reproduced(
    trained: Any, documented: tuple[list[str], list[str]], tmp_path: Path, capsys: Any
) -> None:
    plain, _ = documented
    before = _runs(trained)
    assert cli.main(plain) == 0
    said = capsys.readouterr().out
    assert "98 rows of the holdout have equal scores" in said
    assert "Libraries, code, machine and seed are the same too" in said
    found = json.loads((tmp_path / "again" / "reproduction.json").read_text())
    assert (found["equal"], found["unequal"], found["differences"]) == (True, 0, [])
    assert _runs(trained) == before

    # Other data stand at the address now.
    table = tmp_path / "loans.csv"
    table.write_text(table.read_text().replace("Ulm", "Trier"))
    assert cli.main(["reproduce", plain[1]]) == 1
    assert "the rows that are there now are others" in capsys.readouterr().err


@pytest.mark.long
def test_what_is_another_is_named(
    documented: tuple[list[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    plain, seeded = documented
    # Another library, another machine and another seed, all at once: each is named.
    libraries = environment.libraries()
    monkeypatch.setattr(
        "penstock.training.train.environment.libraries",
        lambda *_: {**libraries, "numpy": "1.0.0"},
    )
    monkeypatch.setattr(recipe, "this_machine", lambda: Machine(system="Plan 9", processor="x"))
    assert cli.main(seeded) == 1
    said, errors = capsys.readouterr()
    assert not errors.startswith("penstock: "), errors
    assert "is not reproduced" in said
    assert f"library: numpy was {libraries['numpy']}, is 1.0.0" in said
    assert "machine: system was Linux" in said
    assert "seed: training.seed was 5, is 7" in said
    assert "result: score was" in said

    # An estimator of the project's own was tried and not chosen: it is not run either.
    kept = Recipe.read
    estimator = {"estimator": "churn.models:make", "code": {"folder": str(tmp_path)}}
    with monkeypatch.context() as tried:
        tried.setattr(
            Recipe,
            "read",
            lambda path: (one := kept(path)).model_copy(
                update={"training": one.training | estimator}
            ),
        )
        assert cli.main(["reproduce", plain[1]]) == 1
    assert "which is not run from evidence" in capsys.readouterr().err

    for place in ("loans.csv", "loans.csv/again"):
        assert cli.main(["reproduce", plain[1], "-o", place]) == 1
        assert capsys.readouterr().err.startswith(f"penstock: {place}: ")
