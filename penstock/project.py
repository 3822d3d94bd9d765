"""The project file: one YAML for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from penstock.cluster.settings import ClusterSpec
from penstock.common.secrets import (
    READ_IN,
    is_reference,
    learn_all,
    references,
    refers,
    resolve,
    texts,
)
from penstock.common.yaml_file import read_mapping, read_value
from penstock.data.engine import EngineSpec
from penstock.data.sources.addresses import (
    is_local,
    is_versioned_folder,
    local_path,
    versioned_folder,
)
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.errors import InputError, UsageError
from penstock.evaluation.spec import EvaluationSpec
from penstock.features.spec import FeaturesSpec
from penstock.gate.policy import Policy
from penstock.metrics.descriptions import SCALES
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.notification import NotifySpec
from penstock.quality.spec import Contract, Expectation, ValidationSpec
from penstock.records.spec import Spec
from penstock.registry.spec import CardSpec
from penstock.rollout.experiment.spec import ExperimentSpec
from penstock.rollout.spec import DeploymentSpec
from penstock.scoring.spec import ScoringSpec
from penstock.training.spec import TrainingSpec
from penstock.triggers.spec import TriggerSpec

FILE_DATABASES = ("sqlite", "duckdb")
"""Schemes of SQLAlchemy URLs that name a file."""


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
    validation: ValidationSpec = ValidationSpec()
    engine: EngineSpec = EngineSpec()
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
    monitoring: MonitoringSpec = MonitoringSpec()
    scoring: ScoringSpec = ScoringSpec()
    trigger: TriggerSpec = TriggerSpec()
    experiment: ExperimentSpec = ExperimentSpec()
    notify: NotifySpec = NotifySpec()
    cluster: ClusterSpec = ClusterSpec()

    @model_validator(mode="after")
    def _has_rules_that_fit(self) -> Project:
        metric = self.training.metric
        try:
            if self.task != "auto":
                self.gate.check_fit(task=self.task, metric=metric)
            elif metric in SCALES:
                self.gate.check_margins(SCALES[metric])
        except InputError as error:
            raise ValueError(f"{error.where}: {error.what}. {error.remedy}".strip()) from error
        return self

    @model_validator(mode="before")
    @classmethod
    def _drop_the_weights(cls, raw: Any) -> Any:
        """Leave the column of weights out of the features, which come before training."""
        training = raw.get("training") if isinstance(raw, Mapping) else None
        name = training.get("weights") if isinstance(training, Mapping) else None
        if not isinstance(name, str) or not name:
            return raw
        features = dict(raw.get("features") or {})
        columns = dict(features.get("columns") or {})
        if columns.setdefault(name, "drop") != "drop":
            raise ValueError(
                f"training.weights names {name!r}, which features.columns takes for "
                f"{columns[name]}: leave it out there, or say drop"
            )
        return {**raw, "features": {**features, "columns": columns}}

    @model_validator(mode="before")
    @classmethod
    def _learn_the_secrets(cls, raw: Any) -> Any:
        """Register the secrets before any message can quote them."""
        learn_all(raw)
        return raw

    @model_validator(mode="after")
    def _refers_where_it_is_read(self) -> Self:
        for field, text in texts(self):
            if field in READ_IN:
                references(text, where=field)
            elif refers(text):
                raise ValueError(
                    f"{field} holds a reference, {text:.80}, and is not a field in which one is "
                    f"read; those are {', '.join(READ_IN)}"
                )
        return self


def load(path: Path, *, settings: Sequence[str] = ()) -> Project:
    """Read and check a project file.

    A suite that `expectations` names by path is read in, relative to the project file.

    Args:
        path: The project file.
        settings: What to change for this time, each as `section.field=VALUE`, for example
            `training.trials=5`; the value is YAML as in the file.

    Raises:
        InputError: If the file is absent, not YAML, or a field is unknown, missing, of the wrong
            type or out of range; the message names the field, the value and what is allowed.
        UsageError: If a setting is none, or is refused as it would be in the file.

    Example:
        >>> text = "{name: loans, target: paid, source: {uri: loans.csv}}"
        >>> _ = Path("project.yaml").write_text(text)
        >>> project = load(Path("project.yaml"), settings=["training.trials=5"])
        >>> project.target, project.training.trials
        ('paid', 5)
    """
    raw = read_mapping(
        path,
        what="project file",
        remedy="Name another, or make one with: penstock init TABLE --target COLUMN",
    )
    project = Project.parse(raw, where=str(path))
    if settings:
        project = _changed(project, settings)
    if isinstance(project.expectations, str):
        from penstock.quality.suite import load_suite

        suite = load_suite(path.parent / project.expectations)
        project = project.model_copy(update={"expectations": suite})
    return project


def _changed(project: Project, settings: Sequence[str]) -> Project:
    """Return the project with settings put over it."""
    # With its defaults: of a rule that the file does not name, one field can be changed.
    raw = project.model_dump(mode="json")
    for setting in settings:
        name, mark, text = setting.partition("=")
        if not mark or not name:
            raise UsageError(
                f"{setting!r} is not a setting",
                where="--set",
                remedy="Write section.field=VALUE, for example training.trials=5.",
            )
        *sections, field = name.split(".")
        inner: Any = raw
        for section in sections:
            inner[section] = {} if inner.get(section) is None else inner[section]
            inner = inner[section]
            if not isinstance(inner, dict):
                raise UsageError(
                    f"{section} is no section, so it has no field {field}",
                    where=f"--set {setting}",
                    remedy="Give the value of the whole field, as YAML.",
                )
        inner[field] = read_value(text, where=f"--set {setting}")
    where = " ".join(f"--set {setting}" for setting in settings)
    try:
        return Project.parse(raw, where=where)
    except InputError as error:
        raise UsageError(error.what, where=where, remedy=error.remedy) from error


def resolved_uri(project: Project, *, folder: Path) -> str:
    """Return the source's URI with a local path made absolute, relative to `folder`."""
    uri = project.source.uri
    if is_reference(uri):
        # What it leads to may be a path, and then it is no secret.
        resolved = resolve(uri, where="source.uri")
        return _absolute(project, resolved, folder=folder) if _in_file(resolved) else uri
    return _absolute(project, uri, folder=folder)


def _in_file(uri: str) -> bool:
    return is_local(uri) or is_versioned_folder(uri) or uri.partition("://")[0] in FILE_DATABASES


def _absolute(project: Project, uri: str, *, folder: Path) -> str:
    if is_local(uri) and not project.source.query:
        return str((folder / local_path(uri)).resolve())
    scheme, mark, rest = uri.partition(":///")
    if project.source.query and scheme in FILE_DATABASES and rest and rest != ":memory:":
        return f"{scheme}{mark}{(folder / rest).resolve()}"
    return versioned_folder(uri, folder=folder)
