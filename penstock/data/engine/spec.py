"""The project file's section on where the work on tables is done."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.records.spec import Spec

MOST_WORKERS = 1024


class EngineSpec(Spec):
    """Which processes work on the parts of a table. Results are the same, to the last bit."""

    name: Literal["local", "dask"] = Field(
        default="local",
        description="local: processes of Penstock's own; dask: a Dask cluster on this machine, for "
        "the time of the step (`pip install 'penstock[dask]'`)",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=MOST_WORKERS,
        description="Processes. One of `local` is the step's own; each further one needs memory as "
        "the step does",
    )
