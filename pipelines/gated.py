"""What every candidate goes through: measured, judged, approved, released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from penstock.components.approve import approve
from penstock.components.decide import decide
from penstock.components.deploy import deploy
from penstock.components.evaluate import evaluate
from penstock.components.explain import explain
from penstock.components.fail import fail
from penstock.components.notify import notify as tell_of_the_end
from penstock.components.probe_serving import probe_serving
from penstock.components.register import register
from penstock.pipelines.outcomes import ENDINGS
from penstock.pipelines.task_settings import light, network, renamed, sized


def end(task: str, /, *, evidence: object, **told: Any) -> Any:
    """End the run as failed, by a task that says how it ended; return the task.

    Args:
        task: Its name, one of `ENDINGS`.
        evidence: The record that says why.
        **told: Inputs of `fail` that let the exit handler know why; none, where another does.
    """
    ending = ENDINGS[task]
    ended = renamed(fail, task)(evidence=evidence, reason=f"{ending.sentence}.", **told)
    return light(ended, ending.title)


@dataclass(frozen=True)
class Notifying:
    """A run whose exit handler notifies people of how it ended, and why.

    Attributes:
        name: The project.
        tracking_uri: The MLflow store, where the steps that end a run write why.
    """

    name: Any
    tracking_uri: Any

    def exit_handler(self, notify: Any) -> Any:
        """Return the task that notifies people; `notify` has fields of that section."""
        return light(tell_of_the_end(options=notify, **self._run), "Notify")

    def end(self, task: str, /, *, evidence: object) -> Any:
        """End the run as `gated.end` does, by a task that writes down why."""
        return end(task, evidence=evidence, **self._run)

    @property
    def _run(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "tracking_uri": self.tracking_uri,
            "pipeline_run": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        }


@dataclass(frozen=True)
class ReleaseSettings:
    """What a candidate is released by: parameters of a pipeline, which go on from task to task.

    Attributes:
        name: The project: its registered model, its MLflow experiment and its service.
        evaluation: How the holdout is measured: section `evaluation`.
        policy: The rules of the gate: section `gate`.
        deployment: Where and how it is rolled out: section `deployment`.
        card: The owner's part of the model card: section `card`.
        requested_by: Who starts the run.
        tracking_uri: The MLflow store.
        notify: Who is notified that it waits for people: section `notify`.
        end: What ends a run that is not released.
    """

    name: Any
    evaluation: Any
    policy: Any
    deployment: Any
    card: Any
    requested_by: Any
    tracking_uri: Any
    notify: Any
    end: Callable[..., Any]


def gated(
    *, model: Any, baselines: Any, holdout: Any, evidence: dict[str, Any], settings: ReleaseSettings
) -> None:
    """Add the tasks from the evaluation to the canary to the pipeline that is being made.

    Args:
        model: The candidate.
        baselines: What it has to beat.
        holdout: The rows that it is measured on.
        evidence: Further inputs of `register`, kept with the version.
        settings: What it is released by.
    """
    name, policy, tracking_uri = settings.name, settings.policy, settings.tracking_uri
    measured = network(
        sized(
            evaluate(
                holdout=holdout,
                model=model,
                baselines=baselines,
                name=name,
                options=settings.evaluation,
                policy=policy,
                tracking_uri=tracking_uri,
            ),
            "Evaluate",
            limit="4Gi",
        )
    )
    probed = sized(
        probe_serving(model=model, holdout=holdout, policy=policy),
        "Probe serving",
        limit="4Gi",
    )
    decided = light(
        decide(
            evaluation=measured.outputs["evaluation"],
            operations=probed.outputs["operations"],
            name=name,
            policy=policy,
        ),
        "Decide",
    )
    with dsl.If(decided.outputs["Output"] == True, name="gate approves"):  # noqa: E712
        explained = sized(explain(model=model, holdout=holdout), "Explain", limit="4Gi")
        registered = network(
            sized(
                register(
                    model=model,
                    decision=decided.outputs["decision"],
                    evaluation=measured.outputs["evaluation"],
                    operations=probed.outputs["operations"],
                    explanation=explained.outputs["explanation"],
                    baseline=measured.outputs["baseline"],
                    **evidence,
                    holdout=holdout,
                    name=name,
                    policy=policy,
                    card=settings.card,
                    requested_by=settings.requested_by,
                    tracking_uri=tracking_uri,
                    pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                ),
                "Register",
                limit="2Gi",
            )
        )
        approval = network(
            # It may wait for days, so it must not reserve much of a node.
            sized(
                approve(
                    registration=registered.outputs["registration"],
                    policy=policy,
                    tracking_uri=tracking_uri,
                    pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                    notify=settings.notify,
                ),
                "Approve",
                limit="1Gi",
                memory="128Mi",
                cpu="50m",
            )
        )
        with dsl.If(approval.outputs["Output"] == True, name="approved"):  # noqa: E712
            deployed = network(
                light(
                    deploy(
                        registration=registered.outputs["registration"],
                        decision=decided.outputs["decision"],
                        holdout=holdout,
                        options=settings.deployment,
                        policy=policy,
                        tracking_uri=tracking_uri,
                        pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                        notify=settings.notify,
                    ),
                    "Deploy",
                )
            )
            with dsl.If(deployed.outputs["Output"] == False, name="rolled back"):  # noqa: E712
                settings.end("rolled-back", evidence=deployed.outputs["rollout"])
        with dsl.If(approval.outputs["Output"] == False, name="not approved"):  # noqa: E712
            settings.end("not-approved", evidence=approval.outputs["outcome"])
    with dsl.If(decided.outputs["Output"] == False, name="gate refuses"):  # noqa: E712
        settings.end("gate-refused", evidence=decided.outputs["decision"])
