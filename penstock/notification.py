"""Notifying people: what waits for them, how a run ended, what the monitor found; with reasons.

Nothing is raised where a message is lost: it must not change what it is about. It is said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from penstock.common import files
from penstock.common.deadline import within
from penstock.common.secrets import resolve
from penstock.errors import PenstockError, ServiceError
from penstock.records.run_end import PLACES, Place
from penstock.records.spec import Spec
from penstock.redaction import keep, learn, redact

if TYPE_CHECKING:
    import smtplib
    import ssl

_TIMEOUT = 10.0
_LIMIT = 30.0
"""Seconds without a byte, and in all."""

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
    kubeflow: str = Field(
        default="",
        description="The address of Kubeflow's pages as people reach them: what tells of a run's "
        "end on Kubeflow then has a link to the run",
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


def named(to: NotifySpec) -> tuple[Place, ...]:
    """Return the places that are named, in the order in which they get a message.

    Example:
        >>> named(NotifySpec(file="told.jsonl", cloudevents="https://events.example"))
        ('file', 'cloudevents')
    """
    given: dict[Place, object] = {
        "webhook": _webhook(to),
        "file": to.file,
        "cloudevents": to.cloudevents,
        "email": to.email.to,
    }
    return tuple(place for place, name in given.items() if name)


def deliver(
    message: Message,
    *,
    to: NotifySpec,
    folder: Path,
    places: Collection[Place] = PLACES,
    taken: Callable[[Place], None] = lambda _: None,
    limit: float = _LIMIT,
) -> list[str]:
    """Deliver a message to every place that is named.

    Args:
        message: The message.
        to: The places; of the webhook also the environment's `PENSTOCK_WEBHOOK`.
        folder: What the path of a file is relative to.
        places: Of those that are named only these get it: others have it already.
        taken: Called with each place that has taken it, before the next one gets it.
        limit: Seconds that one place may take in all.

    Returns:
        What could not be delivered, one sentence each, without secrets. Nothing is raised: a
        message that is lost must not change what it is about.
    """
    from http.client import HTTPException

    ways: dict[Place, Callable[[], None]] = {
        "webhook": lambda: _post(message, to),
        "file": lambda: _append(folder / to.file, message),
        "cloudevents": lambda: _send_event(message, to),
        "email": lambda: _mail(message, to.email),
    }
    problems = []
    for place in named(to):
        if place not in places:
            continue
        try:
            within(limit, ways[place])
        # What smtplib raises is an OSError.
        except (OSError, ValueError, HTTPException, PenstockError) as error:
            problems.append(redact(_lost(place, error, to=to, folder=folder)))
        else:
            taken(place)
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


def _lost(place: Place, error: Exception, *, to: NotifySpec, folder: Path) -> str:
    """Return which place did not take a message and why."""
    if place == "file":
        why = error.strerror if isinstance(error, OSError) else None
        return f"{folder / to.file} could not be written: {why or error}"
    whom = {
        "webhook": f"webhook at {_host(to)}",
        "cloudevents": "receiver of events",
        "email": f"mail server {to.email.server}",
    }
    return f"The {whom[place]} did not accept it: {error}"


def _webhook(to: NotifySpec) -> str:
    return to.webhook or os.environ.get("PENSTOCK_WEBHOOK", "")


def _host(to: NotifySpec) -> str:
    try:
        address = resolve(_webhook(to), where="notify.webhook")
    except PenstockError:
        return "the given address"
    return urlsplit(address).netloc.rpartition("@")[2] or "the given address"


def _address(text: str, *, where: str) -> str:
    address = resolve(text, where=where)
    learn(address, whole=True)
    return address


def _mail(message: Message, spec: EmailSpec) -> None:
    import ssl
    from email.message import EmailMessage

    mail = EmailMessage()
    mail["Subject"] = f"{message.service}: {message.event}"
    try:
        mail["From"], mail["To"] = spec.sender, ", ".join(spec.to)
    except LookupError as error:
        # As Python's parser ends on `ann@`.
        raise ValueError("an address of notify.email cannot be read") from error
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


def _post(message: Message, to: NotifySpec) -> None:
    address = _address(_webhook(to), where="notify.webhook")
    _send(address, {"text": redact(message.text)})


def _send_event(message: Message, to: NotifySpec) -> None:
    address = _address(to.cloudevents, where="notify.cloudevents")
    _send(address, cloudevent(message), media=_CLOUDEVENT)


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


def _append(path: Path, message: Message) -> None:
    line = {"state": message.event, "text": redact(message.text)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(files.canonical_json(line) + "\n")
