"""Component `notify`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data", cached=False)
def notify(
    status: dsl.PipelineTaskFinalStatus, name: str, webhook: str = "", file: str = ""
) -> None:
    """Post how a run ended; made to be a pipeline's exit handler.

    A message that cannot be delivered is reported in the task's log and never changes how the run
    ended.

    Args:
        status: The run's final status, which Kubeflow gives to an exit handler.
        name: The project's name.
        webhook: Address that takes a Slack-compatible JSON body, or a reference to it. Empty takes
            PENSTOCK_WEBHOOK.
        file: File to which one line of JSON is appended.

    Fails when:
        Never.
    """
    from penstock.common.progress import say
    from penstock.notification import outcome_text, post

    text = outcome_text(name=name, state=status.state, error=status.error_message or "")
    for problem in post(text, state=status.state, webhook=webhook, file=file):
        print(problem)  # noqa: T201
    say(text)
