"""Component `probe_serving`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train", cached=False)
def probe_serving(
    model: dsl.Input[dsl.Model],
    holdout: dsl.Input[dsl.Dataset],
    operations: dsl.Output[dsl.Artifact],
    policy: dict = {},
) -> None:
    """Measure a candidate in the model server: latency, size, and whether it answers the same.

    The server that a release starts is started with the candidate, sent single holdout rows over
    HTTP, and ended. Where the policy has no rule on operations nothing is started.

    Args:
        model: The candidate.
        holdout: The part that `split` held out: the rows that are sent.
        policy: Fields of the project file's `gate` section, the same that `evaluate` was given.
        operations: Operations record (JSON) for `decide`: seconds of one row's answer (median and
            99th percentile), bytes that the server loads, seconds until it answered, rows whose
            answers differ from the model's own.

    Fails when:
        The model or the holdout cannot be read, or the server does not start or answer.
    """
    from pathlib import Path

    from penstock.gate.policy import Policy
    from penstock.serving.probe import probe

    record = probe(
        Path(model.path),
        holdout=Path(holdout.path),
        policy=Policy.parse(policy, where="gate"),
        output=Path(operations.path),
    )
    operations.metadata.update(asked=record.asked)
