"""Secrets by reference: a setting names where a secret is, and the step that needs it looks there.

    source:
      uri: postgresql://loans:${env:LOANS_PASSWORD}@db.internal/loans

Three references are known: `${env:NAME}`, an environment variable; `${file:/path}`, a file; and
`${secret:NAME/KEY}`, a key of a Kubernetes Secret, which a compiled pipeline gives its steps as an
environment variable. A text is resolved where it is used, in the process that uses it, and what it
resolves to is never written; `penstock.redaction` keeps it out of messages and logs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from penstock.errors import InputError
from penstock.redaction import keep, learn, redact_address
from penstock.redaction.forms import REFERENCE, is_secret_name

READ_IN = (
    "source.uri",
    "source.query",
    "scoring.source.uri",
    "scoring.source.query",
    "scoring.destination",
    "tracking_uri",
    "notify.webhook",
    "notify.cloudevents",
    "notify.email.user",
    "notify.email.password",
    "notify.hub.address",
    "notify.hub.token",
    "trigger.token",
    "deployment.kserve.prometheus.url",
    "deployment.kserve.access.token",
)
"""The fields of the project file in which references are read."""

NO_RELEASE = ("trigger.token", "scoring.source.uri", "scoring.source.query", "scoring.destination")
"""Those of them that no step of a run or of the monitor reads: a trigger does, or a scoring."""

_NAMED = (
    "notify.email.password",
    "notify.hub.token",
    "trigger.token",
    "deployment.kserve.access.token",
)
"""Fields that hold a secret and nothing else."""

WEBHOOKS = ("notify.webhook",)
"""Fields whose address is a secret as a whole: whoever knows it may post to it."""

PREFIX = "PENSTOCK_SECRET_"
"""How the environment variables begin that Penstock itself fills with secrets."""

_LARGEST = 1 << 16
_SHORTEST = 8
"""Characters of a variable's value that may be a secret: many hold `true` or a number."""

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEY = re.compile(r"(?P<secret>[a-z0-9][a-z0-9.-]*)/(?P<key>[\w.-]+)", re.ASCII)


