"""Component `notify`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data", cached=False)
def notify(
    status: dsl.PipelineTaskFinalStatus,
    name: str,
    options: dict = {},  # noqa: B006
) -> None:
    """Post how a run ended; made to be a pipeline's exit handler.

    A message that cannot be delivered is reported in the task's log and never changes how the run
    ended.

    Args:
        status: The run's final status, which Kubeflow gives to an exit handler.
        name: The project's name.
        options: Fields of the section `notify`: its webhook, or that of PENSTOCK_WEBHOOK, and its
            file get the message.

    Fails when:
        Never.
    """
    from penstock.common.progress import say
    from penstock.notification import NotifySpec, outcome_text, post

    places = NotifySpec.parse(options, where="notify")
    text = outcome_text(name=name, state=status.state, error=status.error_message or "")
    for problem in post(text, state=status.state, webhook=places.webhook, file=places.file):
        print(problem)  # noqa: T201
    say(text)
