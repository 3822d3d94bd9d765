"""Which version scores: an alias is resolved once, and what was not admitted is refused."""

from __future__ import annotations

import re

from penstock.errors import NotApprovedError
from penstock.records.scores import ScoringVersion
from penstock.registry import admission, versions
from penstock.registry.champion import checked_champion
from penstock.registry.versions import Version

_NUMBERED = re.compile(r"models:/[^/@]+/\d+")
UNAPPROVED = "asked for by number, though not approved"


def resolve(asked: str, *, tracking_uri: str, unapproved: bool = False) -> tuple[Version, str]:
    """Return the version that an address names now, and why it may score.

    Args:
        asked: `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.
        tracking_uri: The MLflow store.
        unapproved: Take a version that was named by its number although it was not approved.

    Raises:
        NotApprovedError: If it was neither champion nor approved, or was rejected.
        IntegrityError: If the registry is not what its audit log says.
        InputError: If there is no such version.
        ServiceError: If the registry does not answer.
    """
    version = versions.registered(asked, tracking_uri=tracking_uri)
    if asked.endswith(f"@{versions.CHAMPION}"):
        found = checked_champion(version.name, tracking_uri=tracking_uri)
        champion = found.require_recorded(version.name)
        if champion is not None and champion.version == version.version:
            return version, "champion"
    numbered = _NUMBERED.fullmatch(asked) is not None
    try:
        return version, admission.require_scoring(version, tracking_uri=tracking_uri)
    except NotApprovedError as error:
        if numbered and unapproved:
            return version, UNAPPROVED
        raise NotApprovedError(
            error.what,
            where=error.where or version.uri,
            remedy=f"Approve it, or score with it all the same: name it by its number, "
            f"{version.uri}, with --unapproved.",
        ) from error


def recorded(
    version: Version, *, asked: str, admitted: str, runtime: str, dataset: str
) -> ScoringVersion:
    """Return what is recorded of a version."""
    return ScoringVersion(
        uri=version.uri,
        asked=asked,
        name=version.name,
        version=version.version,
        model=version.model,
        export=version.export,
        runtime=runtime,
        dataset=dataset,
        admitted=admitted,
    )
