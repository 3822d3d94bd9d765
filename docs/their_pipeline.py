"""A pipeline with three components of Penstock and one of somebody else."""

from kfp import dsl

from penstock.components.ingest import ingest
from penstock.components.ingest_artifact import ingest_artifact
from penstock.components.validate import validate


@dsl.component(base_image="python:3.11-slim", packages_to_install=["pandas", "pyarrow"])
def adults(dataset: dsl.Input[dsl.Dataset], table: dsl.Output[dsl.Dataset]) -> None:
    """Keep the rows of grown-ups."""
    import pandas as pd

    people = pd.read_parquet(dataset.path)  # what ingest wrote: a folder of Parquet files
    people[people.age >= 18].to_parquet(table.path)  # CSV and JSON Lines are read as well


@dsl.pipeline(name="adults")
def adults_pipeline(uri: str) -> bool:
    """Ingest a table, keep some of its rows, check them."""
    everybody = ingest(uri=uri)
    kept = adults(dataset=everybody.outputs["dataset"])
    dataset = ingest_artifact(table=kept.outputs["table"])
    checked = validate(
        dataset=dataset.outputs["dataset"],
        expectations=[
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": "age", "min_value": 18},
                "severity": "critical",
            }
        ],
    )
    return checked.outputs["Output"]
