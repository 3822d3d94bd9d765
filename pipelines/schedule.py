"""Recurring runs of the release pipeline on Kubeflow.

A schedule runs one version of an uploaded pipeline, named by the content of the compiled file: a
project that has changed makes a new version, and one that has not makes none.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from penstock.errors import InputError, UsageError
from penstock.pipelines.compile import acts_by_itself, version_name
from penstock.pipelines.kubeflow_client import Endpoint, readable_errors
from penstock.pipelines.submit import Package, account_granted
from penstock.project import Project

_EQUALS = 1
_PAGE = 100
_MOST_AT_ONCE = 10
_LOOK_AND_ACT = 2
_ACCOUNTS = (None, "", "pipeline-runner", "default-editor")  # what Kubeflow answers for none given

Change = Literal["created", "replaced", "unchanged"]


@dataclass(frozen=True)
class Plan:
    """When a schedule runs.

    Exactly one of `cron` (six fields) and `every` (seconds) is given. Without `catch_up`, runs
    that were missed are not made up for, but for the latest.
    """

    cron: str = ""
    every: int = 0
    start: datetime | None = None
    end: datetime | None = None
    at_once: int = 1
    catch_up: bool = False

    def check(self) -> None:
        """Refuse what Kubeflow would refuse, or never run.

        Raises:
            UsageError: With what to change.
        """
        if bool(self.cron) == bool(self.every):
            raise UsageError("give either --cron or --every")
        if not 1 <= self.at_once <= _MOST_AT_ONCE:
            raise UsageError(
                f"{self.at_once} runs at once", where="--max-concurrency", remedy="Give 1 to 10."
            )
        if self.start and self.end and self.end <= self.start:
            raise UsageError(f"the end, {self.end}, is not after the start, {self.start}")


def watching(project: Project, plan: Plan) -> Plan:
    """Return the plan of a monitor: one run at a time, and one more where it acts by itself.

    The run that recalls or trains again may wait for an approval for days, and looks go on; the
    monitor's lease keeps two looks apart.

    Args:
        project: The project.
        plan: As it was asked for.

    Raises:
        UsageError: If it was asked for more.
    """
    if plan.at_once != 1:
        raise UsageError("a service has one monitor at a time", where="--max-concurrency")
    return replace(plan, at_once=_LOOK_AND_ACT) if acts_by_itself(project) else plan


class Schedules:
    """The recurring runs of one Kubeflow, in one namespace where it has several.

    Args:
        client: What `connect` returned.
        endpoint: Where it is connected to.
    """

    def __init__(self, client: Any, endpoint: Endpoint) -> None:
        self._client = client
        self._endpoint = endpoint
        self._namespace = endpoint.namespace or client.get_user_namespace() or None

    def create(
        self, project: Project, made: Package, plan: Plan, *, name: str
    ) -> tuple[Change, Any]:
        """Create a schedule, or replace the one of this name if it differs.

        Kubeflow cannot change a schedule, so one that differs is replaced: the new one is made
        first, so that a failure in between leaves two and never none. One that was paused stays so.

        Args:
            project: The project.
            made: Its package.
            plan: When it runs.
            name: Its name, unique here though not for Kubeflow.

        Returns:
            What was done, and the `V2beta1RecurringRun`.

        Raises:
            UsageError: If the plan cannot be.
            ServiceError: If Kubeflow does not take it.
        """
        plan.check()
        with account_granted(project.cluster.service_account), readable_errors(self._endpoint):
            requested = self._request(project, made, plan, name)
            before = self._called(name)
            paused = bool(before) and all(is_paused(each) for each in before)
            requested.mode = "DISABLE" if paused else "ENABLE"
            if len(before) == 1 and _same(before[0], requested):
                return "unchanged", before[0]
            created = self._recurring.recurring_run_service_create_recurring_run(requested)
            for each in before:
                self._client.delete_recurring_run(each.recurring_run_id)
            return ("replaced" if before else "created"), created

    def add(
        self, project: Project, made: Package, plan: Plan, *, name: str, says: str, paused: bool
    ) -> Any:
        """Create a schedule beside whatever is there.

        Args:
            project: The project.
            made: Its package.
            plan: When it runs.
            name: Its name.
            says: Its description.
            paused: Whether it starts no runs until it is resumed.

        Returns:
            The `V2beta1RecurringRun`.

        Raises:
            ServiceError: If Kubeflow does not take it.
        """
        with account_granted(project.cluster.service_account), readable_errors(self._endpoint):
            requested = self._request(project, made, plan, name)
            requested.description = says
            requested.mode = "DISABLE" if paused else "ENABLE"
            return self._recurring.recurring_run_service_create_recurring_run(requested)

    def every(self) -> list[Any]:
        """Return all recurring runs, oldest first."""
        with readable_errors(self._endpoint):
            return self._listed()

    def pause(self, which: str) -> Any:
        """Stop starting runs; one that is going goes on.

        Args:
            which: A name or an id.

        Raises:
            InputError: If there is none, or there are several of that name.
        """
        found = self.find(which)
        with readable_errors(self._endpoint):
            self._client.disable_recurring_run(found.recurring_run_id)
        return found

    def resume(self, which: str) -> Any:
        """Start runs again, by name or id, as `pause` takes it."""
        found = self.find(which)
        with readable_errors(self._endpoint):
            self._client.enable_recurring_run(found.recurring_run_id)
        return found

    def delete(self, which: str) -> Any:
        """Delete a schedule, by name or id, as `pause` takes it; its runs stay."""
        found = self.find(which)
        with readable_errors(self._endpoint):
            self._client.delete_recurring_run(found.recurring_run_id)
        return found

    def find(self, which: str) -> Any:
        """Return a schedule by its id or its name, as `pause` takes it."""
        every = self.every()
        found = [each for each in every if each.recurring_run_id == which] or [
            each for each in every if each.display_name == which
        ]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(each.recurring_run_id for each in found)
            raise InputError(
                f"{len(found)} schedules have this name", where=which, remedy=f"Give an id: {ids}."
            )
        known = ", ".join(sorted({each.display_name for each in every})) or "none"
        raise InputError("there is no such schedule", where=which, remedy=f"There are: {known}.")

    @property
    def _recurring(self) -> Any:
        return self._client._recurring_run_api

    def _called(self, name: str) -> list[Any]:
        return [each for each in self._listed() if each.display_name == name]

    def _listed(self) -> list[Any]:
        return _pages(
            lambda token: self._client.list_recurring_runs(
                page_token=token,
                page_size=_PAGE,
                sort_by="created_at",
                namespace=self._namespace,
            ),
            "recurring_runs",
        )

    def _request(self, project: Project, made: Package, plan: Plan, name: str) -> Any:
        """Return the recurring run to ask for; its version and its experiment are there then."""
        import kfp_server_api as api

        version = self._version(project, made)
        experiment = self._client.create_experiment(
            project.cluster.experiment or project.name, namespace=self._namespace
        )
        window = {"start_time": plan.start, "end_time": plan.end}
        trigger = (
            api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=plan.cron, **window))
            if plan.cron
            else api.V2beta1Trigger(
                periodic_schedule=api.V2beta1PeriodicSchedule(
                    interval_second=str(plan.every), **window
                )
            )
        )
        return api.V2beta1RecurringRun(
            display_name=name,
            description=f"Made by penstock schedule for the project {project.name}",
            experiment_id=experiment.experiment_id,
            pipeline_version_reference=api.V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
            ),
            runtime_config=api.V2beta1RuntimeConfig(parameters=made.arguments),
            service_account=project.cluster.service_account or None,
            max_concurrency=str(plan.at_once),
            no_catchup=not plan.catch_up,
            trigger=trigger,
        )

    def _version(self, project: Project, made: Package) -> Any:
        """Return the pipeline version of this content, uploaded if it is not there yet."""
        pipeline = self._pipeline(made.name or project.name)
        name = version_name(made.name or project.name, made.text)
        for attempt in range(2):
            found = _pages(
                lambda token: self._client.list_pipeline_versions(
                    pipeline, page_token=token, page_size=_PAGE, filter=_named(name)
                ),
                "pipeline_versions",
            )
            if found:
                return found[0]
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / "release.yaml"
                file.write_text(made.text, encoding="utf-8")
                try:
                    return self._client.upload_pipeline_version(
                        str(file), pipeline_version_name=name, pipeline_id=pipeline
                    )
                except Exception as error:
                    if attempt or getattr(error, "status", None) != 409:
                        raise
        raise AssertionError

    def _pipeline(self, name: str) -> str:
        """Return the id of the pipeline of this name, made empty if it is not there yet.

        kfp's own upload would make a first version that is named after the pipeline.
        """
        import kfp_server_api as api

        found = _pages(
            lambda token: self._client.list_pipelines(
                page_token=token, page_size=_PAGE, filter=_named(name), namespace=self._namespace
            ),
            "pipelines",
        )
        if not found:
            pipeline = api.V2beta1Pipeline(name=name, display_name=name, namespace=self._namespace)
            found = [self._client._pipelines_api.pipeline_service_create_pipeline(pipeline)]
        return str(found[0].pipeline_id)


def is_paused(schedule: Any) -> bool:
    """Return whether a recurring run starts no runs."""
    return bool(schedule.status == "DISABLED" or schedule.mode == "DISABLE")


def trigger_words(schedule: Any) -> str:
    """Return when a recurring run starts runs, in words."""
    trigger = schedule.trigger
    if trigger and trigger.cron_schedule:
        return f"cron {trigger.cron_schedule.cron}"
    if trigger and trigger.periodic_schedule:
        return f"every {int(trigger.periodic_schedule.interval_second)} s"
    return "never"


def _same(there: Any, requested: Any) -> bool:
    return _essence(there) == _essence(requested)


def _essence(schedule: Any) -> tuple[Any, ...]:
    reference = schedule.pipeline_version_reference
    trigger = schedule.trigger
    timed = (trigger.cron_schedule or trigger.periodic_schedule) if trigger else None
    config = schedule.runtime_config
    return (
        schedule.experiment_id,
        reference and (reference.pipeline_id, reference.pipeline_version_id),
        trigger_words(schedule),
        _moment(timed and timed.start_time),
        _moment(timed and timed.end_time),
        int(schedule.max_concurrency or 1),
        bool(schedule.no_catchup),
        "" if schedule.service_account in _ACCOUNTS else schedule.service_account,
        json.dumps((config and config.parameters) or {}, sort_keys=True),
    )


def _moment(value: datetime | None) -> float | None:
    # Kubeflow answers a schedule without start or end with the epoch, or with nothing.
    return value.timestamp() if value and value.timestamp() > 0 else None


def _pages(ask: Callable[[str], Any], field: str) -> list[Any]:
    found: list[Any] = []
    token = ""
    while True:
        page = ask(token)
        found += getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return found


def _named(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})
