"""Notifying people: what waits for them, how a run ended, what the monitor found; with reasons.

Nothing is raised where a message is lost: it must not change what it is about. It is said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from penstock.common import files
from penstock.common.secrets import resolve
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.records.approval import ApprovalOutcome
from penstock.records.decision import Decision
from penstock.records.monitoring import Verdict
from penstock.records.quality import Validation
from penstock.records.rollout import Rollout
from penstock.records.run_end import Outcome
from penstock.records.spec import Spec
from penstock.redaction import keep, learn, redact

if TYPE_CHECKING:
    import smtplib
    import ssl

_TIMEOUT = 10.0
_CLOUDEVENT = "application/cloudevents+json"


class EmailSpec(Spec):
    """Mail by SMTP of what is sent as CloudEvents; nothing is sent while `to` is empty."""

    to: tuple[str, ...] = Field(default=(), description="Addresses that the mail goes to")
    sender: str = Field(default="penstock@localhost", description="Address that it comes from")
    server: str = Field(default="localhost", description="Host of the SMTP server")
    port: int = Field(default=587, ge=1, le=65535, description="Port of the SMTP server")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="starttls: encrypted once connected; tls: from the start (port 465, often); "
        "none: neither, and no password is sent",
    )
    user: str = Field(default="", description="Who logs in there; empty: nobody does")
    password: str = Field(default="", description="Its password, by reference")

    @model_validator(mode="after")
    def _keeps_the_password(self) -> EmailSpec:
        if self.password and self.security == "none":
            raise ValueError("a password is not sent over a connection that is not encrypted")
        return self


class HubSpec(Spec):
    """Kubeflow Hub, the model registry, which gets every version where `address` is given."""

    address: str = Field(
        default="", description="Of its REST service, like http://model-registry-service:8080"
    )
    token: str = Field(default="", description="Bearer token of who writes there, by reference")


class NotifySpec(Spec):
    """Who is notified: what waits for people, how a run ended, what the monitor found."""

    webhook: str = Field(
        default="",
        description="An address that takes a Slack-compatible body, by reference: it is a secret. "
        "The environment variable PENSTOCK_WEBHOOK does the same",
    )
    file: str = Field(
        default="", description="A file to which one line of JSON is appended, relative to this one"
    )
    cloudevents: str = Field(
        default="",
        description="An address that takes CloudEvents in JSON, by reference where it is a secret: "
        "what the monitor found, what an experiment or a trigger came to, what waits for people; "
        "one event each",
    )
    email: EmailSpec = EmailSpec()
    hub: HubSpec = HubSpec()


@dataclass(frozen=True)
class Message:
    """What the monitor, a trigger or an experiment tells people.

    Attributes:
        identity: The same each time that its delivery is tried.
        event: Of the monitor: drifted, degraded, blind, recovered, suggested, harm, returned,
            recalled, retrained, refused, failed or waiting. Of a trigger: released, refused,
            rolled_back, failed or waiting. Of a release: the same. Of an experiment: promoted,
            kept, harm or broken_off.
        service: What it is about.
        text: Cause and link, in sentences.
        time: When it was found.
        data: What machines read, JSON-ready.
        origin: What it comes from: `monitor`, `trigger`, `release` or `experiment`.
    """

    identity: str
    event: str
    service: str
    text: str
    time: datetime
    data: Mapping[str, Any]
    origin: str = "monitor"


def deliver(
    message: Message, *, to: NotifySpec, folder: Path, file_alone: bool = False
) -> list[str]:
    """Deliver a message to every place that is named.

    Args:
        message: The message.
        to: The places; of the webhook also the environment's `PENSTOCK_WEBHOOK`.
        folder: What the path of a file is relative to.
        file_alone: Only the file gets it: a run on a cluster has notified the others itself.

    Returns:
        What could not be delivered, one sentence each, without secrets.
    """
    named = str(folder / to.file) if to.file else ""
    if file_alone:
        return _written(message.text, state=message.event, file=named)
    problems = post(message.text, state=message.event, webhook=to.webhook, file=named)
    if to.cloudevents:
        problems += _tried(
            "the receiver of events",
            lambda: _send(
                _address(to.cloudevents, where="notify.cloudevents"),
                cloudevent(message),
                media=_CLOUDEVENT,
            ),
        )
    if to.email.to:
        problems += _tried(f"the mail server {to.email.server}", lambda: _mail(message, to.email))
    return problems


def cloudevent(message: Message) -> dict[str, Any]:
    """Return a message as a CloudEvent (version 1.0, structured mode, JSON)."""
    return {
        "specversion": "1.0",
        "id": message.identity,
        "source": f"/penstock/{message.origin}/{message.service}",
        "type": f"io.penstock.{message.origin}.{message.event}",
        "subject": message.service,
        "time": message.time.isoformat(),
        "datacontenttype": "application/json",
        "data": {"text": redact(message.text), **message.data},
    }


def _tried(whom: str, deliver: Callable[[], None]) -> list[str]:
    from http.client import HTTPException

    try:
        deliver()
    # What smtplib raises is an OSError.
    except (OSError, ValueError, HTTPException, PenstockError) as error:
        return [redact(f"{whom[0].upper()}{whom[1:]} did not accept it: {error}")]
    return []


def _address(text: str, *, where: str) -> str:
    address = resolve(text, where=where)
    learn(address, whole=True)
    return address


def _mail(message: Message, spec: EmailSpec) -> None:
    import ssl
    from email.message import EmailMessage

    mail = EmailMessage()
    mail["Subject"] = f"{message.service}: {message.event}"
    mail["From"], mail["To"] = spec.sender, ", ".join(spec.to)
    mail["Date"] = message.time
    mail["Message-ID"] = f"<{message.identity}@penstock>"
    mail.set_content(redact(message.text))
    context = ssl.create_default_context()
    with _connected(spec, context) as server:
        if spec.security == "starttls":
            server.starttls(context=context)
        if spec.user:
            password = resolve(spec.password, where="notify.email.password")
            keep(password)
            server.login(resolve(spec.user, where="notify.email.user"), password)
        refused = server.send_message(mail)
    if refused:
        # Where some are taken and some are not, nothing is raised.
        raise ServiceError(f"it does not take mail for {', '.join(sorted(refused))}")


def _connected(spec: EmailSpec, context: ssl.SSLContext) -> smtplib.SMTP:
    import smtplib

    if spec.security == "tls":
        return smtplib.SMTP_SSL(spec.server, spec.port, timeout=_TIMEOUT, context=context)
    return smtplib.SMTP(spec.server, spec.port, timeout=_TIMEOUT)


def post(text: str, *, state: str, webhook: str = "", file: str = "") -> list[str]:
    """Deliver a text to a webhook and a file.

    Args:
        text: The message.
        state: What happened, in a word; put beside the message in the file.
        webhook: An http(s) address that takes a Slack-compatible JSON body, or a reference to it;
            empty means the environment's `PENSTOCK_WEBHOOK`. No message repeats more of it than
            its host.
        file: A file to which one line of JSON is appended.

    Returns:
        What could not be delivered, one sentence each. Nothing is raised: a message that is lost
        must not change what it is about.
    """
    address = webhook or os.environ.get("PENSTOCK_WEBHOOK", "")
    text = redact(text)
    problems = []
    if address:
        problem = _posted(address, text)
        if problem:
            problems.append(problem)
    return problems + _written(text, state=state, file=file)


def _written(text: str, *, state: str, file: str) -> list[str]:
    if not file:
        return []
    try:
        _append(Path(file), {"state": state, "text": redact(text)})
    except OSError as error:
        return [f"{file} could not be written: {error.strerror}"]
    return []


class Cause(NamedTuple):
    """What a record says of how a run ended.

    Attributes:
        outcome: What the run came to.
        reason: Why, in sentences.
        version: The registered version, if the record is of one.
    """

    outcome: Outcome
    reason: str
    version: int | None = None


def cause_of(record: Path) -> Cause:
    """Return why a run ended, from the record of the step that ended it.

    Args:
        record: The file of a decision, a validation, a rollout, an approval's outcome or a verdict.

    Raises:
        InputError: If it is none of these.
    """
    try:
        kind = json.loads(record.read_text(encoding="utf-8")).get("record")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"not a record: {error}", where=str(record)) from error
    if kind == f"penstock/{Decision.KIND}":
        return Cause("refused", Decision.read(record).grounds())
    if kind == f"penstock/{Validation.KIND}":
        return Cause("refused", Validation.read(record).reason())
    if kind == f"penstock/{Rollout.KIND}":
        rollout = Rollout.read(record)
        return Cause("rolled_back", rollout.reason, rollout.candidate)
    if kind == f"penstock/{ApprovalOutcome.KIND}":
        approval = ApprovalOutcome.read(record)
        return Cause("refused", approval.reason(), approval.version)
    if kind == f"penstock/{Verdict.KIND}":
        return Cause("failed", Verdict.read(record).reason())
    raise InputError(
        f"a decision, validation or rollout record is needed, this is {kind!r}", where=str(record)
    )


def reason_of(record: Path) -> str:
    """Return the reason of a decision, validation, rollout, approval or verdict, from its record.

    Raises:
        InputError: If it is none of these.
    """
    return cause_of(record).reason


def _posted(address: str, text: str) -> str:
    """Post a message; return what went wrong, without the address's secrets, or nothing."""
    from http.client import HTTPException

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


def _send(address: str, body: dict[str, Any], *, media: str = "application/json") -> None:
    import urllib.request
    from urllib.error import HTTPError

    class StayHere(urllib.request.HTTPRedirectHandler):
        """Followed, a POST becomes a GET without its body, and the message is lost in silence."""

        def redirect_request(self, *_: Any) -> None:
            return None

    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("only http and https are webhooks")
    request = urllib.request.Request(  # noqa: S310
        address,
        data=json.dumps(body).encode(),
        headers={"Content-Type": media},
        method="POST",
    )
    try:
        urllib.request.build_opener(StayHere).open(request, timeout=_TIMEOUT).close()
    except HTTPError as error:
        if 300 <= error.code < 400:
            raise ServiceError(
                f"it responded with {error.code}, a redirect, which is not followed",
                remedy="Name the address that it leads to.",
            ) from error
        raise


def _append(path: Path, line: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(files.canonical_json(line) + "\n")
