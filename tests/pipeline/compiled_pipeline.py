"""A compiled pipeline as text, for tests that run it."""

from __future__ import annotations

import yaml

from penstock.pipelines.compile import LOADER


def without_retries(compiled: str) -> str:
    """Return a compiled pipeline whose tasks fail at once: kfp waits 15 s before the third try."""
    documents = list(yaml.load_all(compiled, Loader=LOADER))
    spec = documents[0]
    tasks = [
        task
        for component in (spec["root"], *spec["components"].values())
        for task in component.get("dag", {}).get("tasks", {}).values()
    ]
    retried = [task for task in tasks if task.pop("retryPolicy", None)]
    assert retried
    return yaml.safe_dump_all(documents)
