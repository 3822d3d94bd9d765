"""The project that a command is about: its file, its folder on this machine, its MLflow store."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock import project
from penstock.common.secrets import READ_IN
from penstock.errors import InputError, UsageError
from penstock.pipelines.secret_fields import clear_secrets, lent
from penstock.project import Project

if TYPE_CHECKING:
    from penstock.rollout.target import Target

FILE = Path("project.yaml")
"""The project of the folder that a command is given in."""


@dataclass(frozen=True)
class Located:
    """A project and where it is.

    Args:
        project: What its file says.
        folder: Where its file is.
    """

    project: Project
    folder: Path

    @property
    def lent(self) -> list[str]:
        """Its fields that hold a secret in clear."""
        return [one.field for one in clear_secrets(self.project) if one.field in READ_IN]

    @property
    def home(self) -> Path:
        """Where it keeps runs, tracking store and serving state on this machine."""
        return home_of(self.folder)

    def beside(self, address: str) -> str:
        """Return an address, of which a relative path begins beside the project file."""
        from penstock.data.sources.addresses import is_local, local_path

        return str(self.folder / local_path(address)) if is_local(address) else address

    @property
    def tracking_uri(self) -> str:
        """Its MLflow store: its own, else MLFLOW_TRACKING_URI, else the SQLite file of its home."""
        return self._named() or f"sqlite:///{self._database}"

    @property
    def registry(self) -> str:
        """The same store, for who only reads in it: MLflow would make one that is not there.

        Raises:
            InputError: If it is the file of its home, and no run has made that, or it is gone.
        """
        if self._named() or self._database.is_file():
            return self.tracking_uri
        if self._database.exists() or any(self.home.glob("serving/*/state.json")):
            raise InputError(
                f"the registry of {self.project.name} is gone: versions of it were served from "
                "here, and its file is not there",
                where=str(self._database),
                remedy="Put the file back from a backup.",
            )
        raise InputError(
            f"no version of {self.project.name} has been registered yet",
            where=str(self._database),
            remedy="Release a first one with: penstock run.",
        )

    def target(self, *, tracking_uri: str) -> Target:
        """Return where its service lives; a local one keeps the port that it has.

        Args:
            tracking_uri: The MLflow store; a cluster reads models where it says.

        Raises:
            InputError: If the service cannot be what its name and its router say.
            ServiceError: If it is a cluster's, and none is known here.
        """
        from penstock.rollout.target import target_of

        return target_of(
            self.project.deployment,
            service=self.project.name,
            home=self.home,
            tracking_uri=tracking_uri,
            keep_port=True,
        )

    @property
    def _database(self) -> Path:
        return self.home / "mlflow.db"

    def _named(self) -> str:
        return self.project.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")


def home_of(folder: Path) -> Path:
    """Return where a project keeps runs, tracking store and serving state on this machine.

    Args:
        folder: Where the project file is.
    """
    return (folder / ".penstock").resolve()


def locate(path: Path, *, settings: Sequence[str] = ()) -> Located:
    """Read a project file.

    Args:
        path: The file.
        settings: What to change for this time, each as `section.field=VALUE`.

    Raises:
        InputError: If it cannot be read, or a field of it is wrong.
    """
    found = project.load(path, settings=settings)
    with contextlib.suppress(InputError):
        # A rollout that a run left here names the store by these variables.
        os.environ.update(lent(found)[1])
    return Located(project=found, folder=path.absolute().parent)


def add_project_argument(command: argparse.ArgumentParser) -> None:
    """Let a command take the project that it is about, where its folder is not the project's."""
    command.add_argument("project", type=Path, nargs="?", default=FILE, help="the project file")


def add_settings(command: argparse.ArgumentParser) -> None:
    """Let a command change settings of its project for this time."""
    command.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="for this time instead of what the file says, like training.trials=5; the value is "
        "YAML; may be repeated",
    )


def add_summary_option(command: argparse.ArgumentParser) -> None:
    """Let a command that runs a release say how it ended to who began it."""
    command.add_argument(
        "--summary",
        type=Path,
        metavar="FILE",
        help="write outcome, reason and link there as JSON once the run has ended",
    )


def add_store_options(command: argparse.ArgumentParser) -> None:
    """Let a command that names a registered model say in which store it is."""
    command.add_argument(
        "--project",
        type=Path,
        metavar="FILE",
        help="the project whose MLflow store is meant (default: project.yaml, if there is one)",
    )
    add_tracking_uri(command)


def add_tracking_uri(command: argparse.ArgumentParser) -> None:
    """Let a command take an MLflow store instead of the project's."""
    command.add_argument(
        "--tracking-uri", default="", metavar="URI", help="this MLflow store instead"
    )


def store_of(options: argparse.Namespace) -> tuple[str, Project | None]:
    """Return the MLflow store that a command's registered model is in, and the project, if any.

    The first of these that there is: `--tracking-uri`; the store of the project that `--project`
    names, or that is in the working directory; MLFLOW_TRACKING_URI.

    Raises:
        InputError: If the project file cannot be read, a field of it is wrong, or no run has made
            its store.
        UsageError: If no store is known.
    """
    if options.project is not None or (FILE.is_file() and not options.tracking_uri):
        found = locate(options.project or FILE)
        return options.tracking_uri or found.registry, found.project
    return store(options.tracking_uri), None


def store(tracking_uri: str) -> str:
    """Return the MLflow store that registered models are in.

    The first of these that there is: the one given; that of the project in the working directory;
    MLFLOW_TRACKING_URI.

    Raises:
        InputError: As `store_of`.
        UsageError: If no store is known.
    """
    if FILE.is_file() and not tracking_uri:
        return locate(FILE).registry
    given = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not given:
        raise UsageError(
            "no MLflow store is known here",
            where=str(Path.cwd()),
            remedy="Name the project with --project FILE, or the store with --tracking-uri or "
            "MLFLOW_TRACKING_URI.",
        )
    return given
