"""Options of every command that hands a pipeline to Kubeflow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import UsageError
from penstock.pipelines.located import add_project_argument, add_settings

if TYPE_CHECKING:
    from penstock.pipelines.kubeflow_client import Endpoint
    from penstock.project import Project


def add_submission_options(command: argparse.ArgumentParser) -> None:
    """Let a command say what it hands to Kubeflow, and where Kubeflow is."""
    add_project_argument(command)
    add_settings(command)
    command.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="instead of the project's value; objects and lists as JSON",
    )
    command.add_argument("--experiment", default="", help="default: the project's name")
    command.add_argument("--service-account", default="", help="of the steps' pods")
    command.add_argument(
        "--no-cache", action="store_true", help="run every step, even on the same inputs"
    )
    add_endpoint_options(command)


def submission_arguments(options: argparse.Namespace) -> list[str]:
    """Return what `add_submission_options` read as arguments again, paths made absolute."""
    given = [str(options.project.absolute())]
    for name, values in (("--set", options.settings), ("--parameter", options.parameter)):
        given += [f"{name}={value}" for value in values]
    for name in ("experiment", "service_account", "host", "namespace"):
        if value := getattr(options, name):
            given.append(f"--{name.replace('_', '-')}={value}")
    for name in ("token_file", "cookie_file", "ca_cert"):
        if path := getattr(options, name):
            given.append(f"--{name.replace('_', '-')}={path.absolute()}")
    given += [
        f"--{name.replace('_', '-')}" for name in ("no_cache", "insecure") if getattr(options, name)
    ]
    return given


def add_endpoint_options(command: argparse.ArgumentParser) -> None:
    """Let a command say where Kubeflow is, and who asks."""
    command.add_argument(
        "--host",
        default="",
        metavar="URL",
        help="Kubeflow Pipelines; default: KF_PIPELINES_ENDPOINT",
    )
    command.add_argument(
        "--namespace", default="", help="profile namespace, where there are several"
    )
    command.add_argument(
        "--token-file", type=Path, metavar="FILE", help="a bearer token, read for every request"
    )
    command.add_argument(
        "--cookie-file", type=Path, metavar="FILE", help="the Cookie header of a session"
    )
    command.add_argument(
        "--ca-cert", type=Path, metavar="FILE", help="PEM of the authority that signed the server"
    )
    command.add_argument(
        "--insecure",
        action="store_true",
        help="do not check the server's certificate: others on the network can read the token and "
        "change what runs",
    )


def warn_of_account(project: Project, client: Any, endpoint: Endpoint) -> None:
    """Say beforehand where the run's service account may not be ours to use."""
    from penstock.pipelines.kubeflow_client import readable_errors
    from penstock.pipelines.submit import account_warning

    account = project.cluster.service_account
    if not account:
        return
    with readable_errors(endpoint):
        several = client.get_kfp_healthz().multi_user
        namespace = endpoint.namespace or client.get_user_namespace() or ""
    if several and (words := account_warning(account, namespace=namespace)):
        print(words, file=sys.stderr)


def project_of(options: argparse.Namespace) -> Project:
    """Load the project, with what the options say of its cluster."""
    from penstock import project
    from penstock.cluster.settings import ClusterSpec

    loaded = project.load(options.project, settings=options.settings)
    given = {
        name: value
        for name in ("service_account", "experiment", "namespace")
        if (value := getattr(options, name))
    }
    if options.no_cache:
        given["caching"] = False
    raw = loaded.cluster.model_dump() | given
    cluster = ClusterSpec.parse(raw, where="the options")
    return loaded.model_copy(update={"cluster": cluster})


def endpoint_of(options: argparse.Namespace, *, namespace: str = "") -> Endpoint:
    """Return where Kubeflow is, by the options; a namespace that they name goes before another."""
    from penstock.pipelines.kubeflow_client import Endpoint

    endpoint = Endpoint(
        host=options.host,
        namespace=options.namespace or namespace,
        token_file=options.token_file,
        cookie_file=options.cookie_file,
        ca_cert=options.ca_cert,
        insecure=options.insecure,
    )
    if endpoint.insecure and endpoint.ca_cert:
        raise UsageError("--ca-cert and --insecure exclude one another")
    if endpoint.insecure:
        print("The server's certificate is not checked (--insecure).", file=sys.stderr)
    return endpoint
