"""Ask a server real questions, and compare its answers with the model's own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.errors import ServiceError
from penstock.records.release import Deployment
from penstock.rollout.router import Address, Release
from penstock.rollout.traffic import predict_url
from penstock.serving.answer import Answer, answer_of
from penstock.serving.questions import as_instances, columns_of, difference, sample_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.model import LoadedModel
    from penstock.onnx_model import OnnxModel

    Scorer: TypeAlias = LoadedModel | OnnxModel

AGENT = "penstock-smoke"


def scorer_of(release: Release) -> Scorer:
    """Load a release in this process, in the form that its server answers with.

    Raises:
        IntegrityError: If its files are not the ones that were registered.
    """
    if release.export:
        from penstock import onnx_model

        return onnx_model.load(
            release.folder, expected_digest=release.model, export_digest=release.export
        )
    from penstock import model

    return model.load(release.folder, expected_digest=release.model)


def check(
    address: Address,
    *,
    service: str,
    scorer: Scorer,
    sample: pa.Table,
    log: Callable[[], str] = lambda: "",
) -> int:
    """Send rows to a server and compare its answers with the model's; return how many.

    Labels must be equal, probabilities equal within 1e-9.

    Args:
        address: The server that is asked, for example `Address("http://127.0.0.1:40001")`.
        service: The model's name in requests.
        scorer: The same model in this process.
        sample: Raw rows, as `sample_rows` returned them.
        log: Returns the end of the server's log, which is quoted when it fails.

    Raises:
        ServiceError: Naming the first row whose answer differs, or what the server said instead.
    """
    names = [column.name for column in scorer.record.columns]
    scores = scorer.scores_of(columns_of(sample, scorer.record.columns))
    expected = answer_of(scorer.record, labels=scorer.labels_of(scores), scores=scores)
    answered = _ask(address, service=service, instances=as_instances(sample.select(names)), log=log)
    got = Answer(labels=answered["predictions"], probabilities=answered.get("probabilities"))
    rows: int = sample.num_rows
    for row in range(rows):
        found = difference(got, expected, row)
        if found:
            raise ServiceError(
                f"the server's answer differs from the model's own on row {row + 1} of "
                f"{rows}: {found}",
                where=address.url,
                remedy="Server and release step must have the same libraries; compare versions.",
            )
    return rows


def curl_line(deployment: Deployment, *, holdout: Path) -> str:
    """Return a line that, pasted into a shell, asks the deployment about one holdout row.

    Raises:
        ServiceError: If the deployment does not answer.
    """
    import httpx

    address = f"{deployment.url}/v2/models/{deployment.service}"
    try:
        response = httpx.Client(trust_env=False, timeout=30).get(address).raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceError(f"the service does not answer: {error}", where=address) from error
    names = [tensor["name"] for tensor in response.json()["inputs"]]
    instances = as_instances(sample_rows(holdout, rows=1).select(names))
    body = json.dumps({"instances": instances}, ensure_ascii=False)
    return f"curl -s {predict_url(deployment.url, deployment.service)} -d {shlex.quote(body)}"


def _ask(
    address: Address,
    *,
    service: str,
    instances: list[dict[str, Any]],
    log: Callable[[], str],
) -> dict[str, Any]:
    import httpx

    headers = {"user-agent": AGENT, **address.headers}
    with httpx.Client(trust_env=False, timeout=60, headers=headers) as client:
        try:
            response = client.post(predict_url(address.url, service), json={"instances": instances})
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the server does not answer: {error}.{_ending(log)}", where=address.url
            ) from error
    if response.status_code != 200:
        raise ServiceError(
            f"the server answered {response.status_code} to holdout rows: {response.text:.300}."
            f"{_ending(log)}",
            where=address.url,
        )
    answered: dict[str, Any] = response.json()
    return answered


def _ending(log: Callable[[], str]) -> str:
    ending = log()
    return f" Its log ends: {ending}" if ending else ""
