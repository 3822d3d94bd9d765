"""What people are notified of while a release waits for them: its approval, a canary that holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from penstock import tracking
from penstock.common import progress
from penstock.errors import PenstockError
from penstock.notification import Message, NotifySpec, deliver
from penstock.records.release import Registration
from penstock.records.run_end import Place
from penstock.rollout.home import local_home

Tell = Callable[[str], bool]
"""Notifies people of what it is waited for, in sentences; False: nobody has it yet, ask again."""


def nobody(_: str) -> bool:
    """Notify nobody; nobody is to be notified."""
    return True


_PAGE = "index.html"
"""The project's page, in its home."""

_FIRST_PAUSE = 60.0
_LONGEST_PAUSE = 3600.0
"""Seconds before a message that no place has accepted is sent again; each time twice as many."""


def teller(
    notify: Mapping[str, Any],
    *,
    of: Literal["approval", "hold"],
    registration: Registration,
    run: str,
    tracking_uri: str,
) -> Tell:
    """Return what notifies people that a release waits for them.

    A message that cannot be delivered is said and changes nothing. The same wait has the same
    identity, however often it is sent. Where no place has accepted it, whoever asks again before
    a minute has passed (then two, four, at most an hour) gets False at once: a place that does not
    respond must not keep anybody from watching a canary.

    Args:
        notify: Fields of the section `notify`; a path in it is absolute, or of this folder.
        of: What it waits for.
        registration: The version.
        run: Names the pipeline run.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If the fields are not the section's.
    """
    places = NotifySpec.parse(dict(notify), where="notify")
    name, version = registration.name, registration.version
    pause = _FIRST_PAUSE
    due = time.monotonic()

    def tell(text: str) -> bool:
        nonlocal pause, due
        if time.monotonic() < due:
            return False
        link = page_of(name, version, tracking_uri=tracking_uri)
        message = Message(
            identity="-".join(filter(None, (name, str(version), run, "waiting", of))),
            event="waiting",
            service=name,
            text=f"{name}: {text}" + (f" Page: {link}" if link else ""),
            time=datetime.now(UTC),
            data={"for": of, "version": version, "run": run},
            origin="release",
        )
        accepted: list[Place] = []
        problems = deliver(message, to=places, folder=Path(), taken=accepted.append)
        for problem in problems:
            progress.say(problem)
        if accepted or not problems:
            return True
        due, pause = time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE)
        return False

    return tell


def page_of(name: str, version: int | None, *, tracking_uri: str) -> str:
    """Return where people see a version: its page in MLflow, or the project's; empty: nowhere.

    Args:
        name: The project.
        version: The version; None: its model is shown, with all versions.
        tracking_uri: The MLflow store.
    """
    try:
        uri = urlsplit(tracking.resolve_uri(tracking_uri))
    except PenstockError:
        return ""
    if uri.scheme in ("http", "https"):
        # Without the user and the password that the address may hold.
        server = f"{uri.scheme}://{uri.netloc.rpartition('@')[2]}{uri.path.rstrip('/')}"
        place = f"/versions/{version}" if version is not None else ""
        return f"{server}/#/models/{name}{place}"
    page = local_home() / _PAGE
    return page.resolve().as_uri() if page.is_file() else ""
