"""The champion that a candidate must be compared with, as the registry has it now."""

from __future__ import annotations

from pathlib import Path

from penstock.common import progress
from penstock.errors import InputError, IntegrityError, ServiceError
from penstock.gate.compared import Champion
from penstock.registry import _standing, versions
from penstock.registry.champion import checked_champion


def contender(name: str, *, tracking_uri: str, destination: Path) -> Champion | None:
    """Return the champion of a registered model, downloaded; None while there is none.

    A champion whose files are lost, altered or were never Penstock's, or whose alias is not where
    the audit trail put it, is returned with the reason and without a folder: that is a statement
    about it, which the gate's rule then judges.

    Args:
        name: The registered model.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.
        destination: The folder to make; it must not hold anything yet.

    Raises:
        ServiceError: If the registry or its artifact store does not answer: that says nothing
            about the champion.
    """
    try:
        told = checked_champion(name, tracking_uri=tracking_uri)
    except IntegrityError as error:
        return Champion(uri=error.where, problem=str(error))
    found = told.version
    if told.problem:
        # The alias was moved or removed by hand: whom it names is not who was promoted.
        uri = found.uri if found else f"models:/{name}@{versions.CHAMPION}"
        problem = f"{told.problem[0].upper()}{told.problem[1:]}. {_standing.remedy(name)}."
        return Champion(uri=uri, problem=problem, gone=found is None)
    if told.note:
        progress.say(told.note)
    if found is None:
        return None
    try:
        versions.fetch(found.uri, tracking_uri=tracking_uri, destination=destination)
    except IntegrityError as error:
        return Champion(uri=found.uri, problem=str(error))
    except InputError as error:
        problem = f"What the artifact store gave for {found.uri} is no model: {error.what}."
        return Champion(uri=found.uri, problem=problem)
    except ServiceError as error:
        if not _lost(error.__cause__):
            raise
        problem = f"The artifact store does not hold the files of {found.uri}."
        return Champion(uri=found.uri, problem=problem)
    return Champion(uri=found.uri, folder=destination)


def _lost(cause: BaseException | None) -> bool:
    """Return whether a store that answered said that it does not hold the files."""
    code = getattr(cause, "error_code", "")
    return isinstance(cause, FileNotFoundError) or code == "RESOURCE_DOES_NOT_EXIST"
