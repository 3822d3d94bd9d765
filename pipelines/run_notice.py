"""What people are notified of when a run that somebody started here has ended: why, and where."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from penstock.notification import Message, deliver
from penstock.pipelines.located import Located
from penstock.pipelines.outputs import INDEX
from penstock.pipelines.run_result import RunResult
from penstock.records.run_end import IN_WORDS


def notify_of(result: RunResult, *, found: Located, summary: Path | None = None) -> None:
    """Notify people, and Kubeflow Hub, of how a run ended; print what could not be delivered.

    The run's own step leaves it to this process, which knows the cause.

    Args:
        result: How it ended.
        found: The project.
        summary: A file that the ending was written into: whoever asked for it, as a trigger does,
            notifies people, and nobody is notified here.
    """
    problems = _tell_hub(found)
    if summary is None:
        problems += deliver(
            _message(result, service=found.project.name),
            to=found.project.notify,
            folder=found.folder,
        )
    for problem in problems:
        print(f"  Note: {problem}")


def _tell_hub(found: Located) -> list[str]:
    """Return why the Hub was not told: of the steps that try it too, only the log says so."""
    project = found.project
    if not project.notify.hub.address:
        return []
    from penstock.hub.sync import tell_hub

    notify = project.notify.model_dump(mode="json")
    problem = tell_hub(project.name, notify=notify, tracking_uri=found.tracking_uri)
    return [problem] if problem else []


def _message(result: RunResult, *, service: str) -> Message:
    link = (result.home / INDEX).resolve().as_uri()
    version = result.registration.version if result.registration else None
    return Message(
        identity=f"{service}-{result.folder.name}-{result.outcome}",
        event=result.outcome,
        service=service,
        text=f"{service}: {IN_WORDS[result.outcome]}. {result.reason.rstrip('.')}. Page: {link}",
        time=datetime.now(UTC),
        data={"run": result.folder.name, "version": version},
        origin="release",
    )
