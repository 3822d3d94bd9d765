"""Component `fetch_version`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train", cached=False)
def fetch_version(
    name: str,
    model: dsl.Output[dsl.Model],
    baselines: dsl.Output[dsl.Model],
    version: int = 0,
    order: dsl.Input[dsl.Artifact] = None,
    tracking_uri: str = "",
) -> None:
    """Fetch a former champion from the registry, to be judged again as a candidate.

    Args:
        name: Registered model.
        version: Its version that was the champion before; 0: the one that `order` names.
        order: What `intervene` wrote.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        model: Its folder, checked against the digest that it was registered with.
        baselines: The constant baseline, made again from its record of the training part.

    Fails when:
        No version is named, or it was never the champion or was rejected since, its files are not
        what was registered, or MLflow does not answer.
    """
    from pathlib import Path

    from penstock.errors import InputError
    from penstock.records.intervention import RunOrder
    from penstock.registry.recalling import fetch_former

    if order and not version:
        version = RunOrder.read(Path(order.path)).intervention.recall or 0
    if not version:
        raise InputError("no former champion is named", where="version")

    fetch_former(
        name,
        version,
        tracking_uri=tracking_uri,
        model=Path(model.path),
        baselines=Path(baselines.path),
    )
