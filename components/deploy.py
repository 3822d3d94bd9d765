"""Component `deploy`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="deploy", cached=False)
def deploy(
    registration: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    holdout: dsl.Input[dsl.Dataset],
    deployment: dsl.Output[dsl.Artifact],
    rollout: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    options: dict = {},
    policy: dict = {},
    tracking_uri: str = "",
    pipeline_run: str = "",
    notify: dict = {},
) -> bool:
    """Release a registered version by a canary beside the champion, or roll it back.

    Returns whether it was promoted, to branch on. The candidate's answers to holdout rows must
    equal the model's own; then it gets mirrored requests (shadow), then a growing share of
    them (steps), and is promoted or rolled back by what was measured. The alias `champion` moves
    last, if at all. The first version of a service has nothing to be compared with and takes all
    traffic. A step that was killed continues where it stopped when it is run again.

    Args:
        registration: What `register` wrote.
        decision: The decision that approves the version.
        holdout: The part that `split` held out: rows for the first check, and for replayed traffic
            where the plan has it.
        options: Fields of the project file's `deployment` section; `canary` is the plan.
        policy: Fields of the `gate` section: must be the ones that the decision was made on. Empty
            takes what is kept with the version. The approvals that it requires must be given.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run: the same run continues, another starts again.
        notify: Fields of `notify`: who gets to know that a step waits; `hub` gets the outcome.
        deployment: Deployment record (JSON): version, address, the version it took over from.
            Absent unless the version was promoted.
        rollout: Rollout record (JSON): every transition with its evidence.
        report: The same as a timeline for people.

    Fails when:
        The decision does not approve this version, is not the one that was registered, or compared
        with another champion than there is; a required approval is missing; its files were changed,
        the port is in use, another controller drives the service, or it cannot be repaired.
    """
    from pathlib import Path

    from penstock.hub.process import tell_hub_apart
    from penstock.records.decision import Decision
    from penstock.records.release import Registration
    from penstock.records.rollout import Order
    from penstock.rollout.home import local_home
    from penstock.rollout.notices import teller
    from penstock.rollout.release import Outputs
    from penstock.rollout.release import deploy as release
    from penstock.rollout.run_ended import note_release, noting_error

    registered = Registration.read(Path(registration.path))
    decided = Decision.read(Path(decision.path))
    with noting_error("deploy", registered, run=pipeline_run, tracking_uri=tracking_uri):
        result = release(
            Order(
                registration=registered,
                decision=decided,
                deployment=options,
                holdout=holdout.path,
                tracking_uri=tracking_uri,
                policy=policy,
            ),
            home=local_home(),
            run=pipeline_run,
            outputs=Outputs(
                deployment=Path(deployment.path),
                rollout=Path(rollout.path),
                report=Path(report.path),
            ),
            tell=teller(
                notify,
                of="hold",
                registration=registered,
                run=pipeline_run,
                tracking_uri=tracking_uri,
            ),
        )
    note_release(result, decided, run=pipeline_run, tracking_uri=tracking_uri)
    tell_hub_apart(registered.name, notify=notify, tracking_uri=tracking_uri)
    return result.outcome == "promoted"
