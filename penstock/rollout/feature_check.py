"""Before traffic: the feature server has what the offline store had, or the version gets none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from penstock.common.progress import log
from penstock.errors import InputError, ServiceError
from penstock.records.dataset import Dataset
from penstock.records.feature_server import FeatureServerSpec
from penstock.records.model import FILE_NAME, Model
from penstock.records.retrieval import FeatureRetrieval, FeatureSample, RetrievedFeature
from penstock.serving.feature_server import (
    NULL,
    PRESENT,
    FeatureServer,
    OnlineFeature,
    retrieval_of,
)

_REMEDY = (
    "Materialize the views (feast materialize-incremental), or join the features again by "
    "retrieve_features and train on them."
)


@dataclass(frozen=True)
class _Pair:
    """One entity's feature, offline and online."""

    row: int
    offline: Any
    online: Any
    status: str


def check(model: Path, holdout: Path, spec: FeatureServerSpec) -> int:
    """Compare what the feature server has of some entities with what the offline store had.

    The entities are those that `retrieve_features` kept with the rows; the holdout's record has
    them. Values that were measured since are newer and are not compared.

    Args:
        model: The version's folder.
        holdout: A dataset with features of the same service.
        spec: Where its servers ask; without an address nothing is checked.

    Returns:
        How many values were compared, all equal.

    Raises:
        InputError: If the model was trained with no feature service, or the holdout is of another.
        ServiceError: If the feature server does not answer, a value differs, or of a feature none
            could be compared; the message names the feature.
    """
    if not spec.url:
        return 0
    retrieval = retrieval_of(model)
    if retrieval is None:
        raise InputError(
            "the model was trained with no features of a feature service",
            where=f"deployment.features.url: {spec.url}",
            remedy="Join them by retrieve_features before training, or name no feature server.",
        )
    taken = {column.name for column in Model.read(model / FILE_NAME).columns}
    compared = compare(
        _of_holdout(holdout, retrieval),
        [one for one in retrieval.features if one.name in taken],
        spec,
    )
    log(f"{compared} values of features are online as they were offline")
    return compared


def _of_holdout(holdout: Path, trained: FeatureRetrieval) -> FeatureRetrieval:
    origin = Dataset.of(holdout).origin
    found = None if origin is None else origin.retrieval
    if found is None or found.definition != trained.definition:
        of = "no feature service" if found is None else f"{found.service!r} as it is defined there"
        raise InputError(
            f"the holdout has features of {of}, and the model was trained with those of "
            f"{trained.service!r}",
            where=str(holdout),
            remedy="Give a holdout whose features were joined by the same definitions.",
        )
    return found


def compare(
    retrieval: FeatureRetrieval, used: Sequence[RetrievedFeature], spec: FeatureServerSpec
) -> int:
    """Compare some features of a retrieval's sample; see `check`."""
    server = FeatureServer(
        spec.url, service=retrieval.service, features=used, timeout=max(spec.timeout, 10)
    )
    sample = _sample(retrieval, server.where)
    found = server.ask(sample.keys)
    return sum(_compare(one.name, sample, found[one.name], where=server.where) for one in used)


def _sample(retrieval: FeatureRetrieval, where: str) -> FeatureSample:
    if retrieval.sample is None or not retrieval.sample.rows:
        raise ServiceError(
            "the holdout's record has no entities to compare online features by",
            where=where,
            remedy="Join the features again with options.sample above 0, and train on them.",
        )
    return retrieval.sample


def _compare(name: str, sample: FeatureSample, online: OnlineFeature, *, where: str) -> int:
    """Return how many values of a feature were compared."""
    compared = 0
    for pair in _pairs(name, sample, online):
        if not _same(pair.offline, pair.online):
            entity = ", ".join(f"{key} {of[pair.row]!r}" for key, of in sample.keys.items())
            raise ServiceError(
                f"the feature {name!r} of {entity} is {pair.online!r} online ({pair.status}), and "
                f"was {pair.offline!r} offline at {sample.as_of.isoformat(timespec='seconds')}",
                where=where,
                remedy=_REMEDY,
            )
        compared += pair.offline is not None
    if not compared:
        raise ServiceError(
            f"nothing could be compared of the feature {name!r}: of the {sample.rows} entities of "
            "the sample each has a newer value online, or had none",
            where=where,
            remedy=_REMEDY,
        )
    return compared


def _pairs(name: str, sample: FeatureSample, online: OnlineFeature) -> Iterator[_Pair]:
    """Yield what can be compared: not what was measured after the sample, or has aged since."""
    rows = zip(sample.values[name], online.values, online.statuses, online.times, strict=True)
    for row, (offline, value, status, measured) in enumerate(rows):
        newer = status in (PRESENT, NULL) and measured > sample.as_of
        if not newer and status != "OUTSIDE_MAX_AGE":
            yield _Pair(row, offline, value, status)


def _same(offline: Any, online: Any) -> bool:
    if isinstance(offline, float) and isinstance(online, int | float):
        return math.isclose(offline, online, rel_tol=1e-12)
    if isinstance(offline, str) and isinstance(online, str) and offline != online:
        # Times are written in more than one way.
        return _moment(offline) is not None and _moment(offline) == _moment(online)
    return bool(offline == online)


def _moment(text: str) -> datetime | None:
    """Return the time that a text is; None: it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
