"""CPU of the SHAP values of a model, by our own explainer and by the library shap, and the values.

Each is a process of its own that loads the same model, draws the same 2,000 rows of the holdout and
explains the same of them, imports counted; in turn, in changing order. The models are of the
built-in example and, where it is there, of Adult. A target is a median of pairs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import measured
from targets import Target, report

ADULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "adult-train.csv"
FAMILIES = ("linear", "hist_gradient_boosting", "random_forest")
ROWS, SEED = 2_000, 20
APART = 1e-8
"""How far values may be from shap's, whose own miss the output by 3e-9 where trees are 60 deep."""
GAP = 1e-12
"""How far the sum of ours may miss the model's output."""


def main() -> int:
    """Print the figures and their targets, and, with --json, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=3, help="pairs of each model")
    parser.add_argument("--table", type=Path, default=ADULT, help="adult-train.csv")
    parser.add_argument("--work", nargs=3, metavar=("WHO", "FOLDER", "FILE"), help="for itself")
    options = parser.parse_args()
    if options.work:
        who, folder, file = options.work
        _WAYS[who](Path(folder), Path(file))
        return 0
    figures: dict[str, Any] = {}
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as place:
        for name, home in _worlds(Path(place), options.table):
            found = figures[name] = _compared(home, pairs=options.repeat)
            print(
                f"{name:<34} ours {found['ours_cpu']:6.2f} s, shap {found['shap_cpu']:6.2f} s, "
                f"{found['rows']} rows, values apart by {found['apart']:.1e}; from the model's "
                f"output ours {found['ours_gap']:.1e}, shap's {found['shap_gap']:.1e}",
                flush=True,
            )
            targets += [
                Target(f"CPU of explaining {name}, beside shap", found["ratio"], 1.0),
                Target(f"values of {name}, from shap's", found["apart"], APART, found["unit"]),
                Target(f"sum of {name}, from its output", found["ours_gap"], GAP, found["unit"]),
            ]
    return report(
        "explain",
        question="CPU of SHAP values beside the library shap's, imports counted, and whether they "
        "are the same.",
        figures=figures,
        targets=targets,
        path=options.json,
    )


def _worlds(place: Path, adult: Path) -> Iterator[tuple[str, Path]]:
    """Make a holdout and models of it; yield each model's name and folder."""
    import pandas as pd

    from penstock.examples.transactions import TARGET, transactions

    tables = {"the example": (transactions(), TARGET, True)}
    if adult.exists():
        tables["Adult"] = (pd.read_csv(adult, skipinitialspace=True), "income", ">50K")
    else:
        print(f"{adult} is not here: Adult is left out; give its training table with --table")
    for title, (frame, target, positive) in tables.items():
        home = place / title.replace(" ", "-")
        _prepare(home, frame, target)
        for family in FAMILIES:
            _fit(home, home / family, family, target=target, positive=positive)
            yield f"{title}, {family}", home / family


def _prepare(home: Path, frame: Any, target: str) -> None:
    import pyarrow as pa

    from penstock.data.table import write_dataset
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec

    held = frame.index % 5 == 0
    for part, rows in (("train", frame[~held]), ("holdout", frame[held])):
        table = pa.Table.from_pandas(rows, preserve_index=False)
        write_dataset([table], output=home / part, source="benchmark")
    fit_features(
        home / "train",
        target=target,
        spec=FeaturesSpec(),
        output=home / "features",
        report=home / "features.html",
    )


