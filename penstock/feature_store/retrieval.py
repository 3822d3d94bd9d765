"""Joins a feature service to a table of entities: each row with what was known at its time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common.progress import log, say
from penstock.data.table import iter_batches, read_dataset, read_table, write_dataset
from penstock.errors import InputError, absent_column
from penstock.feature_store.repository import EVENT_TIME, Repository, Service, opened, version
from penstock.feature_store.sample import sampled
from penstock.feature_store.spec import RetrievalSpec
from penstock.feature_store.values import STORED, require_stored, stored
from penstock.records.dataset import Dataset
from penstock.records.origin import Origin
from penstock.records.retrieval import FeatureRetrieval

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

ROW = "penstock_row"
"""Goes through the join with each entity, and shows what became of it."""

_KEYS = ("integer", "string")
_WHERE = "retrieve_features"


def retrieve(entities: Path, *, options: RetrievalSpec, output: Path) -> Dataset:
    r"""Write the rows of a table of entities with the features of a service beside them.

    A feature has the value that was valid at the row's time and had been written by then. The rows
    are those of the table, in its order, also where several are of one entity at one time.

    Args:
        entities: A dataset: entity keys, a time, and whatever else, such as the target.
        options: The service, the repository, the column of the time.
        output: The folder to make: a dataset, as `penstock.data.ingest.ingest` writes it.

    Returns:
        Its record; `origin.retrieval` says which service was joined, and by which Feast.

    Raises:
        InputError: If there is no such service, a key or the time is not in the table or is
            missing in a row, the join loses, repeats or changes rows, or Feast is not installed as
            needed. Nothing is left behind.
        ServiceError: If the registry or the offline store does not answer.

    Example:
        >>> from penstock.data.ingest import ingest
        >>> from penstock.data.spec import SourceSpec
        >>> _ = Path("loans.csv").write_text("customer_id,at\n1,2026-11-05\n")
        >>> _ = ingest(SourceSpec(uri="loans.csv"), output=Path("loans"))
        penstock| 1 rows, 2 columns, rows1:...
        >>> options = RetrievalSpec(service="risk", time="at", repository="feature_repo")
        >>> retrieve(Path("loans"), options=options, output=Path("joined"))
        Traceback (most recent call last):
        penstock.errors.InputError: ...
    """
    feast = version()
    table = read_dataset(entities)
    repository = opened(options)
    service = repository.service(options.service)
    _check(table, service, options)
    wanted, places = _wanted(entities, service, options.time)
    joined, filled = _joined(repository, service, wanted, options)
    columns = {one.name: stored(one, joined[one.name], table.reading) for one in service.features}
    retrieval = FeatureRetrieval(
        service=service.name,
        project=service.project,
        definition=service.definition,
        feast=feast,
        entities=table.content,
        keys=service.keys,
        time=options.time,
        features=service.features,
        undated=service.undated,
        filled=filled,
        sample=sampled(repository, service, wanted, rows=options.sample, reading=table.reading),
    )
    notes = _notes(retrieval)
    for note in notes:
        log(note)
    reference = table.origin.reference if table.origin else None
    dataset = write_dataset(
        _batches(entities, columns, places),
        output=output,
        source=f"{table.source} with {service.name} of {service.project} (Feast {feast})",
        notes=(*table.notes, *notes),
        assumptions=table.assumptions,
        reading=table.reading,
        origin=Origin(source={}, reference=reference, retrieval=retrieval),
    )
    say(f"{dataset.rows:,} rows with {len(columns)} features of {service.name}, {dataset.content}")
    return dataset


def _check(table: Dataset, service: Service, options: RetrievalSpec) -> None:
    """Refuse a table without what the join needs, or with columns that features would replace."""
    there = {column.name: column.type for column in table.columns}
    for name in (*service.keys, options.time):
        if name not in there:
            what = "options.time" if name == options.time else f"entity key of {service.name}"
            raise absent_column(name, there, where=what, table="the table of entities")
    if there[options.time] != "datetime":
        raise InputError(
            f"the column {options.time!r} holds values of type {there[options.time]}, and no times",
            where="options.time",
            remedy="Name another, or ingest it with source.types: {COLUMN: datetime}.",
        )
    for name, declared in service.key_types.items():
        if STORED.get(declared) not in _KEYS or STORED[declared] != there[name]:
            raise InputError(
                f"the entity key {name!r} is of type {there[name]} in the table and of Feast's "
                f"type {declared} in the repository",
                where=_WHERE,
                remedy="Both must be whole numbers or both text: ingest it with source.types, or "
                "declare it in the Feast repository.",
            )
    for feature in service.features:
        require_stored(feature)
        if feature.name in there:
            raise InputError(
                f"the table of entities has a column {feature.name!r} already, which is a feature "
                f"of {feature.view!r}",
                where=_WHERE,
                remedy="Leave it out by source.columns when the table is ingested.",
            )


def _wanted(folder: Path, service: Service, time: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return each entity at each time once, and for each row of the table which of them it is.

    Once, since Feast's file store keeps one row of those with the same keys and time.
    """
    names = [*service.keys, time]
    frame = read_table(folder, names).to_pandas()
    for name in names:
        missing = frame[name].isna()
        if missing.any():
            raise InputError(
                f"row {int(missing.argmax()) + 1:,} has no {name!r}, and "
                f"{int(missing.sum()):,} of {len(frame):,} rows have none",
                where=str(folder),
                remedy="Leave these rows out of the table: nothing says which features are theirs.",
            )
    places = frame.groupby(names, sort=False).ngroup().to_numpy()
    wanted = frame.drop_duplicates(names).reset_index(drop=True)
    wanted = wanted.rename(columns={time: EVENT_TIME})
    wanted[ROW] = range(len(wanted))
    return wanted, places


