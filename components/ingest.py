"""Component `ingest`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data", cached=False)
def ingest(uri: str, dataset: dsl.Output[dsl.Dataset], options: dict = {}) -> None:
    """Read a table as a stream and write it as a dataset version.

    Reads CSV, Parquet and JSON Lines (one file, a folder or a glob; local, http or an object
    store) or the result of a SQL query. Memory is bounded whatever the size.

    Args:
        uri: Path, glob, http(s)://, s3://, gs:// or abfs:// address, or a SQLAlchemy URL. It
            may refer to secrets, like ${env:NAME}.
        options: Fields of the project file's `source` section other than `uri`.
        dataset: Parquet files and _dataset.json: schema, profile of each column, and the content
            digest, which does not depend on the order of files or rows.

    Fails when:
        The source cannot be reached or holds no row; a CSV row is ragged; column names repeat; a
        column mixes numbers and words; a number is infinite; text is not in the given encoding.
    """
    from pathlib import Path

    from penstock.data.ingest import ingest as read
    from penstock.data.spec import SourceSpec

    source = SourceSpec.parse({**options, "uri": uri}, where="ingest")
    record = read(source, output=Path(dataset.path))
    dataset.metadata.update(digest=record.content, rows=record.rows, columns=len(record.columns))
