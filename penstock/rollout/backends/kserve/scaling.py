"""How load scales the servers of a version: what KServe gets, and what a rollout asks for.

An autoscaler follows the load that it sees, so it comes too late for a share that a rollout moves
at once, and it shrinks the version that a rollback would need. Both versions therefore get a floor
while a rollout is under way (docs/adr/0079). Pure functions.
"""

from __future__ import annotations

import math
from typing import Any

from penstock.rollout.autoscaling_spec import StabilizationSpec
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState

CLASS = "serving.kserve.io/autoscalerClass"


def scaler(arm: ClusterArm) -> dict[str, str]:
    """Return the annotation by which KServe knows who scales a version."""
    return {CLASS: arm.autoscaling.autoscaler if arm.autoscaling else "none"}


def fields(arm: ClusterArm, *, replicas: int) -> dict[str, Any]:
    """Return the fields of a predictor by which KServe scales a version.

    KServe's webhook refuses `scaleMetric` for KEDA, which takes the metric from `autoScaling`.

    Args:
        arm: The version.
        replicas: How many servers it has where nothing scales it.
    """
    spec = arm.autoscaling
    if spec is None or spec.autoscaler == "none":
        count = arm.least or replicas
        return {"minReplicas": count, "maxReplicas": count}
    if spec.autoscaler == "external":
        return {}
    bounds = {"minReplicas": arm.least, "maxReplicas": spec.max_replicas}
    if spec.autoscaler == "hpa":
        return {**bounds, "scaleMetric": spec.metric, "scaleTarget": spec.target}
    target = {"type": "Utilization", "averageUtilization": spec.target}
    metric = {"type": "Resource", "resource": {"name": spec.metric, "target": target}}
    return {**bounds, "autoScaling": {"metrics": [metric], **_behavior(spec.behavior)}}


def needed(servers: int, *, weight: int, percent: int, mirror: float) -> int:
    """Return how many servers the candidate needs for a share of the requests.

    The stable version's servers carry what its own share is. So the candidate needs as many for
    each percent of its share; of all requests, as many as both versions' shares need.

    Args:
        servers: Of the stable version.
        weight: The candidate's present share, in percent.
        percent: The share that it is to get.
        mirror: Share of the stable version's requests that it gets copies of.

    Example:
        >>> needed(4, weight=0, percent=10, mirror=0)
        1
        >>> needed(4, weight=10, percent=50, mirror=0)
        4
        >>> needed(4, weight=50, percent=100, mirror=0)
        8
        >>> needed(4, weight=0, percent=0, mirror=1)
        4
    """
    if percent < 100:
        share = _over(percent * servers, 100 - percent)
    else:
        share = _over(100 * servers, 100 - weight) if weight < 100 else 0
    # Rounded before: a share like 0.1 is a little more than it says.
    return max(share, math.ceil(round(mirror * servers, 9)))


def floors(
    state: ClusterState, *, servers: int, percent: int, mirror: float, returns: bool
) -> dict[str, ClusterArm]:
    """Return the versions whose floor must rise before the candidate gets a share.

    The stable version keeps the servers that it has: a rollback gives it all requests at once.

    Args:
        state: The service.
        servers: Of the stable version: those that are ready, and those on their way.
        percent: The share that the candidate is to get.
        mirror: Share of the stable version's requests that it is to get copies of.
        returns: Whether the candidate is gone back to: it gets no fewer servers than it had before.
            The version that is left may have lost some of its own.
    """
    share = needed(servers, weight=state.weight, percent=percent, mirror=mirror)
    before = _before(state, state.candidate) if returns else 0
    wanted = {"stable": servers, "candidate": max(share, before)}
    raised = {
        role: with_floor(arm, wanted[role])
        for role, arm in state.roles().items()
        if arm.scales and role in wanted
    }
    return {role: arm for role, arm in raised.items() if arm.least > state.roles()[role].least}


def larger_stable(state: ClusterState, *, servers: int) -> dict[str, ClusterArm]:
    """Return the stable version with what all requests take, where a rollback leaves it too few.

    Its floor is what it had before the candidate had its share. Where load has scaled it beyond
    that, its servers are what its own share takes, and all requests take more.

    Args:
        state: The service, whose candidate still has its share.
        servers: Of the stable version: those that are ready, and those on their way.

    Returns:
        It alone, or nothing: its floor is enough.
    """
    stable = state.stable
    if stable is None or not stable.scales or not 0 < state.weight < 100:
        return {}
    if servers <= stable.least:
        return {}
    return {"stable": with_floor(stable, _over(100 * servers, 100 - state.weight))}


def brought_back(state: ClusterState, arm: ClusterArm, *, servers: int) -> ClusterArm:
    """Return a version with the servers that it had, or those of the one whose place it takes.

    Args:
        state: The service.
        arm: The version that is gone back to.
        servers: Of the stable version: those that are ready, and those on their way.
    """
    return with_floor(arm, max(servers, _before(state, arm))) if arm.scales else arm


def settling(state: ClusterState) -> float:
    """Return the seconds after which the autoscalers have seen what load the versions have."""
    specs = [arm.autoscaling for arm in state.arms() if arm.autoscaling and arm.scales]
    return max(
        (spec.settle_seconds + (spec.behavior.scale_up_seconds or 0) for spec in specs), default=0
    )


def with_floor(arm: ClusterArm, servers: int) -> ClusterArm:
    """Return a version that load scales with so many servers at least, as far as it may have."""
    most = (arm.autoscaling.max_replicas if arm.autoscaling else None) or 0
    return arm.model_copy(update={"floor": min(servers, most)})


def without_floors(state: ClusterState) -> dict[str, ClusterArm]:
    """Return the versions whose floor falls away once one version serves alone."""
    if state.candidate or state.retired:
        return {}
    return {
        role: arm.model_copy(update={"floor": 0})
        for role, arm in state.roles().items()
        if arm.floor
    }


def _before(state: ClusterState, arm: ClusterArm | None) -> int:
    """Return the servers that a version had when it was promoted over, if it was the last one."""
    known = [one for one in (state.retired, state.previous) if one and arm]
    return max((one.had for one in known if arm and one.version == arm.version), default=0)


def _behavior(spec: StabilizationSpec) -> dict[str, Any]:
    """Return what KServe hands to KEDA: of `behavior`, the two windows alone."""
    windows = {"scaleUp": spec.scale_up_seconds, "scaleDown": spec.scale_down_seconds}
    given = {
        name: {"stabilizationWindowSeconds": seconds}
        for name, seconds in windows.items()
        if seconds is not None
    }
    return {"behavior": given} if given else {}


def _over(amount: int, parts: int) -> int:
    return -(-amount // parts)
