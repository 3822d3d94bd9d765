"""Requests to a served model of the simulated transactions, and their labels. Nothing is real."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.errors import ServiceError
from penstock.examples import transactions

_ROWS_A_REQUEST = 100
_LABELS = 1_000
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Sent:
    """What was answered.

    Attributes:
        requests: How many requests.
        labels: The true label of each of their rows, as `label` sends them.
    """

    requests: int
    labels: tuple[dict[str, Any], ...]


def send(url: str, *, name: str, rows: int = 10_000, seed: int = 21, drift: float = 0.0) -> Sent:
    """Send simulated transactions to a served model.

    Args:
        url: Where the service answers.
        name: The model's name.
        rows: Number of transactions, 100 to a request.
        seed: Seed of the simulation.
        drift: From 0 to 1: how far amounts have risen and fraud has moved to cash machines, for
            all of these rows alike. At 0 they are as those that the example is trained on.

    Raises:
        InputError: If an argument is out of range.
        ServiceError: If the service does not answer, or refuses the rows.
    """
    frame = transactions.transactions(rows=rows, seed=seed, drift=drift, drifted=True)
    frame = frame.sample(frac=1, random_state=seed)
    truths = frame.pop(transactions.TARGET).astype(bool).tolist()
    instances = json.loads(frame.to_json(orient="records", date_format="iso"))
    labels: list[dict[str, Any]] = []
    starts = range(0, rows, _ROWS_A_REQUEST)
    for start in starts:
        identity = f"example-{secrets.token_hex(8)}"
        part = instances[start : start + _ROWS_A_REQUEST]
        _post(f"{url}/v1/models/{name}:predict", {"instances": part}, identity=identity)
        labels += [
            {"request_id": identity, "row": row, "label": truths[start + row]}
            for row in range(len(part))
        ]
    return Sent(requests=len(starts), labels=tuple(labels))


def label(url: str, *, name: str, labels: Sequence[dict[str, Any]]) -> int:
    """Send true labels; return how many found their row.

    Raises:
        ServiceError: If the service does not answer, or refuses them.
    """
    joined = 0
    for start in range(0, len(labels), _LABELS):
        body = {"labels": list(labels[start : start + _LABELS])}
        joined += int(_post(f"{url}/v1/models/{name}:feedback", body).get("joined", 0))
    return joined


def _post(url: str, body: dict[str, Any], *, identity: str = "") -> dict[str, Any]:
    import urllib.request

    headers = {"Content-Type": "application/json"}
    if identity:
        headers["x-request-id"] = identity
    request = urllib.request.Request(  # noqa: S310
        url, data=json.dumps(body).encode(), headers=headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError as error:
        detail = ""
        if hasattr(error, "read"):
            detail = f": {error.read().decode(errors='replace'):.300}"
        raise ServiceError(
            f"the served model did not take the rows: {error}{detail}",
            where=url,
            remedy="Serve the example first: penstock run; penstock status shows what serves.",
        ) from error
