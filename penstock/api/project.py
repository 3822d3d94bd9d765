"""A project: its file, and what can be done with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from penstock.api.drawn import drawn
from penstock.api.judgement import Judgement
from penstock.api.model import Model
from penstock.api.run import Run, Submitted
from penstock.pipelines.located import FILE, Located, locate
from penstock.project import Project as Settings

if TYPE_CHECKING:
    from penstock.pipelines.kubeflow_client import Endpoint


class Project:
    """One model of one table, as its project file says.

    Attributes:
        settings: What the file says, with its defaults.
        folder: Where it is; `.penstock` with runs and registry lies beside it.
    """

    def __init__(self, located: Located, *, given: tuple[str, ...] = ()) -> None:
        self._located = located
        self._given = given
        self.settings: Settings = located.project
        self.folder: Path = located.folder

    @classmethod
    def load(cls, path: str | Path = FILE, *, settings: Sequence[str] = ()) -> Project:
        """Read a project file.

        Args:
            path: The file; default: project.yaml in the working folder.
            settings: What to change for this time, each as `section.field=VALUE`, as `--set`.

        Raises:
            InputError: If it cannot be read, or a field of it is wrong; the message names the
                field, the value and what is allowed.
        """
        return cls(locate(Path(path), settings=settings), given=tuple(settings))

    @property
    def name(self) -> str:
        """Its name, which is that of its registered model."""
        return self.settings.name

    def run(self, *, fresh: bool = False) -> Run:
        """Run the release pipeline on this machine; the model is then served on loopback.

        A line is printed for each step. A refusal or a rollback is an outcome and raises nothing.

        Args:
            fresh: Run every step, also those whose inputs, settings and code an earlier run had.

        Raises:
            InputError: If a path or value cannot be passed on, or a secret is not there.
        """
        from penstock.pipelines.run_here import run_here
        from penstock.pipelines.run_notice import notify_of

        result = run_here(self._located, project=self.settings, fresh=fresh, settings=self._given)
        notify_of(result, found=self._located)
        return Run(result)

    def model(self, version: int | str = "champion", *, unapproved: bool = False) -> Model:
        """Return a version of its registered model, which answers as its server does.

        Args:
            version: A number, or an alias: champion, challenger, previous.
            unapproved: Take a version that was named by its number although it was not approved.

        Raises:
            InputError: If there is no such version, or none was registered yet.
            PenstockError: See `Model`.
        """
        place = f"/{version}" if isinstance(version, int) else f"@{version}"
        return Model(
            f"models:/{self.name}{place}",
            tracking_uri=self._located.registry,
            unapproved=unapproved,
        )

    def gate(
        self,
        model: str | Path,
        data: str | Path,
        *,
        champion: str = "",
        baselines: str | Path | None = None,
    ) -> Judgement:
        """Measure a model on rows that it has not seen and judge it by the project's policy.

        Args:
            model: `models:/NAME/VERSION`, `models:/NAME@ALIAS` or a model folder.
            data: A dataset folder, or a table as the project's own is read.
            champion: What to compare with, in the form of `model`, or `none`; empty: the champion
                of the registered model.
            baselines: What train wrote beside the model; None: the trivial baseline, made again.

        Raises:
            UsageError: If the model, the rows or the champion are not there.
            InputError: If the rows do not fit, or the policy asks for what they lack.
        """
        from penstock.pipelines.judging import REGISTERED, Order, in_store, judge

        order = Order(
            policy=self.settings.gate,
            spec=self.settings.evaluation,
            model=str(model),
            data=str(data),
            champion=champion,
            baselines=Path(baselines) if baselines is not None else None,
            source=self.settings.source,
            name=self.name,
            image=os.environ.get("PENSTOCK_IMAGE", ""),
        )
        named = any(text.startswith(REGISTERED) for text in (order.model, order.champion))
        with in_store(self._located.registry if named else ""), TemporaryDirectory() as place:
            decision, evaluation = judge(order, scratch=Path(place))
            page = (Path(place) / "decision.html").read_text(encoding="utf-8")
        return Judgement(decision, evaluation, page)

    def compile(
        self, output: str | Path = "release.yaml", *, kubernetes_manifest: bool = False
    ) -> Path:
        """Write the release pipeline as YAML for Kubeflow, and return the file.

        Args:
            output: The file; its name ends in .yaml or .yml.
            kubernetes_manifest: Write Pipeline and PipelineVersion resources for kubectl apply.

        Raises:
            InputError: If the project holds a secret in clear.
        """
        from penstock.pipelines.compile import compile_release

        output = Path(output)
        compile_release(self.settings, output=output, kubernetes_manifest=kubernetes_manifest)
        return output

    def submit(
        self,
        *,
        endpoint: Endpoint | None = None,
        parameters: Sequence[str] = (),
        run_name: str = "",
        wait: bool = False,
        timeout: float | None = None,
    ) -> Submitted:
        """Compile the project and begin a run of it on Kubeflow.

        Args:
            endpoint: Where Kubeflow is (`penstock.pipelines.kubeflow_client.Endpoint`); None:
                KF_PIPELINES_ENDPOINT, in the project's namespace.
            parameters: `name=value`, instead of the values that the project gives.
            run_name: Default: the project's name and the time.
            wait: Follow the run to its end.
            timeout: Seconds to wait at most; the run goes on after that.

        Raises:
            UsageError: If the table or the store is on this machine, where no cluster reads it.
            ServiceError: If Kubeflow does not take it, or the time is up.
        """
        from rich.console import Console

        from penstock.pipelines.kubeflow_client import Endpoint, Patience, connect
        from penstock.pipelines.submit import package, submit
        from penstock.pipelines.watch import Watch

        endpoint = endpoint or Endpoint(namespace=self.settings.cluster.namespace)
        made = package(self.settings, parameters=parameters)
        client = connect(endpoint)
        begun = submit(self.settings, made, client=client, endpoint=endpoint, name=run_name)
        if not wait:
            return Submitted(begun.run, begun.link)
        patience = Patience(endpoint, seconds=300.0, notice=print)
        watch = Watch(begun, client=client, patience=patience)
        outcome, reason = watch.to_end(Console(file=sys.stdout), timeout=timeout)
        return Submitted(begun.run, begun.link, outcome, reason)

    def stop(self) -> list[str]:
        """Stop the servers that runs of this project left on this machine, and name them."""
        from penstock.rollout.backends.local.services import stop

        return list(stop(self._located.home))

    def __repr__(self) -> str:
        return f"Project({self.name!r}, folder={str(self.folder)!r})"

    def _repr_html_(self) -> str:
        settings = self.settings
        rules = settings.gate.describe()
        return drawn(
            self.name,
            f"Predicts {settings.target} from {settings.source.uri}.",
            facts=[("Folder", str(self.folder)), *(("Set", text) for text in self._given)],
            headers=["Rule of the gate", "Requirement"],
            rows=[[name, words] for name, words in rules.items()],
        )
