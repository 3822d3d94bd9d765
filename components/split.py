"""Component `split`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data")
def split(
    dataset: dsl.Input[dsl.Dataset],
    target: str,
    train: dsl.Output[dsl.Dataset],
    holdout: dsl.Output[dsl.Dataset],
    proof: dsl.Output[dsl.Artifact],
    task: str = "auto",
    options: dict = {},
    valid: dsl.Input[dsl.Dataset] = None,
) -> None:
    """Divide a dataset into a training part and a holdout, and prove that they do not overlap.

    Args:
        dataset: What `ingest` wrote.
        target: The column to predict.
        task: binary, multiclass, regression, or auto to infer it from the target.
        options: Fields of the project file's `split` section. These are method, column, holdout,
            seed, repeats, drop_missing_target.
        valid: What `validate` wrote as the rows that go on. Without it, all rows of the dataset do.
        train: The part to learn from.
        holdout: The part to judge on; no step before `evaluate` reads it.
        proof: Split record (JSON): the task, digests and rows of both parts, how many rows repeat
            and what was made of them, rows left out, groups and rows found on both sides.

    Fails when:
        The target is absent, constant, or missing in rows that are not to be left out; a class
        would be on one side only or has too few rows; a group or a copy would be on both sides.
    """
    from pathlib import Path

    from penstock.data.spec import SplitSpec
    from penstock.data.split import split as divide
    from penstock.data.table import read_dataset
    from penstock.data.task import resolve_task
    from penstock.quality.quarantine import what_goes_on

    folder = what_goes_on(Path(dataset.path), Path(valid.path) if valid else None)
    record = divide(
        folder,
        SplitSpec.parse(options, where="split"),
        target=target,
        task=resolve_task(read_dataset(folder), target=target, task=task),
        train=Path(train.path),
        holdout=Path(holdout.path),
    )
    record.write(Path(proof.path))
    train.metadata.update(digest=record.train, rows=record.train_rows)
    holdout.metadata.update(digest=record.holdout, rows=record.holdout_rows)
