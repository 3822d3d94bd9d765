"""The secrets in a project file: found in every field, refused in what is compiled, lent here.

A compiled pipeline lies in Kubeflow's database, in its object store and in every run's page, so it
must hold none. On this machine a password in the project file works: a run hands its steps a
reference, and the environment holds what it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.cluster.settings import ClusterSpec, SecretSpec
from penstock.common.secrets import (
    NO_RELEASE,
    PREFIX,
    READ_IN,
    WEBHOOKS,
    Reference,
    is_named_secret,
    is_reference,
    references,
    resolve,
    texts,
)
from penstock.errors import InputError
from penstock.project import Project
from penstock.redaction import learn
from penstock.redaction.forms import WEBHOOK, in_text

_READ_IN = (*READ_IN, "uri")
"""With the parameter of the pipeline that is called otherwise than the field."""

_TRACKING = ("train", "evaluate", "register", "approve", "deploy")

STEPS: Mapping[str, tuple[str, ...]] = {
    "source": ("ingest",),
    "tracking_uri": (*_TRACKING, "fail", "notify"),
    "notify": ("approve", "deploy", "notify"),
    "deployment": ("deploy",),
}
"""The steps of a release that read a section's references."""

WATCHING: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("tracking_uri", "notify", "deployment"), ("monitor",)
)
"""The same of the monitor's pipeline."""

SCORING: Mapping[str, tuple[str, ...]] = dict.fromkeys(("tracking_uri", "scoring"), ("score",))
"""The same of the pipeline that scores."""
CLOSED_LOOP: Mapping[str, tuple[str, ...]] = {
    "tracking_uri": (*_TRACKING, "fetch-version", "monitor", "intervene", "settle"),
    "notify": ("approve", "deploy", "monitor", "intervene"),
    "deployment": ("deploy", "monitor", "intervene", "export-rows", "record-refusal", "settle"),
}
"""The same where it recalls and trains again by itself."""


def steps_watching(project: Project) -> Mapping[str, tuple[str, ...]]:
    """Return the steps of a project's monitor that read a section's references."""
    return CLOSED_LOOP if project.monitoring.retrain == "automatic" else WATCHING


@dataclass(frozen=True)
class Clear:
    """A secret that a field holds as it is.

    Args:
        field: Like `source.uri`.
        what: What it is: `a password`.
        instead: What to write, with a reference in its place.
        names: The environment variables that `instead` refers to, with what they stand for.
    """

    field: str
    what: str
    instead: str
    names: Mapping[str, str]

    def sentence(self) -> str:
        """Return what is wrong and what to write instead, without the secret."""
        section, _, name = self.field.rpartition(".")
        if section == "cluster.environment":
            return (
                f"{self.field} holds {self.what} in clear: take it out, and let cluster.secrets "
                f"set {name}"
            )
        if self.field not in _READ_IN:
            return (
                f"{self.field} holds {self.what} in clear, and no reference is read there: take it "
                "out"
            )
        return f"{self.field} holds {self.what} in clear: write {self.instead}"


def clear_secrets(value: Any) -> list[Clear]:
    """Return every secret in clear that a project or a value of it holds, by its form or its name.

    Args:
        value: A project, or plain values as a pipeline's parameters have them.
    """
    return [found for field, text in texts(value) if (found := clear_in(field, text))]


def clear_in(field: str, text: str) -> Clear | None:
    """Return the secret in one field, or None.

    Args:
        field: Like `source.uri`; of a webhook the address is a secret as a whole.
        text: Its value.
    """
    variable = f"PENSTOCK_{re.sub(r'[^A-Za-z0-9]+', '_', field).strip('_').upper()}"
    if field in WEBHOOKS and not references(text) and text.rpartition("://")[2].partition("/")[2]:
        names = {"PENSTOCK_WEBHOOK": text}
        return Clear(field, "the address of a webhook", "${env:PENSTOCK_WEBHOOK}", names)
    if is_named_secret(field) and text and not is_reference(text):
        return Clear(field, "a secret", f"${{env:{variable}}}", {variable: text})
    found = [one for one in in_text(text, whole=True) if one.what]
    if field in WEBHOOKS and references(text):
        found = [one for one in found if one.what != WEBHOOK]
    parts: list[str] = []
    names, at = {}, 0
    for one in found:
        if one.start < at:
            continue
        name = f"{variable}_{'TOKEN' if 'token' in one.what.lower() else 'PASSWORD'}"
        name += "" if name not in names else f"_{len(names) + 1}"
        names[name] = text[one.start : one.end]
        parts += [text[at : one.start], f"${{env:{name}}}"]
        at = one.end
    if not found:
        return None
    what = " and ".join(dict.fromkeys(one.what for one in found))
    return Clear(field, what, "".join([*parts, text[at:]]), names)


