"""The release pipeline handed to Kubeflow: compiled, checked, and a run of it started.

Kubeflow Pipelines from 2.18 on refuses a service account that its API server's
ALLOWEDSERVICEACCOUNTS does not name; with several users it also checks whether the caller has the
verb `use` on it (kubeflow/pipelines#14181). Neither applies to its own default account.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from penstock.errors import PenstockError, ServiceError, UsageError
from penstock.pipelines.compile import (
    LOADER,
    compile_monitor,
    compile_release,
    compile_score,
    monitor_name,
    score_name,
)
from penstock.pipelines.kubeflow_client import Endpoint, may_have_acted, readable_errors
from penstock.pipelines.parameters import given, starter, stays_here
from penstock.pipelines.secret_fields import refuse_clear
from penstock.project import Project

_EXPERIMENT = "KF_PIPELINES_OVERRIDE_EXPERIMENT_NAME"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SECONDS = 5.0
_REFUSALS = (400, 403)


@dataclass(frozen=True)
class Package:
    """A compiled pipeline and what it is to be run with.

    Attributes:
        text: The file, as kfp compiles it.
        spec: Its pipeline spec.
        arguments: Values of the pipeline's parameters.
        name: The pipeline's name where it is not the project's.
        platform: Its settings for Kubernetes; empty: it has none.
    """

    text: str
    spec: dict[str, Any]
    arguments: dict[str, Any]
    name: str = ""
    platform: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """A run that Kubeflow has taken."""

    run: str
    link: str
    account: str
    package: Package


def package(project: Project, *, parameters: Iterable[str] = (), folder: Path = Path()) -> Package:
    """Compile the project and check that a cluster can do something with it.

    Args:
        project: The project.
        parameters: `name=value`, instead of the values that the project gives.
        folder: Where the project file is, and code of its own.

    Raises:
        InputError: If the project or a parameter holds a secret in clear.
        UsageError: If a parameter is not one of the pipeline's, or the table or the tracking store
            is on this machine and no parameter names another.
    """
    with tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch) / "release.yaml"
        compile_release(project, output=compiled, folder=folder)
        text = compiled.read_text(encoding="utf-8")
    spec, platform = _documents(text)
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    changed = given(parameters, inputs=inputs)
    refuse_clear(changed, where="--parameter")
    arguments = {"requested_by": starter(), **changed}
    _require_there(project, "uri", project.source.uri, "the table", arguments)
    _require_there(project, "tracking_uri", project.tracking_uri, "the MLflow store", arguments)
    return Package(text=text, spec=spec, arguments=arguments, platform=platform)


def monitor_package(
    project: Project, *, parameters: Iterable[str] = (), folder: Path = Path()
) -> Package:
    """Compile the monitor of a project, for a schedule.

    Args:
        project: The project.
        parameters: `name=value`, instead of the values that the project gives.
        folder: Where the project file is, and code of its own.

    Raises:
        InputError: If the project cannot be watched there, or it or a parameter holds a secret in
            clear.
        UsageError: If a parameter is not one of the pipeline's, or the tracking store is on this
            machine and no parameter names another.
    """
    compiled_by = partial(compile_monitor, folder=folder)
    return _package(project, compiled_by, parameters, name=monitor_name(project))


def score_package(
    project: Project, *, parameters: Iterable[str] = (), folder: Path = Path()
) -> Package:
    """Compile the scoring of a project, for a schedule; as `monitor_package`."""
    del folder  # A version brings its own code.
    return _package(project, compile_score, parameters, name=score_name(project))


def _package(
    project: Project, compiled_by: Callable[..., None], parameters: Iterable[str], *, name: str
) -> Package:
    with tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch) / "pipeline.yaml"
        compiled_by(project, output=compiled)
        text = compiled.read_text(encoding="utf-8")
    spec, platform = _documents(text)
    arguments = given(parameters, inputs=spec["root"]["inputDefinitions"]["parameters"])
    refuse_clear(arguments, where="--parameter")
    _require_there(project, "tracking_uri", project.tracking_uri, "the MLflow store", arguments)
    return Package(text=text, spec=spec, arguments=arguments, name=name, platform=platform)


def _documents(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, *platform = yaml.load_all(text, Loader=LOADER)
    return spec, platform[0] if platform else {}


def _require_there(
    project: Project, name: str, value: str, meaning: str, arguments: dict[str, Any]
) -> None:
    """Return if an address is one that a cluster reaches, or another is given in its place."""
    if value and name not in arguments and stays_here(value):
        raise UsageError(
            f"{meaning}, {value}, is on this machine, where no step of the cluster can read it",
            where=project.name,
            remedy=f"Give an address that the cluster reaches: --parameter {name}=...",
        )


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
    import kfp_server_api as api

    cluster = project.cluster
    account = cluster.service_account
    name = name or f"{project.name} {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
    # By kfp's own client it would be read again, by a parser in Python: longer than all the rest.
    both = {"pipeline_spec": made.spec, "platform_spec": made.platform}
    with account_granted(account):
        with readable_errors(endpoint):
            experiment = client.create_experiment(
                _experiment(project), namespace=cluster.namespace or None
            ).experiment_id
        page = endpoint.link(f"experiments/details/{experiment}")
        with _perhaps_begun(name, experiment=page), readable_errors(endpoint):
            run = client._run_api.run_service_create_run(
                run=api.V2beta1Run(
                    display_name=name,
                    experiment_id=experiment,
                    pipeline_spec=both if made.platform else made.spec,
                    runtime_config=api.V2beta1RuntimeConfig(parameters=made.arguments),
                    service_account=account or None,
                )
            )
    return Submission(
        run=run.run_id,
        link=endpoint.link(f"runs/details/{run.run_id}"),
        account=account,
        package=made,
    )


def _experiment(project: Project) -> str:
    """Return the name of the project's experiment; kfp's own variable goes before it."""
    return os.environ.get(_EXPERIMENT) or project.cluster.experiment or project.name


@contextlib.contextmanager
def _perhaps_begun(name: str, *, experiment: str) -> Iterator[None]:
    """Say that a run may have begun, if Kubeflow does not answer what begins it inside."""
    try:
        yield
    except ServiceError as error:
        if not may_have_acted(error.__cause__):
            raise
        raise ServiceError(
            f"{error.what}; the run {name!r} may have begun all the same",
            where=error.where,
            remedy=f"Look for it at {experiment} before you submit it again, or submit it with "
            f"--once --run-name {shlex.quote(name)}, which goes on with a run of that name.",
        ) from error.__cause__


def submitted(
    project: Project, made: Package, *, client: Any, endpoint: Endpoint, name: str
) -> Submission | None:
    """Return the run of that name that Kubeflow has taken, in the project's experiment.

    Args:
        project: The project.
        made: The project's package.
        client: What `connect` returned.
        endpoint: Where it is connected to.
        name: The run's name.

    Returns:
        The newest of that name; None: there is none.

    Raises:
        ServiceError: If Kubeflow does not say.
    """
    cluster = project.cluster
    namespace = cluster.namespace or None
    named = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    with readable_errors(endpoint):
        try:
            experiment = client.get_experiment(
                experiment_name=_experiment(project), namespace=namespace
            )
        except ValueError as error:
            # What kfp's client raises where no experiment has the name.
            if str(error).startswith("No experiment"):
                return None
            raise
        found = client.list_runs(
            page_size=1,
            sort_by="created_at desc",
            experiment_id=experiment.experiment_id,
            namespace=namespace,
            filter=json.dumps({"predicates": [named]}),
        ).runs
    if not found:
        return None
    run = found[0]
    return Submission(
        run=run.run_id,
        link=endpoint.link(f"runs/details/{run.run_id}"),
        account=run.service_account or "",
        package=made,
    )


def terminate(run: str, *, client: Any, endpoint: Endpoint) -> None:
    """End a run; its steps are killed where they are.

    Raises:
        ServiceError: If there is no such run, or Kubeflow does not allow it.
    """
    with readable_errors(endpoint):
        client.terminate_run(run)


def account_warning(account: str, *, namespace: str) -> str:
    """Return why this machine's Kubernetes user may not use an account; empty if it may.

    It is also empty if there is no kubeconfig, if its cluster does not respond within seconds, or
    if no account is set. It is a warning, no verdict: Kubeflow may know the caller by another name,
    and before 2.18 it does not check.

    Args:
        account: The run's service account; empty for the one that Kubeflow sets.
        namespace: The namespace of the run.
    """
    from penstock.cluster import client as kube

    if not (account and namespace):
        return ""
    attributes = {
        "namespace": namespace,
        "verb": "use",
        "resource": "serviceaccounts",
        "name": account,
    }
    try:
        server = kube.connect(patience=_SECONDS)
        answer = server.create(
            _REVIEWS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
    except ServiceError:
        return ""
    if answer.get("status", {}).get("allowed", True):
        return ""
    return (
        f"The user of the kubeconfig may not use the service account {account} in the namespace "
        f"{namespace} of {server.server}. If that is you in Kubeflow too, Kubeflow Pipelines from "
        "2.18 on refuses the run. Ask for the verb use on it: docs/submission.md."
    )


@contextlib.contextmanager
def account_granted(account: str) -> Iterator[None]:
    """Explain what to do if Kubeflow refuses what is done inside because of the account.

    Args:
        account: The run's service account; empty for the one that Kubeflow sets.

    Raises:
        ServiceError: In place of the one that reported the refusal.
    """
    try:
        yield
    except PenstockError as error:
        status = getattr(error.__cause__, "status", None)
        if not account or status not in _REFUSALS or not _names(error.what, account):
            raise
        raise ServiceError(
            error.what,
            where=error.where,
            remedy=f"Kubeflow Pipelines from 2.18 on needs {account} in ALLOWEDSERVICEACCOUNTS of "
            "its API server (kubectl set env deployment/ml-pipeline -n kubeflow "
            f"ALLOWEDSERVICEACCOUNTS={account}, with the others that are there), and, where it has "
            "several users, the verb use on that service account for you: docs/submission.md.",
        ) from error.__cause__


def _names(words: str, account: str) -> bool:
    return (
        account in words or re.search(r"service[ -]?accounts?\b", words, re.IGNORECASE) is not None
    )
