"""Component `retrieve_features`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="feast", cached=False)
def retrieve_features(
    entities: dsl.Input[dsl.Dataset],
    dataset: dsl.Output[dsl.Dataset],
    options: dict,
) -> None:
    """Join a FeatureService of Feast to a table of entities, as it was known at each row's time.

    Values that were written after a row's time are left out, late corrections too. The rows are
    those of the table, in its order.

    Args:
        entities: What `ingest` wrote: the entity keys, a time, and whatever else the model needs,
            such as the target.
        options: `service`, `time` and `repository` (a folder) or `store` (what feature_store.yaml
            holds); and what docs/feast.md lists.
        dataset: The same rows with the features beside them, a dataset as `ingest` writes it;
            _dataset.json names the service, the digest of its definition and Feast's version.

    Fails when:
        There is no such service, the registry or the offline store does not answer; a key or the
        time is missing; the join loses, repeats or changes rows; the table has a column of a
        feature's name; Feast is not installed, or is too old to leave late corrections out.
    """
    from pathlib import Path

    from penstock.feature_store.retrieval import retrieve
    from penstock.feature_store.spec import RetrievalSpec

    spec = RetrievalSpec.parse(options, where="retrieve_features")
    record = retrieve(Path(entities.path), options=spec, output=Path(dataset.path))
    dataset.metadata.update(digest=record.content, rows=record.rows, columns=len(record.columns))
