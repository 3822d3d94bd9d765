"""Component `ingest_artifact`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data", cached=False)
def ingest_artifact(
    table: dsl.Input[dsl.Dataset],
    dataset: dsl.Output[dsl.Dataset],
    options: dict = {},
) -> None:
    """Read a table that another component wrote and write it as a dataset version.

    The artifact is a file or a folder of CSV, JSON Lines or Parquet. Its name needs no suffix: what
    it holds shows its format, unless `options` name one.

    Args:
        table: What another component wrote to its output's `path`.
        options: Fields of the project file's `source` section other than `uri` and `query`.
        dataset: Parquet files and _dataset.json, as `ingest` writes them.

    Fails when:
        The artifact holds no table that can be read; what else fails `ingest`.
    """
    from pathlib import Path

    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec

    source = SourceSpec.parse({**options, "uri": table.path}, where="ingest_artifact")
    record = ingest(source, output=Path(dataset.path), called=table.uri)
    dataset.metadata.update(digest=record.content, rows=record.rows, columns=len(record.columns))
