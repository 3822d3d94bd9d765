"""Component `deploy`."""

from kfp import dsl

from penstock.components._image import image


@dsl.component(base_image=image("deploy"), install_kfp_package=False)
def deploy(
    registration: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    holdout: dsl.Input[dsl.Dataset],
    deployment: dsl.Output[dsl.Artifact],
    options: dict = {},  # noqa: B006
    tracking_uri: str = "",
) -> None:
    """Serve a registered version and, once it answers as it must, make it the champion.

    A new server is started and probed, answers to holdout rows must equal the model's own, and
    only then does traffic move to it, without a failed request, and the alias `champion` with it.

    Args:
        registration: What `register` wrote.
        decision: The decision that approves the version.
        holdout: Rows for the smoke test.
        options: Fields of the project file's `deployment` section.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        deployment: Deployment record (JSON): version, address, the version it took over from.

    Fails when:
        The decision does not approve this version, its files were altered, the port is taken, or
        the new server is not ready or answers wrongly. What served before goes on serving.
    """
    from pathlib import Path

    from penstock.records.decision import Decision
    from penstock.records.release import Registration
    from penstock.rollout.home import local_home
    from penstock.rollout.release import deploy as release
    from penstock.rollout.spec import DeploymentSpec

    release(
        Registration.read(Path(registration.path)),
        decision=Decision.read(Path(decision.path)),
        holdout=Path(holdout.path),
        spec=DeploymentSpec.parse(options, where="deployment"),
        home=local_home(),
        tracking_uri=tracking_uri,
        output=Path(deployment.path),
    )
