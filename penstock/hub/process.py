"""Telling the Hub from a step, in a process of its own.

A step that waits for people for days holds little memory, and MLflow's library is not little. What
takes too long can be ended, and nothing that goes wrong there reaches the step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from penstock.common import progress
from penstock.notification import NotifySpec
from penstock.redaction import redact

_LONGEST = 180.0
"""Seconds after which it is ended: a release waits for it."""


def tell_hub_apart(name: str, *, notify: Mapping[str, Any], tracking_uri: str) -> None:
    """Write what the registry has of a model into the Hub, if one is named; never fail for it.

    Args:
        name: The registered model.
        notify: Fields of the section `notify`.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If the fields are not the section's.

    Example:
        >>> tell_hub_apart("loans", notify={"file": "told.jsonl"}, tracking_uri="")
    """
    if not NotifySpec.parse(dict(notify), where="notify").hub.address:
        return
    asked = json.dumps({"name": name, "notify": notify, "tracking_uri": tracking_uri})
    command = [sys.executable, "-P", "-m", "penstock.hub"]
    try:
        done = subprocess.run(  # noqa: S603
            command, input=asked, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        progress.log(redact(f"Kubeflow Hub was not told of {name}: {error}"))
        return
    for line in (done.stdout + done.stderr).splitlines():
        progress.log(redact(line))
