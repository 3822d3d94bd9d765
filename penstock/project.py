"""The project file: one YAML for one model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from penstock.cluster import ClusterSpec
from penstock.data.addresses import is_local, local_path
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.evaluation.spec import EvaluationSpec
from penstock.features.spec import FeaturesSpec
from penstock.policy.spec import Policy
from penstock.quality.spec import Contract, Expectation
from penstock.records.spec import Spec
from penstock.registry.spec import CardSpec
from penstock.rollout.spec import DeploymentSpec
from penstock.training.spec import TrainingSpec
from penstock.yaml_file import read_mapping

FILE_DATABASES = ("sqlite", "duckdb")
"""Schemes of SQLAlchemy URLs that name a file."""


class NotifySpec(Spec):
    """Who hears how a run ended."""

    webhook: str = Field(
        default="",
        description="An address that takes a Slack-compatible body; the environment variable "
        "PENSTOCK_WEBHOOK does the same and keeps the address out of this file",
    )
    file: str = Field(
        default="", description="A file to which one line of JSON is appended, relative to this one"
    )


class Project(Spec):
    """One model: where its table comes from, and every step until it is served."""

    version: Literal[1] = Field(default=1, description="Version of this file's form")
    name: str = Field(
        pattern=r"^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$",
        description="Names the model in the registry and the service: lower case, digits, dashes",
    )
    target: str = Field(min_length=1, description="The column to predict")
    task: Literal["auto", "binary", "multiclass", "regression"] = Field(
        default="auto", description="auto infers it from the target's type and values"
    )
    positive: str = Field(
        default="",
        description="Two classes: the one that is scored; empty takes 1, true, or else the rarer",
    )
    source: SourceSpec
    contract: Contract = Contract()
    expectations: tuple[Expectation, ...] | str = Field(
        default=(),
        description="Great Expectations expectations, or the path of a suite in its own JSON or "
        "YAML",
    )
    split: SplitSpec = SplitSpec()
    features: FeaturesSpec = FeaturesSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    gate: Policy = Policy()
    card: CardSpec = CardSpec()
    deployment: DeploymentSpec = DeploymentSpec()
    tracking_uri: str = Field(
        default="",
        description="MLflow store; empty takes MLFLOW_TRACKING_URI, or on a laptop a SQLite file "
        "in .penstock beside this file",
    )
    notify: NotifySpec = NotifySpec()
    cluster: ClusterSpec = ClusterSpec()


def load(path: Path) -> Project:
    """Read and check a project file.

    A suite that `expectations` names by path is read in, relative to the project file.

    Raises:
        InputError: If the file is absent, not YAML, or a field is unknown, missing, of the wrong
            type or out of range; the message names the field, the value and what is allowed.
    """
    raw = read_mapping(
        path, what="project file", remedy="Make one with: penstock init TABLE --target COLUMN"
    )
    project = Project.parse(raw, where=str(path))
    if isinstance(project.expectations, str):
        from penstock.quality.suite import load_suite

        suite = load_suite(path.parent / project.expectations)
        project = project.model_copy(update={"expectations": suite})
    return project


def resolved_uri(project: Project, *, folder: Path) -> str:
    """Return the source's URI with a local path made absolute, relative to `folder`."""
    uri = project.source.uri
    if is_local(uri) and not project.source.query:
        return str((folder / local_path(uri)).resolve())
    scheme, mark, rest = uri.partition(":///")
    if project.source.query and scheme in FILE_DATABASES and rest and rest != ":memory:":
        return f"{scheme}{mark}{(folder / rest).resolve()}"
    return uri