@dataclass(frozen=True)
class Reference:
    """Where a secret is.

    Args:
        kind: `env`, `file` or `secret`.
        name: A variable, an absolute path, or a Secret's name and key with a slash between.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"${{{self.kind}:{self.name}}}"

    @property
    def variable(self) -> str:
        """The environment variable that it is read from; empty for a file."""
        if self.kind != "secret":
            return self.name if self.kind == "env" else ""
        return PREFIX + re.sub(r"\W", "_", self.name.replace("/", "__")).upper()

    @property
    def secret(self) -> tuple[str, str]:
        """Name and key of the Kubernetes Secret of a reference of kind `secret`."""
        name, _, key = self.name.partition("/")
        return name, key


def references(text: str, *, where: str = "") -> list[Reference]:
    """Return the references in a text, in their order.

    Args:
        text: A setting's value.
        where: The setting, for an error.

    Raises:
        InputError: If one is not written as it must be.
    """
    return [_reference(found["kind"], found["name"], where) for found in REFERENCE.finditer(text)]


def refers(text: str) -> bool:
    """Return whether a text holds a reference."""
    return bool(REFERENCE.search(text))


def is_reference(text: str) -> bool:
    """Return whether a text is one reference and nothing else."""
    return bool(REFERENCE.fullmatch(text))


def resolve(text: str, *, where: str = "", environment: Mapping[str, str] = os.environ) -> str:
    """Return a text with the secrets that it refers to; one without references as it is.

    In the user's part of an address and in its query a secret is percent-encoded: a password may
    hold any character. Elsewhere it is put in as it is.

    Args:
        text: For example `https://${env:USER}:${file:/run/secrets/mlflow}@mlflow.example.org`.
        where: The setting, for an error.
        environment: The environment variables.

    Raises:
        InputError: If a variable is not set or empty, or a file cannot be read.

    Example:
        >>> address = resolve("mysql://me:${env:PW}@db/loans", environment={"PW": "p@ss"})
        >>> address == "mysql://me:p%40ss@db/loans"
        True

        Printed, it is shown without what is secret in it:

        >>> print(address)
        mysql://***@db/loans
    """
    parts, at = [], 0
    for match in REFERENCE.finditer(text):
        value = _value(_reference(match["kind"], match["name"], where), where, environment)
        if match[0] != text:
            # What is a whole address is no secret as a whole: `learn` finds what in it is.
            keep(value)
        before, after = text[: match.start()], text[match.end() :]
        encoded = quote(value, safe="") if _is_encoded(before, after) else value
        parts += [text[at : match.start()], encoded]
        at = match.end()
    resolved = "".join([*parts, text[at:]])
    learn(resolved)
    return resolved


def shown(address: str, *, where: str = "") -> str:
    """Return an address as it may be written down: resolved, without what is secret in it.

    Args:
        address: With or without references.
        where: The setting, for an error.

    Raises:
        InputError: As `resolve`.
    """
    return redact_address(resolve(address, where=where))


def texts(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text that a project or a part of it holds, with its field.

    Names in a mapping are texts too, of the field that holds the mapping.
    """
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from texts(getattr(value, name), f"{at}.{name}" if at else name)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield at, str(name)
            yield from texts(inner, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from texts(inner, f"{at}[{number}]")


def learn_all(value: Any) -> None:
    """Keep every secret that a project or plain values of one hold in clear.

    Args:
        value: What `texts` takes.
    """
    for field, text in texts(value):
        if is_named_secret(field) and not is_reference(text):
            keep(text)
        learn(text, whole=field in WEBHOOKS)


def is_named_secret(field: str) -> bool:
    """Return whether a field is called what a secret is: a variable, a header, an option.

    Names of columns are settings' names too, so only some mappings are checked.

    Args:
        field: Like `cluster.environment.DB_PASSWORD`.
    """
    if field in _NAMED:
        return True
    section, _, name = field.rpartition(".")
    if section == "cluster.environment" or section.endswith(("headers", "storage_options")):
        return is_secret_name(name) and not name.lower().endswith(("_file", "_path", "-file"))
    return False


_NAME_FILES = ("PENSTOCK_SIGNING_KEY", "PENSTOCK_VERIFY_KEY")
"""Variables that hold the path of a key, which a message must name, and never the key."""


def keep_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Take out of all output what variables like MLFLOW_TRACKING_PASSWORD hold, by their names.

    Args:
        environment: The environment variables.
    """
    for name, value in environment.items():
        if name in _NAME_FILES or not is_secret_name(name) or len(value) < _SHORTEST:
            continue
        if "://" in value:
            learn(value)
        elif not Path(value).exists():  # It may also name the file of a key.
            keep(value)


def _reference(kind: str, name: str, where: str) -> Reference:
    forms = {
        "env": (_VARIABLE, "the name of an environment variable, like ${env:DB_PASSWORD}"),
        "file": (re.compile(r"[/~].+"), "an absolute path, like ${file:/run/secrets/db}"),
        "secret": (_KEY, "a Secret's name and a key of it, like ${secret:database/password}"),
    }
    pattern, words = forms[kind]
    if not pattern.fullmatch(name):
        raise InputError(
            f"${{{kind}:{name}}} is not a reference to a secret",
            where=where,
            remedy=f"Write {words}.",
        )
    return Reference(kind, name)


def _value(reference: Reference, where: str, environment: Mapping[str, str]) -> str:
    if reference.kind == "file":
        value = _content(Path(reference.name).expanduser(), where)
    else:
        value = environment.get(reference.variable, "")
    if not value:
        named = reference.variable and f"environment variable {reference.variable}"
        raise InputError(
            f"the {named or f'file {reference.name}'} {'is not set' if named else 'is empty'}",
            where=where or str(reference),
            remedy=_remedy(reference),
        )
    return value


def _remedy(reference: Reference) -> str:
    if reference.kind == "file":
        return "Write the secret into it."
    if reference.kind == "env":
        return (
            f"Set it, for example: export {reference.variable}=...; for a step on Kubeflow name it "
            "in cluster.secrets."
        )
    name, key = reference.secret
    return (
        f"On Kubeflow penstock compile gives it to the steps that read {reference}, from the key "
        f"{key} of the Secret {name}. On this machine set it: export {reference.variable}=..."
    )


def _content(path: Path, where: str) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(
            f"the file of a secret cannot be read: {reason}",
            where=f"{where}: {path}" if where else str(path),
            remedy="Correct the path, or let this user read it.",
        ) from error
    if len(text) > _LARGEST:
        raise InputError(
            f"the file of a secret holds more than {_LARGEST:,} characters", where=str(path)
        )
    return text.rstrip("\r\n")


def _is_encoded(before: str, after: str) -> bool:
    """Return whether a place in an address is that of a user, a password or a query's value."""
    _, mark, authority = before.rpartition("://")
    if not mark:
        return False
    if "?" in authority:
        return True
    return "/" not in authority and "@" in re.split(r"[/?#]", after, maxsplit=1)[0]
