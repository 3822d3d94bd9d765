"""Checks of a model folder. Imported only where one is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.errors import InputError, IntegrityError
from penstock.own_code import importing, libraries
from penstock.own_code.sources import Sources
from penstock.records.model import FILE_NAME, Model, OwnCode

CODE_FOLDER = "code"
"""Where a model folder holds the project's own code."""

LOADER = "penstock.model.pyfunc"
"""What MLflow loads a model by that has such code: the code is compared before it is run."""


def model_file(folder: Path) -> Path:
    """Return the skops file that a folder's `MLmodel` names.

    Raises:
        InputError: If `MLmodel` or `penstock.json` is absent.
        IntegrityError: If the model is stored otherwise, or elsewhere.
    """
    import yaml

    for name in ("MLmodel", FILE_NAME):
        if not (folder / name).is_file():
            raise InputError(
                f"no {name} in the model folder",
                where=str(folder),
                remedy="Give the folder that the train step wrote.",
            )
    try:
        described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        flavors = dict(described["flavors"])
        flavor = flavors["sklearn"]
        kind, name = flavor["serialization_format"], flavor["pickled_model"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            "MLmodel does not describe a scikit-learn model", where=str(folder / "MLmodel")
        ) from error
    if kind != "skops" or not isinstance(name, str) or Path(name).name != name:
        raise IntegrityError(
            f"the model is stored as {kind} in {name!r}; only skops beside MLmodel is loaded",
            where=str(folder / "MLmodel"),
            remedy="A pickle can run any code when it is loaded: save the model as skops.",
        )
    _check_flavors(flavors, name, where=str(folder / "MLmodel"))
    return folder / name


def _check_flavors(flavors: dict[str, Any], name: str, *, where: str) -> None:
    """Refuse a flavour by which MLflow would load something else than the gate has judged."""
    expected: dict[str, dict[str, tuple[Any, ...]]] = {
        "sklearn": {"code": (None,)},
        "python_function": {
            "loader_module": ("mlflow.sklearn", LOADER),
            "model_path": (None, name),
            # MLflow passes a path under this key to the loader, whatever `model_path` says.
            "data": (None, name),
            "code": (None,),
        },
    }
    for flavor, fields in flavors.items():
        if flavor not in expected or not isinstance(fields, dict):
            raise IntegrityError(
                f"MLmodel has a flavour {flavor!r} besides scikit-learn's",
                where=where,
                remedy="Save the model with mlflow.sklearn alone: one folder holds one model.",
            )
        for key, allowed in expected[flavor].items():
            if fields.get(key) not in allowed:
                raise IntegrityError(
                    f"by {flavor}.{key}, {fields.get(key)!r}, MLflow loads another model "
                    f"than {name}",
                    where=where,
                    remedy="Save the model with mlflow.sklearn, as skops and without code of its "
                    "own.",
                )


def take_code(folder: Path, code: OwnCode, *, allowed: bool) -> None:
    """Adopt the code that a model carries, so that its types can be imported.

    Args:
        folder: The model folder.
        code: What the record says of it.
        allowed: Whether the folder may run code: its digest was compared, or this run made it.

    Raises:
        IntegrityError: If not, if the files are not those that trained the model, or a library
            that they import is not here.
    """
    where = str(folder / CODE_FOLDER)
    if not allowed:
        raise IntegrityError(
            "the model brings code of its project, which would be run, and nothing says which "
            "model is expected",
            where=where,
            remedy="Load it by its digest, as the registry has it: load(folder, "
            "expected_digest=...).",
        )
    sources = Sources.read(folder / CODE_FOLDER)
    if sources.digest != code.digest:
        changed = sorted(sources.files.keys() ^ set(code.files))
        raise IntegrityError(
            f"the code has the digest {sources.digest}, and the one that trained the model "
            f"{code.digest}" + (f" ({', '.join(changed)})" if changed else ""),
            where=where,
            remedy="A file was changed after the training: fetch the version again, or train "
            "again.",
        )
    libraries.require(code.libraries, where=where)
    importing.adopt(sources)


def check_release(record: Model, *, where: str) -> None:
    """Refuse another minor release of scikit-learn.

    A fitted tree is scikit-learn's internal state, whose meaning may change between minor releases
    without an error: a model that loads and answers differently is worse than one that does not
    load. Patch releases keep it.
    """
    import sklearn

    trained = record.libraries.get("scikit-learn", "unknown")
    if trained.split(".")[:2] != sklearn.__version__.split(".")[:2]:
        raise IntegrityError(
            f"trained with scikit-learn {trained}, but {sklearn.__version__} is installed",
            where=where,
            remedy="Serve the model from the image or lock file that trained it, or train again.",
        )


def check_fits(record: Model, pipeline: Any, *, steps: tuple[str, ...], where: str) -> None:
    """Refuse a pipeline that is not the one its record names."""
    from sklearn.pipeline import Pipeline

    if not isinstance(pipeline, Pipeline) or tuple(n for n, _ in pipeline.steps) != steps:
        raise IntegrityError(
            f"the model is not a pipeline of the steps {', '.join(steps)}",
            where=where,
            remedy="If an older release made it, train it again.",
        )
    fitted = [str(name) for name in getattr(pipeline.steps[0][1], "feature_names_in_", ())]
    recorded = [column.name for column in record.columns]
    if fitted != recorded:
        raise IntegrityError(
            f"the record names the columns {recorded}, the pipeline was fitted on {fitted}",
            where=where,
        )
    classes = tuple(getattr(pipeline, "classes_", ()))
    if classes != record.classes:
        raise IntegrityError(
            f"the record names the classes {record.classes}, the pipeline has {classes}",
            where=where,
        )
    if record.task == "binary" and (
        record.threshold is None or record.positive not in record.classes
    ):
        raise IntegrityError(
            "a binary model's record needs a threshold and a positive class that it knows",
            where=where,
        )
