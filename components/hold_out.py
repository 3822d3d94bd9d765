"""Component `hold_out`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data")
def hold_out(dataset: dsl.Input[dsl.Dataset], holdout: dsl.Output[dsl.Dataset]) -> None:
    """Take a whole dataset as a holdout: for a model that is judged on it and learned elsewhere.

    Args:
        dataset: What `ingest` wrote.
        holdout: The same rows, with the sample of them that `deploy` sends to the servers.

    Fails when:
        It is no dataset, or its files are not those of its record.
    """
    from pathlib import Path

    from penstock.data.holdout import hold_out as write

    record = write(Path(dataset.path), output=Path(holdout.path))
    holdout.metadata.update(digest=record.content, rows=record.rows, columns=len(record.columns))
