"""KServe in Knative mode, as far as a router meets it: revisions, and who gets which share.

The rules are those of KServe's controller (`createKnativeService`, `PropagateStatus`) and of
Knative's (the newest revision that is ready; a route follows it). Controllers work when somebody
looks.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

DOMAIN = "example.com"
TAGS = "serving.kserve.io/enable-tag-routing"
MODE = "serving.kserve.io/deploymentMode"


class Serves(Protocol):
    """A server, as `cluster_emulator.Server`."""

    ready: bool

    def stop(self) -> None: ...


@dataclass
class Revision:
    """An immutable snapshot of a template; `ready` stays once it was."""

    name: str
    template: dict[str, Any]
    ready: bool = False


@dataclass
class Ksvc:
    """A Knative service `<name>-predictor`, and what KServe keeps of it in its status."""

    name: str
    namespace: str
    revisions: list[Revision] = field(default_factory=list)
    newest_ready: str = ""
    targets: list[dict[str, Any]] = field(default_factory=list)
    traffic: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    changed: float = 0.0
    effective: list[dict[str, Any]] = field(default_factory=list)

    @property
    def newest(self) -> str:
        return self.revisions[-1].name if self.revisions else ""

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.{DOMAIN}"

    def tagged(self, tag: str) -> str:
        return f"{tag}-{self.name}-predictor.{self.namespace}.{DOMAIN}"

    def component(self) -> dict[str, Any]:
        """Return `status.components.predictor`."""
        traffic = [
            {**target, "url": f"http://{self.tagged(target['tag'])}"} if "tag" in target else target
            for target in self.traffic
        ]
        return {
            "latestCreatedRevision": self.newest,
            "latestReadyRevision": self.newest_ready,
            **self.kept,
            "traffic": traffic,
            "url": f"http://{self.name}-predictor.{self.namespace}.{DOMAIN}",
        }


@dataclass
class Knative:
    """Everything of Knative in a cluster.

    `torn` is how often KServe looks at a service after Knative has moved the route and before it
    has taken in the new template, which are two controllers. While it is `paused` KServe does not
    look at all, and sees then only what was written last.
    """

    start: Callable[[str, dict[str, Any]], Any]
    servers: dict[str, Any]
    services: dict[str, Ksvc] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    lag: float = 0.0
    torn: int = 0
    paused: bool = False
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    seen: list[dict[str, int]] = field(default_factory=list)

    def reconcile(self, service: dict[str, Any]) -> None:
        """Bring everything to where KServe's and Knative's controllers would."""
        if self.paused:
            return
        metadata = service["metadata"]
        ksvc = self.services.setdefault(
            metadata["name"], Ksvc(metadata["name"], metadata["namespace"])
        )
        for _ in range(8):
            before = copy.deepcopy(ksvc.component())
            self._step(ksvc, service)
            if ksvc.component() == before:
                return
        raise AssertionError("KServe's controller does not come to rest")

    def drop(self, name: str) -> None:
        ksvc = self.services.pop(name, None)
        for revision in ksvc.revisions if ksvc else []:
            self._end(revision.name)

    def server_at(self, host: str) -> Any:
        """Return the server that a request with this host reaches; None: nobody knows the host."""
        for ksvc in self.services.values():
            for target in ksvc.effective:
                if "tag" in target and host == ksvc.tagged(target["tag"]):
                    return self._reached(target["revisionName"])
            if host == ksvc.host and ksvc.effective:
                shares = [target["percent"] for target in ksvc.effective]
                (chosen,) = self.chance.choices(ksvc.effective, shares)
                return self._reached(chosen["revisionName"])
        return None

    def _step(self, ksvc: Ksvc, service: dict[str, Any]) -> None:
        template = _template(service)
        new = not ksvc.revisions or ksvc.revisions[-1].template != template
        ksvc.targets = _targets(service, ksvc.kept.get("latestRolledoutRevision", ""))
        if new and ksvc.revisions and self.torn:
            self.torn -= 1
            self._route(ksvc)
            _propagate(ksvc)
        if new:
            number = len(ksvc.revisions) + 1
            revision = Revision(f"{ksvc.name}-predictor-{number:05}", template)
            ksvc.revisions.append(revision)
            self._run(revision)
        self._settle(ksvc)
        self._route(ksvc)
        _propagate(ksvc)

    def _settle(self, ksvc: Ksvc) -> None:
        """Find the newest ready revision, which never is older than the one before."""
        names = [revision.name for revision in ksvc.revisions]
        oldest = names.index(ksvc.newest_ready) if ksvc.newest_ready else 0
        for revision in ksvc.revisions:
            server = self.servers.get(revision.name)
            revision.ready = revision.ready or bool(server and server.ready)
        for revision in reversed(ksvc.revisions[oldest:]):
            if revision.ready:
                ksvc.newest_ready = revision.name
                return

    def _route(self, ksvc: Ksvc) -> None:
        if not ksvc.newest_ready:
            return
        traffic = [
            {**target, "revisionName": target.get("revisionName", ksvc.newest_ready)}
            for target in ksvc.targets
        ]
        if traffic != ksvc.traffic:
            ksvc.effective = ksvc.effective or traffic
            ksvc.traffic, ksvc.changed = traffic, time.monotonic()
            self.seen.append(
                {target["revisionName"]: target["percent"] for target in reversed(traffic)}
            )
        if ksvc.changed + self.lag < time.monotonic():
            ksvc.effective = ksvc.traffic
        routed = {target["revisionName"] for target in (*traffic, *ksvc.effective)}
        for revision in ksvc.revisions:
            if revision.name in routed:
                self._run(revision)
            elif revision.name != ksvc.newest:
                # Nothing leads there, so the autoscaler takes its pods away.
                self._end(revision.name)

    def _run(self, revision: Revision) -> None:
        if revision.name not in self.servers:
            self.servers[revision.name] = self.start(revision.name, revision.template["predictor"])
            self.labels[revision.name] = revision.template["labels"]

    def _end(self, name: str) -> None:
        server = self.servers.pop(name, None)
        self.labels.pop(name, None)
        if server is not None:
            server.stop()

    def _reached(self, name: str) -> Any:
        return self.servers.get(name, _Nobody())


class _Nobody:
    ready = False


def is_knative(service: dict[str, Any]) -> bool:
    return service["metadata"].get("annotations", {}).get(MODE) in ("Knative", "Serverless")


def _template(service: dict[str, Any]) -> dict[str, Any]:
    """Return what goes into a revision: all but the shares, and every label and annotation."""
    metadata, predictor = service["metadata"], dict(service["spec"]["predictor"])
    predictor.pop("canaryTrafficPercent", None)
    annotations = {**metadata.get("annotations", {}), **predictor.get("annotations", {})}
    labels = {**metadata.get("labels", {}), **predictor.get("labels", {})}
    return {"predictor": predictor, "annotations": annotations, "labels": labels}


def _targets(service: dict[str, Any], rolled_out: str) -> list[dict[str, Any]]:
    percent = service["spec"]["predictor"].get("canaryTrafficPercent")
    split = percent is not None and bool(rolled_out)
    latest: dict[str, Any] = {"latestRevision": True, "percent": percent if split else 100}
    if service["metadata"].get("annotations", {}).get(TAGS) == "true":
        latest["tag"] = "latest"
    if not split or percent == 100:
        return [latest]
    rest = 100 - percent
    before = {"revisionName": rolled_out, "latestRevision": False, "percent": rest, "tag": "prev"}
    return [latest, before]


def _propagate(ksvc: Ksvc) -> None:
    """Do as `InferenceServiceStatus.PropagateStatus` does."""
    shares: dict[str, int] = {}
    for target in ksvc.traffic:
        shares[target["revisionName"]] = shares.get(target["revisionName"], 0) + target["percent"]
    kept = ksvc.kept
    for target in ksvc.traffic:
        if target["revisionName"] != ksvc.newest_ready or not target["latestRevision"]:
            continue
        if kept.get("latestRolledoutRevision") != ksvc.newest_ready:
            if target["percent"] == 100:
                before = kept.get("latestRolledoutRevision")
                if before:
                    kept["previousRolledoutRevision"] = before
                kept["latestRolledoutRevision"] = ksvc.newest_ready
        elif ksvc.newest_ready == ksvc.newest and target["percent"] < 100:
            whole = shares[ksvc.newest_ready] == 100
            if whole and kept.get("previousRolledoutRevision"):
                kept["latestRolledoutRevision"] = kept["previousRolledoutRevision"]