def _joined(
    repository: Repository, service: Service, wanted: pd.DataFrame, options: RetrievalSpec
) -> tuple[pd.DataFrame, int]:
    """Return the features in the order of what was wanted, and how many rows the join dropped."""
    got = repository.values(service, wanted)
    absent = [name for name in (ROW, *service.keys) if name not in got.columns]
    absent += [one.name for one in service.features if one.name not in got.columns]
    if absent:
        raise InputError(
            f"Feast's answer has no column {absent[0]!r}", where=f"FeatureService {service.name!r}"
        )
    repeated = got[ROW].duplicated()
    if repeated.any():
        raise InputError(
            f"Feast's join gave {int(repeated.sum()):,} rows more than once, the first of "
            f"{_entity(wanted, int(got.loc[repeated, ROW].iloc[0]))}",
            where=f"FeatureService {service.name!r}",
            remedy="Look for values with the same entity, time and time of writing in the tables "
            "behind its views: one of them must go.",
        )
    got = got.set_index(ROW)
    lost = wanted.index.difference(got.index)
    if len(lost):
        _refuse_lost(service, wanted, lost.tolist(), options)
    _require_same(service, wanted, got)
    return got.reindex(wanted.index), len(lost)


def _refuse_lost(
    service: Service, wanted: pd.DataFrame, lost: list[int], options: RetrievalSpec
) -> None:
    """Refuse a join that dropped rows, unless their features are known to be missing."""
    if options.dropped == "missing" and len(service.views) == 1:
        return
    why = (
        "With several feature views a dropped row may have values in another view"
        if options.dropped == "missing"
        else "Feast's file store drops a row whose entity has values, but none that was valid then "
        "(feast#6787); where that is so, set dropped: missing"
    )
    raise InputError(
        f"Feast's join gave {len(wanted) - len(lost):,} of {len(wanted):,} entities and times; "
        f"the first that it dropped is {_entity(wanted, lost[0])}",
        where=f"FeatureService {service.name!r}",
        remedy=f"{why}. The offline store of type duckdb keeps these rows.",
    )


def _require_same(service: Service, wanted: pd.DataFrame, got: pd.DataFrame) -> None:
    """Refuse a join whose rows have other keys than were asked for."""
    asked = wanted.loc[got.index]
    for name in service.keys:
        other = (got[name] != asked[name]).to_numpy()
        if other.any():
            row = int(got.index[int(other.argmax())])
            raise InputError(
                f"Feast's join gave the features of {name} {got.loc[row, name]!r} for "
                f"{_entity(wanted, row)}",
                where=f"FeatureService {service.name!r}",
            )


def _entity(wanted: pd.DataFrame, row: int) -> str:
    """Return how an error names an entity at a time."""
    found: dict[Any, Any] = wanted.drop(columns=ROW).iloc[row].to_dict()
    time = found.pop(EVENT_TIME)
    keys = ", ".join(f"{name} {value!r}" for name, value in found.items())
    return f"{keys} at {time.isoformat()}"


def _batches(
    folder: Path, columns: dict[str, pa.Array], places: np.ndarray
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    start = 0
    for batch in iter_batches(folder):
        here = pa.array(places[start : start + batch.num_rows])
        taken = [column.take(here) for column in columns.values()]
        yield pa.RecordBatch.from_arrays([*batch.columns, *taken], [*batch.schema.names, *columns])
        start += batch.num_rows


def _notes(retrieval: FeatureRetrieval) -> list[str]:
    notes = [
        f"the feature view {view!r} does not say when a value was written "
        "(created_timestamp_column): its features may hold corrections made after a row's time"
        for view in retrieval.undated
    ]
    if retrieval.filled:
        notes.append(
            f"Feast's join dropped {retrieval.filled:,} entities at a time; their features are "
            "missing"
        )
    return notes
