"""Notifying people of a run's outcome: by a webhook or a file, with the reason."""

from __future__ import annotations

import json
import os
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from penstock.common import files
from penstock.common.secrets import resolve
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.records.approval import ApprovalOutcome
from penstock.records.decision import Decision
from penstock.records.quality import Validation
from penstock.records.rollout import Rollout
from penstock.redaction import learn, redact

_TIMEOUT = 10.0


def outcome_text(*, name: str, state: str, error: str = "") -> str:
    """Return the outcome in one or two sentences.

    Args:
        name: The project's name.
        state: Kubeflow's final state: SUCCEEDED, FAILED or CANCELLED.
        error: Kubeflow's message, where it has one.
    """
    if state == "SUCCEEDED":
        return f"{name}: released. The run succeeded."
    if state == "FAILED":
        detail = f" {error.rstrip('.')}." if error else ""
        return f"{name}: not released. The run failed, or a gate or the canary refused it.{detail}"
    return f"{name}: not released. The run ended as {state or 'unknown'}."


def post(text: str, *, state: str, webhook: str = "", file: str = "") -> list[str]:
    """Deliver an outcome to every place that is named.

    Args:
        text: The message.
        state: Kubeflow's final state, put beside the message.
        webhook: An http(s) address that takes a Slack-compatible JSON body, or a reference to it;
            empty means the environment's `PENSTOCK_WEBHOOK`. No message repeats more of it than
            its host.
        file: A file to which one line of JSON is appended.

    Returns:
        What could not be delivered, one sentence each. Nothing is raised: a message that is lost
        must not change how the run ended.
    """
    address = webhook or os.environ.get("PENSTOCK_WEBHOOK", "")
    text = redact(text)
    problems = []
    if address:
        problem = _posted(address, text)
        if problem:
            problems.append(problem)
    if file:
        try:
            _append(Path(file), {"state": state, "text": text})
        except OSError as error:
            problems.append(f"{file} could not be written: {error.strerror}")
    return problems


def reason_of(record: Path) -> str:
    """Return the reason of a decision, validation, rollout or approval, from its record.

    Args:
        record: The file of a decision, a validation, a rollout or an approval's outcome.

    Raises:
        InputError: If it is none of these.
    """
    try:
        kind = json.loads(record.read_text(encoding="utf-8")).get("record")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"not a record: {error}", where=str(record)) from error
    if kind == f"penstock/{Decision.KIND}":
        return Decision.read(record).grounds()
    if kind == f"penstock/{Validation.KIND}":
        return Validation.read(record).reason()
    if kind == f"penstock/{Rollout.KIND}":
        return Rollout.read(record).reason
    if kind == f"penstock/{ApprovalOutcome.KIND}":
        return ApprovalOutcome.read(record).reason()
    raise InputError(
        f"a decision, validation or rollout record is needed, this is {kind!r}", where=str(record)
    )


def _posted(address: str, text: str) -> str:
    """Post a message; return what went wrong, without the address's secrets, or nothing."""
    host = ""
    try:
        address = resolve(address, where="notify.webhook")
        learn(address, whole=True)
        host = urlsplit(address).netloc.rpartition("@")[2]
        _send(address, {"text": text})
    except (OSError, ValueError, HTTPException, PenstockError) as error:
        problem = f"The webhook at {host or 'the given address'} did not accept it: {error}"
        return redact(problem)
    return ""


def _send(address: str, body: dict[str, str]) -> None:
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("only http and https are webhooks")
    request = urllib.request.Request(  # noqa: S310
        address,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
        if answer.status >= 300:
            raise ServiceError(f"it responded with {answer.status}")


def _append(path: Path, line: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(files.canonical_json(line) + "\n")