def refuse_clear(value: Any, *, where: str) -> None:
    """Refuse a secret in clear in what would be compiled or sent.

    Args:
        value: A project, or parameters by name.
        where: What to call it in the error.

    Raises:
        InputError: If there is one: each field, what it holds, and how to refer to it instead.
    """
    found = clear_secrets(value)
    if not found:
        return
    names = sorted({name for one in found if one.field in _READ_IN for name in one.names})
    keys = ["KEY", *(f"KEY{number}" for number in range(2, len(names) + 1))]
    variables = ", ".join(f"{key}: {name}" for key, name in zip(keys, names, strict=False))
    remedy = (
        "Whoever can read the pipeline could read it there."
        if not names
        else "Whoever can read the pipeline could read it there. Put it into a Secret and let the "
        f"steps have it: cluster.secrets: [{{name: SECRET, environment: {{{variables}}}}}]; or "
        "refer to the Secret itself: ${secret:SECRET/KEY}. docs/secrets.md says how."
    )
    raise InputError("; ".join(one.sentence() for one in found), where=where, remedy=remedy)


def lent(project: Project) -> tuple[Project, dict[str, str]]:
    """Return the project with references in place of secrets, and the variables that they need.

    Args:
        project: The project; a field that may hold a reference may hold the secret itself.

    Raises:
        InputError: If another field holds a secret: it would be written into records and pages.
    """
    found = [one for one in clear_secrets(project) if not one.field.startswith("cluster.")]
    stray = [one for one in found if one.field not in READ_IN]
    if stray:
        raise InputError(
            "; ".join(one.sentence() for one in stray),
            where=project.name,
            remedy="A run writes this field into records and pages.",
        )
    raw = project.model_dump(mode="json", exclude_unset=True)
    environment = {}
    for one in found:
        *sections, name = one.field.split(".")
        inner = raw
        for section in sections:
            inner = inner[section]
        variable = PREFIX + one.field.replace(".", "_").upper()
        environment[variable] = inner[name]
        learn(inner[name], whole=one.field in WEBHOOKS)
        inner[name] = str(Reference("env", variable))
    return (Project.parse(raw, where=project.name) if found else project), environment


def resolve_all(project: Project) -> None:
    """Look up every reference that a run on this machine will need, before it begins.

    So nothing fails for want of one after hours, and this process knows what to keep out of logs.

    Args:
        project: The project.

    Raises:
        InputError: If one leads nowhere.
    """
    for field, text in texts(project):
        if (
            field in READ_IN
            and field not in NO_RELEASE
            and not (field.startswith("deployment.kserve") and project.deployment.router == "local")
        ):
            learn(resolve(text, where=field), whole=field in WEBHOOKS)


def with_secrets(
    project: Project, *, steps_of: Mapping[str, tuple[str, ...]] = STEPS
) -> ClusterSpec:
    """Return the cluster's settings with the Secrets that `${secret:NAME/KEY}` refers to.

    Args:
        project: The project. Each step gets the keys of the fields that it reads, and no others.
        steps_of: The steps of the pipeline that read a section's references.

    Raises:
        InputError: If two references would fill the same variable.
    """
    given: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
    filled: dict[str, Reference] = {}
    for field, reference in _references(project, steps_of=steps_of):
        if reference.kind != "secret":
            continue
        variable = reference.variable
        if filled.setdefault(variable, reference) != reference:
            raise InputError(
                f"{filled[variable]} and {reference} would both be the variable {variable}",
                where=field,
                remedy="Name a Secret or a key otherwise, or use cluster.secrets and ${env:NAME}.",
            )
        name, key = reference.secret
        steps = steps_of[field.partition(".")[0]]
        given.setdefault((name, steps), {})[key] = variable
    added = tuple(
        SecretSpec(name=name, environment=keys, steps=steps)
        for (name, steps), keys in given.items()
    )
    return project.cluster.model_copy(update={"secrets": (*project.cluster.secrets, *added)})


def unsupplied(project: Project, *, steps_of: Mapping[str, tuple[str, ...]] = STEPS) -> list[str]:
    """Return what a compiled project refers to and nothing in its `cluster` section supplies."""
    cluster = project.cluster
    supplied = {*cluster.environment}
    for secret in cluster.secrets:
        supplied |= set(secret.environment.values())
    mounts = tuple(f"{s.mount_path.rstrip('/')}/" for s in cluster.secrets if s.mount_path)
    missing = []
    for field, reference in _references(project, steps_of=steps_of):
        if reference.kind == "env" and reference.name not in supplied:
            missing.append(f"{field}: nothing in cluster.secrets sets {reference.name}")
        if reference.kind == "file" and not (mounts and reference.name.startswith(mounts)):
            missing.append(f"{field}: nothing in cluster.secrets mounts {reference.name}")
    return missing


def _references(
    project: Project, *, steps_of: Mapping[str, tuple[str, ...]] = STEPS
) -> Iterator[tuple[str, Reference]]:
    for field, text in texts(project):
        if field in READ_IN and field.partition(".")[0] in steps_of:
            for reference in references(text):
                yield field, reference
