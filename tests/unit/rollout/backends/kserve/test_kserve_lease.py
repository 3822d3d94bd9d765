"""The lease of a service of a cluster: known by its renewals, whatever clocks say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cluster_emulator import NAMESPACE, Cluster, running
from running_process import until

from penstock.cluster.client import Kube
from penstock.errors import LeaseLostError, ServiceError
from penstock.rollout.backends.kserve import lease as module
from penstock.rollout.backends.kserve.lease import ClusterLease


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made


def lease_of(cluster: Cluster, *, seconds: int = 2) -> ClusterLease:
    kube = Kube(cluster.url, verify=False, patience=2)
    return ClusterLease(
        kube, namespace=NAMESPACE, service="adult", name="penstock-adult", seconds=seconds
    )


def leave(cluster: Cluster, *, hours: float, holder: str = "dead") -> None:
    """Leave the lease of a holder whose clock is so many hours off."""
    moment = datetime.now(UTC) + timedelta(hours=hours)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 1, "leaseTransitions": 7}
    labels = {"app.kubernetes.io/managed-by": "penstock"}
    cluster.put(
        "leases",
        {
            "metadata": {"name": "penstock-adult", "labels": labels},
            "spec": spec | {"renewTime": text, "acquireTime": text},
        },
    )


@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_a_dead_holder_is_known_by_its_silence(cluster: Cluster, hours: float) -> None:
    leave(cluster, hours=hours)
    lease = lease_of(cluster, seconds=1)
    begin = time.monotonic()
    assert not lease.driven()
    assert time.monotonic() - begin >= 1
    with lease.held():
        # What was seen while looking on counts.
        assert time.monotonic() - begin < 5
        assert lease.term == 8


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_holder_that_renews_is_alive_whatever_its_clock_says(
    cluster: Cluster, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = datetime.now(UTC) + timedelta(hours=hours)
    ticks = iter(range(10**6))
    monkeypatch.setattr(module, "_now", lambda: (off + timedelta(seconds=next(ticks))).isoformat())
    holder = lease_of(cluster)
    with holder.held():
        assert lease_of(cluster).driven()
        with pytest.raises(ServiceError, match="is deploying it"), lease_of(cluster).held():
            pass
        holder.check()
        holder.confirm()
    assert not lease_of(cluster).driven()


def test_time_that_a_machine_slept_counts(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = lease_of(cluster, seconds=30)
    with lease.held():
        lease.check()
        here = module.since_boot()
        monkeypatch.setattr(module, "since_boot", lambda: here + 3600)
        with pytest.raises(LeaseLostError):
            lease.check()


def test_whoever_waits_takes_the_longer_duration(cluster: Cluster) -> None:
    leave(cluster, hours=0)
    found = cluster.get("leases", "penstock-adult")
    assert found is not None
    cluster.put("leases", {**found, "spec": {**found["spec"], "leaseDurationSeconds": 2}})
    begin = time.monotonic()
    with lease_of(cluster, seconds=1).held():
        assert time.monotonic() - begin >= 2


def test_what_the_cluster_says_is_believed(cluster: Cluster) -> None:
    lease = lease_of(cluster, seconds=30)
    with lease.held():
        lease.meet(3)
        assert lease.term == 4
        leave(cluster, hours=0, holder="another")
        lease.check()
        with pytest.raises(LeaseLostError):
            lease.meet(9)
        with pytest.raises(LeaseLostError):
            lease.check()


def test_a_lease_of_somebody_else_is_not_taken(cluster: Cluster) -> None:
    leave(cluster, hours=0, holder="")
    found = cluster.get("leases", "penstock-adult")
    assert found is not None
    cluster.put("leases", {**found, "metadata": {"name": "penstock-adult"}})
    with pytest.raises(ServiceError, match="not made by Penstock"), lease_of(cluster).held():
        pass
    until(lambda: cluster.get("leases", "penstock-adult"))
