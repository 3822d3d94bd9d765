"""Present values of some entities, which the online store must have too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from penstock.feature_store.repository import EVENT_TIME, Repository, Service
from penstock.feature_store.values import stored
from penstock.records.dataset import Reading
from penstock.records.retrieval import FeatureSample

if TYPE_CHECKING:
    import pandas as pd


def sampled(
    repository: Repository,
    service: Service,
    wanted: pd.DataFrame,
    *,
    rows: int,
    reading: Reading | None,
) -> FeatureSample | None:
    """Return what the offline store has now of the entities that were wanted last.

    The values of past rows would not do: the online store has the present ones alone.

    Args:
        repository: Where to ask.
        service: What for.
        wanted: Entities and times.
        rows: Of how many entities; 0: of none.
        reading: See `values.stored`.
    """
    if rows == 0:
        return None
    keys = list(service.keys)
    last = wanted.sort_values(EVENT_TIME, kind="stable").drop_duplicates(keys, keep="last")
    now = datetime.now(UTC)
    asked = last[keys].tail(rows).assign(**{EVENT_TIME: now})
    found = repository.values(service, asked.reset_index(drop=True))
    return FeatureSample(
        as_of=now,
        keys={name: tuple(found[name].tolist()) for name in keys},
        values={
            one.name: tuple(map(_plain, stored(one, found[one.name], reading).to_pylist()))
            for one in service.features
        },
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
