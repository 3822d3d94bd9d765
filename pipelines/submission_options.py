"""Options of every command that hands a pipeline to Kubeflow."""

from __future__ import annotations

import argparse
from pathlib import Path

from penstock.pipelines.located import add_project_argument, add_settings


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
