"""A former champion, fetched from the registry to be judged again as a candidate."""

from __future__ import annotations

from pathlib import Path

from penstock.errors import InputError
from penstock.registry import versions
from penstock.registry.admission import require_return
from penstock.registry.versions import Version


def fetch_former(
    name: str, version: int, *, tracking_uri: str, model: Path, baselines: Path
) -> Version:
    """Fetch a former champion and the constant baseline that it has to beat.

    Args:
        name: The registered model.
        version: Its version.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.
        model: Folder to make: the model's.
        baselines: Folder to make: the baseline's folder in it.

    Raises:
        NotApprovedError: If it was never the champion, or a person has rejected it since.
        IntegrityError: If its files are not what was registered.
        InputError: If there is no such version, or its folder lacks what the baseline is made of.
        ServiceError: If the registry does not answer.
    """
    from penstock.training.baselines import rebuild_constant

    found = require_return(name, version, tracking_uri=tracking_uri)
    versions.fetch(found.uri, tracking_uri=tracking_uri, destination=model)
    if rebuild_constant(model, output=baselines) is None:
        raise InputError(
            "its folder does not say what its training rows were like, so no baseline can be made",
            where=found.uri,
            remedy="An older release of Penstock trained it: train again instead of recalling it.",
        )
    return found