def _fit(home: Path, folder: Path, family: Any, *, target: str, positive: Any) -> None:
    import numpy as np

    from penstock.data.table import read_table
    from penstock.data.table.frames import to_frame
    from penstock.model import load_trusted
    from penstock.records.features import FILE_NAME, TRANSFORMER_NAME, Features
    from penstock.records.model import Model
    from penstock.training import environment, estimators
    from penstock.training.saving import save_model

    transformer = load_trusted(home / "features" / TRANSFORMER_NAME)
    columns = Features.read(home / "features" / FILE_NAME).inputs()
    table = read_table(home / "train")
    frame, truth = to_frame(table, columns), np.array(table.column(target).to_pylist())
    settings = estimators.family(family, task="binary").defaults
    estimator = estimators.build(family, settings, task="binary", seed=SEED)
    estimator.fit(transformer.transform(frame), truth)
    save_model(
        folder / "model",
        transformer=transformer,
        estimator=estimator,
        frame=frame,
        record=Model(
            name=family,
            task="binary",
            target=target,
            classes=tuple(value.item() for value in estimator.classes_),
            positive=positive,
            threshold=0.5,
            columns=columns,
            metric="roc_auc",
            score=0.5,
            parameters={},
            dataset="rows1:00000000000000000000000000000000",
            seed=SEED,
            libraries=environment.libraries(),
            trusted_types=(),
        ),
    )
    (folder / "holdout").symlink_to(home / "holdout")


def _compared(folder: Path, *, pairs: int) -> dict[str, Any]:
    """Measure both ways in changing order. Ours goes first: it says which rows shap explains."""
    import numpy as np

    cpu: dict[str, list[float]] = {"ours": [], "shap": []}
    for turn in range(pairs):
        for who in ("ours", "shap") if turn % 2 == 0 else ("shap", "ours"):
            cpu[who].append(_cpu(who, folder))
    ours, other = (np.load(folder / f"{who}.npz") for who in ("ours", "shap"))
    apart = max(float(np.abs(ours[part] - other[part]).max()) for part in ("values", "base"))
    return {
        "ours_cpu": statistics.median(cpu["ours"]),
        "shap_cpu": statistics.median(cpu["shap"]),
        "ratio": statistics.median(a / b for a, b in zip(cpu["ours"], cpu["shap"], strict=True)),
        "pairs": pairs,
        "rows": len(ours["places"]),
        "apart": apart,
        **{
            f"{who}_gap": float(
                np.abs(of["base"] + of["values"].sum(axis=1) - ours["output"]).max()
            )
            for who, of in (("ours", ours), ("shap", other))
        },
        "unit": str(ours["unit"]),
    }


def _cpu(who: str, folder: Path) -> float:
    """Return the CPU seconds, user and system, of one process."""
    # Threads of OpenMP that wait would spin, and count.
    cost, _ = measured(
        [sys.executable, __file__, "--work", who, folder, folder / f"{who}.npz"],
        environment={"OMP_WAIT_POLICY": "PASSIVE"},
    )
    return cost.cpu


def _drawn(folder: Path) -> Any:
    from penstock.explanation._sample import draw

    return draw(folder / "holdout", model=folder / "model", rows=ROWS, seed=SEED)


def _ours(folder: Path, file: Path) -> None:
    import numpy as np

    from penstock.explanation._attribution import attribute

    found = attribute(_drawn(folder), keep=np.zeros(0, dtype=np.int64), seed=SEED)
    np.savez(
        file,
        values=found.values,
        base=found.base,
        output=found.output,
        places=found.places,
        unit=found.unit,
    )


def _shap(folder: Path, file: Path) -> None:
    import warnings

    import numpy as np

    from penstock.explanation._attribution import _inner
    from penstock.explanation._columns import origins, summed

    warnings.simplefilter("ignore")
    import shap

    sample = _drawn(folder)
    places = np.load(file.with_name("ours.npz"))["places"]
    features, estimator = (step for _, step in sample.model.typed.steps)
    x, of = features.transform(sample.frame), origins(features)
    if hasattr(estimator, "steps"):
        of = of[_inner(estimator[:-1], width=x.shape[1])]
        x = estimator[:-1].transform(x)
        background = shap.maskers.Independent(x, max_samples=len(x))
        explainer = shap.LinearExplainer(estimator[-1], background)
        values = explainer.shap_values(x[places])
    else:
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
        values = explainer.shap_values(x[places], check_additivity=False)
    values = summed(np.asarray(values), of, columns=len(sample.columns))
    base = np.asarray(explainer.expected_value)
    if values.ndim == 3:
        values, base = values[:, :, 1], base[1]
    np.savez(file, values=values, base=np.broadcast_to(base, len(values)))


_WAYS = {"ours": _ours, "shap": _shap}


if __name__ == "__main__":
    sys.exit(main())
