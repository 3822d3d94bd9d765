"""Feedback: labels are sent to every version, and the losses that they return are added up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from multidict import CIMultiDict

from penstock.rollout.proxy.requests import ProxyRequest
from penstock.rollout.proxy.routing_table import Arm, RoutingTable
from penstock.rollout.proxy.upstream import NoAnswerError, Reply, UnreachableError, Upstream
from penstock.serving import request_body
from penstock.serving.feedback_entry import check_value, request_and_row
from penstock.serving.request_body import Share
from penstock.serving.request_errors import RequestError

_log = logging.getLogger("penstock.proxy")

MAX_BODY = 4 << 20
"""Bytes in the body of a request that brings labels, as the model server takes them."""

_SUMS = ("requests", "loss", "squared")
_NOTHING = dict.fromkeys(_SUMS, 0)


@dataclass(frozen=True)
class _Found:
    """The response of one arm to some labels.

    Attributes:
        arm: The arm.
        paired: Whether they are of requests that stable version and candidate both answered.
        response: Its body.
        knows: Whether it knows any of them.
    """

    arm: Arm
    paired: bool
    response: dict[str, Any]
    knows: bool = False


@dataclass(frozen=True)
class Given:
    """What some feedback holds: labels, which the servers know, and values of an experiment.

    Attributes:
        body: The whole of it, beside its entries.
        found: The entries; empty where they cannot be read, which the servers answer.
        valued: Whether some hold a value.
    """

    body: dict[str, Any]
    found: list[Any]
    valued: bool

    def labels_alone(self) -> bytes:
        """Return the body that the servers get; empty: there is no label in it."""
        labels = [
            {key: entry[key] for key in entry if key != "value"} if "value" in entry else entry
            for entry in self.found
            if "label" in entry or "value" not in entry
        ]
        return orjson.dumps(self.body | {"labels": labels}) if labels else b""

    def entries(self, *, labelled: bool) -> list[dict[str, Any]]:
        """Return what an experiment counts; labels only where the servers took them."""
        found = [entry for entry in self.found if isinstance(entry, dict)]
        if labelled:
            return found
        return [{k: entry[k] for k in entry if k != "label"} for entry in found if "value" in entry]


def given(body: bytes, *, experiment: bool) -> Given:
    """Return what some feedback holds.

    Args:
        body: It, decompressed.
        experiment: Whether an experiment goes on, of which labels may be the KPI.

    Raises:
        RequestError: If a value cannot be counted.
    """
    nothing = Given({}, [], valued=False)
    if not experiment and b'"value"' not in body:
        return nothing
    try:
        read = orjson.loads(body)
        entries = read["labels"]
        valued = [isinstance(entry, dict) and "value" in entry for entry in entries]
    except (LookupError, TypeError, ValueError):
        return nothing
    for place, has in enumerate(valued):
        if has:
            check_value(entries[place]["value"], f"labels[{place}]")
            request_and_row(entries[place], f"labels[{place}]")
    if any(valued) and not all(isinstance(entry, dict) for entry in entries):
        return nothing
    return Given(read, entries, valued=any(valued))


def decompressed(incoming: ProxyRequest, share: Share) -> tuple[CIMultiDict[str], bytes]:
    """Return a request's body decompressed, and the headers that describe it then.

    Raises:
        RequestError: If other requests use up the memory for bodies.
    """
    body, headers = incoming.body or b"", incoming.headers
    encoding = headers.get("content-encoding", "").encode("utf-8", "surrogateescape")
    try:
        compressed = request_body.encoding_of({b"content-encoding": encoding})
    except RequestError:
        # The arm answers what is wrong with it.
        return headers, body
    if not compressed:
        return headers, body
    share.grow_to(len(body) + request_body.largest(body, limit=MAX_BODY))
    try:
        body = request_body.decompressed(body, limit=MAX_BODY)
    except RequestError:
        return headers, body
    headers = headers.copy()
    headers.popall("content-encoding")
    return headers, body


async def fan_out(
    upstream: Upstream, table: RoutingTable, target: str, headers: CIMultiDict[str], body: bytes
) -> bytes | None:
    """Send labels to every arm and count their losses; return the answer for the client.

    Which version answered a request is known to that version alone, so each gets them. Labels of
    mirrored requests go apart from the others, because the two sides of `Pairs` must hold the same
    rows.

    Returns None where the labels cannot be read, where an arm refuses them, and where none knows
    any of them: the stable version's own answer then says why.
    """
    groups = _groups(body, table)
    if groups is None:
        return None
    calls = [
        _ask(upstream, arm, target, headers, labels, paired=paired)
        for paired, labels in groups.items()
        for arm in table.arms.values()
    ]
    found = [each for each in await asyncio.gather(*calls) if each]
    stable = table.arms.get("stable")
    if not any(each.knows for each in found) or (
        stable and sum(each.arm is stable for each in found) < len(groups)
    ):
        return None
    for each in found:
        _count(each, table)
    return orjson.dumps(_summary(found, total=sum(map(len, groups.values()))))


def _groups(body: bytes, table: RoutingTable) -> dict[bool, list[Any]] | None:
    """Return the labels of requests that were mirrored (True) and of others (False)."""
    try:
        groups: dict[bool, list[Any]] = {}
        for label in orjson.loads(body)["labels"]:
            groups.setdefault(label["request_id"] in table.pairs.known, []).append(label)
    except (LookupError, TypeError, ValueError):
        return None
    return groups or None


async def _ask(
    upstream: Upstream,
    arm: Arm,
    target: str,
    headers: CIMultiDict[str],
    labels: Sequence[Any],
    *,
    paired: bool,
) -> _Found | None:
    body = orjson.dumps({"labels": labels})
    headers = headers.copy()
    headers["content-length"] = str(len(body))
    arm.load.requests += 1
    try:
        reply: Reply = await upstream.ask(arm.address, "POST", target, headers, body)
    except (UnreachableError, NoAnswerError) as failure:
        _log.warning("version %s was not given %d labels: %s", arm.version, len(labels), failure)
        return None
    finally:
        arm.load.requests -= 1
    if reply.status == 404:
        # It answered none of these requests.
        nothing = {"joined": 0, "unknown": len(labels), "repeated": 0}
        return _Found(arm, paired, nothing | {"live": _NOTHING, "mirrored": _NOTHING})
    if reply.status != 200 or reply.body is None:
        return None
    return _Found(arm=arm, paired=paired, response=orjson.loads(reply.body), knows=True)


def _count(found: _Found, table: RoutingTable) -> None:
    found.arm.stats.add_labelled(found.response["live"])
    if found.paired and found.arm is table.arms.get("stable"):
        table.pairs.stable.add_labelled(found.response["live"])
    if found.paired and found.arm is table.arms.get("candidate"):
        table.pairs.candidate.add_labelled(found.response["mirrored"])


def _summary(found: Sequence[_Found], *, total: int) -> dict[str, Any]:
    sums = {
        kind: {key: sum(each.response[kind][key] for each in found) for key in _SUMS}
        for kind in ("live", "mirrored")
    }
    joined = min(total, _known(found, "joined"))
    repeated = min(total - joined, _known(found, "repeated"))
    # What one version does not remember another one may; only what is left is unknown to all.
    counts = {"joined": joined, "unknown": total - joined - repeated, "repeated": repeated}
    first = next(each for each in found if each.knows)
    return {**first.response, **counts, **sums}


def _known(found: Sequence[_Found], key: str) -> int:
    """Return how many labels found their row anywhere: both versions know one that was mirrored."""
    paired = [int(each.response.get(key, 0)) for each in found if each.paired]
    return max(paired, default=0) + sum(
        int(each.response.get(key, 0)) for each in found if not each.paired
    )
