"""Ask a server real questions, and compare its answers with the model's own."""

from __future__ import annotations

import json
import shlex
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.errors import ServiceError
from penstock.records.release import Deployment
from penstock.rollout.access import AccessSpec, curl_options, headers_of, is_open, trusted
from penstock.rollout.router import Address, Release
from penstock.rollout.traffic import predict_url
from penstock.serving.parity_check import as_instances, columns_of, difference, sample_rows
from penstock.serving.prediction import Prediction, prediction_of

if TYPE_CHECKING:
    from penstock.model import LoadedModel
    from penstock.model.onnx import OnnxModel

    Scorer: TypeAlias = LoadedModel | OnnxModel

AGENT = "penstock-smoke"

_OPEN = AccessSpec()
_TIMEOUT = 60.0
_LARGEST = 2**25


def scorer_of(release: Release) -> Scorer:
    """Load a release in this process, in the form that its server answers with.

    Raises:
        IntegrityError: If its files are not the ones that were registered.
    """
    if release.export:
        from penstock.model import onnx as onnx_model

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
    sample: Mapping[str, Sequence[Any]],
    log: Callable[[], str] = lambda: "",
) -> int:
    """Send rows to a server and compare its answers with the model's; return how many.

    Labels must be equal, probabilities equal within 1e-9.

    Args:
        address: The server, for example `Address("http://127.0.0.1:40001")`.
        service: The model's name in requests.
        scorer: The same model in this process.
        sample: Raw rows, as `sample_rows` returned them.
        log: Returns the end of the server's log, which is quoted when it fails.

    Raises:
        ServiceError: Naming the first row whose answer differs, or the error instead, by
            whoever answers there: any answer that is not one of a model server is a failure.
    """
    names = [column.name for column in scorer.record.columns]
    scores = scorer.scores_of(columns_of(sample, scorer.record.columns))
    expected = prediction_of(scorer.record, labels=scorer.labels_of(scores), scores=scores)
    instances = as_instances(sample, names)
    answered = _ask(address, service=service, instances=instances, log=log)
    rows = len(instances)
    got = _answer_in(answered, rows=rows, like=expected, where=address.url)
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


def curl_line(deployment: Deployment, *, holdout: Path, access: AccessSpec = _OPEN) -> str:
    """Return a line that, pasted into a shell, sends the deployment one holdout row.

    Args:
        deployment: What serves.
        holdout: Where the row is from.
        access: How requests get in; a token is named in the line as the variable that holds it.

    Raises:
        ServiceError: If the deployment does not answer.
    """
    import httpx

    address = f"{deployment.url}/v2/models/{deployment.service}"
    try:
        verify = _verified(address, access.ca_file)
        with httpx.Client(trust_env=False, timeout=30, verify=verify) as client:
            response = client.get(address, headers=headers_of(access)).raise_for_status()
        names = [str(tensor["name"]) for tensor in response.json()["inputs"]]
    except httpx.HTTPError as error:
        raise ServiceError(f"the service does not answer: {error}", where=address) from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _foreign(f"it says {response.text:.200}", where=address) from error
    instances = as_instances(sample_rows(holdout, rows=1), names)
    body = json.dumps({"instances": instances}, ensure_ascii=False)
    url = predict_url(deployment.url, deployment.service)
    return f"curl -s {curl_options(access)}{url} -d {shlex.quote(body)}"


def _ask(
    address: Address,
    *,
    service: str,
    instances: list[dict[str, Any]],
    log: Callable[[], str],
) -> Any:
    import httpx

    headers = {"user-agent": AGENT, "accept-encoding": "identity", **address.headers}
    body = json.dumps({"instances": instances}).encode()
    verify = _verified(address.url, address.ca_file)
    with httpx.Client(trust_env=False, timeout=_TIMEOUT, headers=headers, verify=verify) as client:
        try:
            with client.stream(
                "POST",
                predict_url(address.url, service),
                content=body,
                headers={"content-type": "application/json"},
            ) as response:
                answer = _read(response.iter_raw(), where=address.url)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the server does not answer: {error}.{_ending(log)}", where=address.url
            ) from error
    text = answer.decode(errors="replace")
    if response.status_code != 200:
        raise ServiceError(
            f"the server answered {response.status_code} to holdout rows: {text:.300}."
            f"{_ending(log)}",
            where=address.url,
        )
    try:
        return json.loads(answer, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _foreign(f"it is no JSON: {text:.200}", where=address.url) from error


def _verified(url: str, ca_file: str) -> ssl.SSLContext | bool:
    """Return what a server's certificate is checked by; nothing is read where it shows none."""
    return False if is_open(url) else trusted(ca_file)


def _read(blocks: Iterator[bytes], *, where: str) -> bytes:
    """Return a body that neither comes without end nor trickles in for ever."""
    deadline = time.monotonic() + _TIMEOUT
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > _LARGEST:
            raise _foreign(f"it is larger than {_LARGEST:,} bytes", where=where)
        if time.monotonic() > deadline:
            raise ServiceError(f"the server does not answer within {_TIMEOUT:g} s", where=where)
    return bytes(body)


def _answer_in(answered: Any, *, rows: int, like: Prediction, where: str) -> Prediction:
    """Return the answer that a v1 response holds, seen to be one before any row is compared."""
    found = answered if isinstance(answered, dict) else {}
    labels, probabilities = found.get("predictions"), found.get("probabilities")
    if not isinstance(labels, list) or len(labels) != rows:
        raise _foreign(f"it has not {rows} predictions: {answered!r:.200}", where=where)
    if like.probabilities is None:
        if not all(map(_is_number, labels)):
            raise _foreign(f"its predictions are no numbers: {labels!r:.200}", where=where)
        return Prediction(labels=labels, probabilities=None)
    if not isinstance(probabilities, list) or len(probabilities) != rows:
        raise _foreign(f"it has not {rows} rows of probabilities: {answered!r:.200}", where=where)
    for row in probabilities:
        if not (isinstance(row, list) and all(map(_is_number, row))):
            raise _foreign(f"its probabilities are no numbers: {row!r:.200}", where=where)
    return Prediction(labels=labels, probabilities=probabilities)


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return whole and abs(value) <= sys.float_info.max


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _foreign(what: str, *, where: str) -> ServiceError:
    return ServiceError(
        f"what answers is not the model server: {what}",
        where=where,
        remedy="Is it another server's address, or a proxy's page?",
    )


def _ending(log: Callable[[], str]) -> str:
    ending = log()
    return f" Its log ends: {ending}" if ending else ""
