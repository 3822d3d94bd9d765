"""Component `approve`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="deploy", cached=False)
def approve(
    registration: dsl.Input[dsl.Artifact],
    outcome: dsl.Output[dsl.Artifact],
    policy: dict = {},  # noqa: B006
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> bool:
    """Wait until people have approved a registered version, rejected it, or the time is over.

    Returns whether it is approved, to branch on; at once where the policy asks nobody. The branch
    is a convenience: `deploy` looks at what people said itself. How to approve is in the log:
    `penstock approve models:/NAME/VERSION --reason TEXT`. The deadline counts from the first ask
    of this run, so a step that was killed goes on with the same one.

    Args:
        registration: What `register` wrote.
        policy: Fields of the project file's `gate` section; `approval` says who must say yes.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run.
        outcome: Approval outcome record (JSON): whether, why, and every word that was said.

    Fails when:
        The registry does not answer at the start, or its version is not the registered one.
    """
    from pathlib import Path

    from penstock.gate.policy import Policy
    from penstock.records.release import Registration
    from penstock.registry.waiting import wait

    found = wait(
        Registration.read(Path(registration.path)),
        spec=Policy.parse(policy, where="gate").approval,
        tracking_uri=tracking_uri,
        run=pipeline_run,
    )
    found.write(Path(outcome.path))
    return found.approved
