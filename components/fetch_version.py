"""Component `fetch_version`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train", cached=False)
def fetch_version(
    name: str,
    version: int,
    model: dsl.Output[dsl.Model],
    baselines: dsl.Output[dsl.Model],
    tracking_uri: str = "",
) -> None:
    """Fetch a former champion from the registry, to be judged again as a candidate.

    Args:
        name: Registered model.
        version: Its version that was the champion before.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        model: Its folder, checked against the digest that it was registered with.
        baselines: The constant baseline, made again from its record of the training part.

    Fails when:
        The version was never the champion or was rejected since, its files are not what was
        registered, or MLflow does not answer.
    """
    from pathlib import Path

    from penstock.registry.recalling import fetch_former

    fetch_former(
        name,
        version,
        tracking_uri=tracking_uri,
        model=Path(model.path),
        baselines=Path(baselines.path),
    )
