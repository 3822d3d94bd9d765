"""The file that declares the recurring runs of a project: `schedules.yaml`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from penstock.common import files
from penstock.common.yaml_file import read_mapping
from penstock.errors import InputError, UsageError
from penstock.pipelines.compile import version_name
from penstock.pipelines.schedule import Plan, watching
from penstock.pipelines.submit import Package, monitor_package, package, score_package
from penstock.pipelines.timing import cron, duration, timestamp
from penstock.project import Project
from penstock.records.spec import Spec

FILE = "schedules.yaml"
"""What is read if no other file is named, beside the project file."""

MARK = "Kept by penstock schedule sync: "
"""How the description of a recurring run begins that a sync made; project/name follows."""

DIGITS = 12
"""Hexadecimal digits of the digest at the end of its name."""

_KEY = re.compile(r"^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$")

_BUILD: dict[str, Callable[..., Package]] = {
    "release": package,
    "monitor": monitor_package,
    "score": score_package,
}


class ScheduleSpec(Spec):
    """One recurring run: what it runs, and when."""

    runs: Literal["release", "monitor", "score"] = Field(
        default="release", description="The pipeline"
    )
    cron: str = Field(
        default="", description="Five fields as in crontab, or six with the second first"
    )
    every: str = Field(
        default="",
        description="Or a duration: 90m, 12h, 7d; without both, a monitor runs every "
        "`monitoring.every`",
    )
    start: str = Field(default="", description="Not before: 2026-12-01")
    end: str = Field(default="", description="Not after")
    max_concurrency: int = Field(default=1, ge=1, le=10, description="Runs at once")
    catch_up: bool = Field(
        default=False, description="Make up for every run that was missed, not only the latest"
    )
    paused: bool | None = Field(
        default=None,
        description="Whether it starts no runs; null leaves that to `penstock schedule pause` and "
        "`resume`",
    )
    service_account: str = Field(
        default="", description="Of the steps' pods; empty takes the project's"
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the pipeline, instead of the project's"
    )


class SchedulesFile(Spec):
    """All recurring runs of one project."""

    version: Literal[1] = Field(default=1, description="Version of this file's form")
    schedules: dict[str, ScheduleSpec] = Field(
        description="By name: lower case, digits, dashes; an empty mapping means none"
    )


@dataclass(frozen=True)
class Declared:
    """A recurring run that is to be there.

    Attributes:
        key: Its name in the file.
        project: The project, with the service account of this run.
        made: What it runs.
        plan: When.
        paused: Whether it starts no runs; None: as it is.
    """

    key: str
    project: Project
    made: Package
    plan: Plan
    paused: bool | None = None

    @property
    def when(self) -> str:
        """When it runs, in words."""
        return f"cron {self.plan.cron}" if self.plan.cron else f"every {self.plan.every} s"

    @property
    def mark(self) -> str:
        """What its description says, by which a later sync knows it again."""
        return f"{MARK}{self.project.name}/{self.key}"

    @property
    def name(self) -> str:
        """Project, name in the file, and a digest of all that it does."""
        # Who runs the sync is in the parameters and must not make another schedule of it.
        arguments = {k: v for k, v in self.made.arguments.items() if k != "requested_by"}
        cluster = self.project.cluster
        content = {
            "version": version_name(self.made.name or self.project.name, self.made.text),
            "arguments": arguments,
            "experiment": cluster.experiment,
            "service_account": cluster.service_account,
            "plan": {key: str(value) for key, value in vars(self.plan).items()},
        }
        digest = files.digest_of_text(files.canonical_json(content)).partition(":")[2]
        return f"{self.project.name}-{self.key}-{digest[:DIGITS]}"


def read(
    path: Path, *, project: Project, folder: Path, parameters: Sequence[str] = ()
) -> list[Declared]:
    """Read the file and compile what it names.

    Args:
        path: The file.
        project: The project that it belongs to.
        folder: Where the project file is, and code of its own.
        parameters: `name=value` for every schedule; one's own go before them.

    Raises:
        InputError: If the file or a schedule in it cannot be; nothing was changed then.
    """
    raw = read_mapping(
        path,
        what="file of schedules",
        remedy="Write `schedules: {}` into it if there are to be none: docs/gitops.md.",
    )
    declared = SchedulesFile.parse(raw, where=str(path)).schedules
    return [
        _declared(key, spec, project, folder, parameters, where=f"{path}: schedules.{key}")
        for key, spec in declared.items()
    ]


def _declared(
    key: str,
    spec: ScheduleSpec,
    project: Project,
    folder: Path,
    parameters: Sequence[str],
    *,
    where: str,
) -> Declared:
    if not _KEY.match(key):
        raise InputError(
            "not a name for a schedule",
            where=where,
            remedy="Use at most 30 lower-case letters, digits and dashes, a letter first.",
        )
    if spec.service_account:
        cluster = project.cluster.model_copy(update={"service_account": spec.service_account})
        project = project.model_copy(update={"cluster": cluster})
    own = [f"{name}={_text(value)}" for name, value in spec.parameters.items()]
    try:
        plan = _plan(spec, project)
        made = _BUILD[spec.runs](project, parameters=[*parameters, *own], folder=folder)
    except UsageError as error:
        place = error.where.replace("--", "").replace("-", "_") if error.where else ""
        raise InputError(
            error.what, where=f"{where}.{place}".rstrip("."), remedy=error.remedy
        ) from error
    return Declared(key=key, project=project, made=made, plan=plan, paused=spec.paused)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plan(spec: ScheduleSpec, project: Project) -> Plan:
    every = spec.every
    if spec.runs == "monitor" and not spec.cron:
        every = every or project.monitoring.every
    if bool(spec.cron) == bool(every):
        raise UsageError("give either cron or every")
    plan = Plan(
        cron=cron(spec.cron) if spec.cron else "",
        every=duration(every) if every else 0,
        start=timestamp(spec.start) if spec.start else None,
        end=timestamp(spec.end) if spec.end else None,
        at_once=spec.max_concurrency,
        catch_up=spec.catch_up,
    )
    plan.check()
    return watching(project, plan) if spec.runs == "monitor" else plan
