"""Component `decide`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train")
def decide(
    evaluation: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    name: str = "model",
    policy: dict = {},
    operations: dsl.Input[dsl.Artifact] = None,
) -> bool:
    """Apply the gate's policy to an evaluation.

    Returns whether the candidate is approved, to branch on. The branch is a convenience:
    `register` and `deploy` take the decision itself and refuse a model that it does not approve.

    Args:
        evaluation: What `evaluate` wrote.
        name: The project's name, for the report.
        policy: Fields of the project file's `gate` section, the same that `evaluate` was given.
            By default the candidate must beat the majority class or mean, and must not be worse
            than the champion by more than a margin.
        operations: What `probe_serving` measured, where the policy needs it.
        decision: Decision record (JSON): digests of model, holdout, evaluation and policy, and
            each rule with its value, bound and verdict in words.
        metrics: How many rules passed, failed (and with which severity) or did not apply, and what
            each measured, for Kubeflow's run comparison.
        report: The same for a reviewer.

    Fails when:
        The policy has an unknown field or a value out of range, or is not the one that the
        evaluation was made for.
    """
    import os
    from pathlib import Path

    from penstock.gate.decision import run
    from penstock.gate.policy import Policy

    result = run(
        Path(evaluation.path),
        policy=Policy.parse(policy, where="gate"),
        name=name,
        output=Path(decision.path),
        report=Path(report.path),
        operations=Path(operations.path) if operations else None,
        image=os.environ.get("PENSTOCK_IMAGE", ""),
    )
    for figure, value in result.figures().items():
        metrics.log_metric(figure, value)
    return result.approved
