"""The release pipeline handed to Kubeflow: compiled, checked, and a run of it begun."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from penstock.errors import UsageError
from penstock.pipelines._accounts import granted
from penstock.pipelines._client import Endpoint, asking
from penstock.pipelines.compile import compile_release
from penstock.pipelines.parameters import given, starter, stays_here
from penstock.pipelines.secret_fields import refuse_clear
from penstock.project import Project


@dataclass(frozen=True)
class Package:
    """A compiled pipeline and what it is to be run with."""

    text: str
    spec: dict[str, Any]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Submission:
    """A run that Kubeflow has taken."""

    run: str
    link: str
    account: str
    package: Package


def package(project: Project, *, parameters: Iterable[str] = ()) -> Package:
    """Compile the project and check that a cluster can do something with it.

    Args:
        project: The project.
        parameters: `name=value`, instead of the values that the project gives.

    Raises:
        InputError: If the project or a parameter holds a secret in clear.
        UsageError: If a parameter is not one of the pipeline's, or the table or the tracking store
            is on this machine and no parameter names another.
    """
    with tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch) / "release.yaml"
        compile_release(project, output=compiled)
        text = compiled.read_text(encoding="utf-8")
    spec = next(yaml.safe_load_all(text))
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    changed = given(parameters, inputs=inputs)
    refuse_clear(changed, where="--parameter")
    arguments = {"requested_by": starter(), **changed}
    for name, value, meaning in (
        ("uri", project.source.uri, "the table"),
        ("tracking_uri", project.tracking_uri, "the MLflow store"),
    ):
        if value and name not in arguments and stays_here(value):
            raise UsageError(
                f"{meaning}, {value}, is on this machine, and no step of the cluster sees it",
                where=project.name,
                remedy=f"Give an address that the cluster reaches: --parameter {name}=...",
            )
    return Package(text=text, spec=spec, arguments=arguments)


def submit(
    project: Project, made: Package, *, client: Any, endpoint: Endpoint, name: str = ""
) -> Submission:
    """Begin a run.

    Args:
        project: The project; its `cluster` section says with which service account and where.
        made: The project's package.
        client: What `connect` returned.
        endpoint: Where it is connected to.
        name: The run's name; empty takes the project's name and the time.

    Raises:
        ServiceError: If Kubeflow does not take it.
    """
    cluster = project.cluster
    account = cluster.service_account
    with granted(account), asking(endpoint), tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch) / "release.yaml"
        compiled.write_text(made.text, encoding="utf-8")
        run = client.create_run_from_pipeline_package(
            str(compiled),
            arguments=made.arguments,
            run_name=name or f"{project.name} {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}",
            experiment_name=cluster.experiment or project.name,
            namespace=cluster.namespace or None,
            service_account=account or None,
        )
    return Submission(
        run=run.run_id,
        link=endpoint.link(f"runs/details/{run.run_id}"),
        account=account,
        package=made,
    )


def terminate(run: str, *, client: Any, endpoint: Endpoint) -> None:
    """End a run; its steps are killed where they are.

    Raises:
        ServiceError: If there is no such run, or Kubeflow does not allow it.
    """
    with asking(endpoint):
        client.terminate_run(run)
