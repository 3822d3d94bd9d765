"""Component `approve`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="deploy", cached=False)
def approve(
    registration: dsl.Input[dsl.Artifact],
    outcome: dsl.Output[dsl.Artifact],
    policy: dict = {},
    tracking_uri: str = "",
    pipeline_run: str = "",
    notify: dict = {},
) -> bool:
    """Wait until people approve or reject a registered version, or until the deadline.

    Returns whether it is approved, to branch on; at once if the policy requires no approval. The
    branch is a convenience: `deploy` checks the approvals itself. The log shows how to approve:
    `penstock approve models:/NAME/VERSION --reason TEXT`. The deadline starts when this run first
    requests approval, so a restarted step keeps it.

    Args:
        registration: What `register` wrote.
        policy: Fields of the project file's `gate` section; `approval` says who must approve.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run.
        notify: Fields of the section `notify`: who is notified that it waits; `hub` gets the
            version.
        outcome: Approval outcome record (JSON): whether, why, and every approval and rejection.

    Fails when:
        The registry does not answer at the start, or its version is not the registered one; or the
        key that PENSTOCK_SIGNING_KEY names, by which the approvals are signed, cannot be used.
    """
    from pathlib import Path

    from penstock.gate.policy import Policy
    from penstock.hub.process import tell_hub_apart
    from penstock.records.release import Registration
    from penstock.registry.approval_wait import wait
    from penstock.rollout.notices import teller
    from penstock.rollout.run_ended import noting_error

    registered = Registration.read(Path(registration.path))
    tell_hub_apart(registered.name, notify=notify, tracking_uri=tracking_uri)
    with noting_error("approve", registered, run=pipeline_run, tracking_uri=tracking_uri):
        found = wait(
            registered,
            spec=Policy.parse(policy, where="gate").approval,
            tracking_uri=tracking_uri,
            run=pipeline_run,
            tell=teller(
                notify,
                of="approval",
                registration=registered,
                run=pipeline_run,
                tracking_uri=tracking_uri,
            ),
        )
    found.write(Path(outcome.path))
    return found.approved
