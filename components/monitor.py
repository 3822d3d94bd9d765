"""Component `monitor`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="monitor", cached=False)
def monitor(
    name: str,
    verdict: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    deployment: dict = {},
    monitoring: dict = {},
    notify: dict = {},
    tracking_uri: str = "",
) -> str:
    """Look once at a service on KServe: at what it was asked, what it answered and how it runs.

    Returns the verdict to branch on: healthy, watch, drifted, degraded or blind. Rows and labels
    that its model servers shipped since the last look are compared with what the version learned
    from and with its performance on the holdout. No row leaves the step: what is kept, below
    `monitoring.state`, are counts and figures. One look at a time; one that was killed is gone on
    with by the next, and no row counts twice.

    Args:
        name: The project: its registered model and its service.
        deployment: Fields of the project file's `deployment` section: where it serves, and where
            its servers ship captured rows to.
        monitoring: Fields of the `monitoring` section; `state` says where it keeps what it knows.
        notify: Fields of the `notify` section: who is notified of a change.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        verdict: Verdict record (JSON): kind, reasons, columns, since when, what was done.
        report: The same as a page for people.

    Fails when:
        Another process watches the service, or the cluster, the registry or a store does not
        answer. Whatever else cannot be seen makes the verdict blind.
    """
    from pathlib import Path

    from penstock.monitoring.cluster.monitor import look_once, watcher_of

    watcher = watcher_of(
        name,
        deployment=deployment,
        monitoring=monitoring,
        notify=notify,
        tracking_uri=tracking_uri,
    )
    return look_once(watcher, verdict=Path(verdict.path), report=Path(report.path))
