"""A rollout's journal in a ConfigMap: what another pod reads, and what a stale one cannot write."""

from __future__ import annotations

import base64
import gzip
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from cluster_emulator import NAMESPACE, Cluster, Fault, running
from kserve_world import planned

from penstock.cluster import client as kube
from penstock.cluster.client import Kube, RefusedError
from penstock.errors import LeaseLostError, ServiceError, UnrecordedError
from penstock.records.rollout import Interval
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.store import ConfigMapStore
from penstock.rollout.journal import Journal

NAME = "penstock-rollout-s-2-abc"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made


@pytest.fixture
def lease(cluster: Cluster) -> Iterator[ClusterLease]:
    """Held, as by whoever drives the service."""
    made = lease_of(cluster)
    with made.held():
        yield made


def lease_of(cluster: Cluster, service: str = "s", *, seconds: int = 30) -> ClusterLease:
    kube, name = Kube(cluster.url, patience=2), f"penstock-{service}"
    return ClusterLease(kube, namespace=NAMESPACE, service=service, name=name, seconds=seconds)


def store(
    cluster: Cluster,
    lease: ClusterLease | None = None,
    identity: str = "2-abc",
    *,
    service: str = "s",
) -> ConfigMapStore:
    return ConfigMapStore(
        Kube(cluster.url, patience=2),
        namespace=NAMESPACE,
        service=service,
        identity=identity,
        lease=lease or lease_of(cluster, service),
    )


def every(cluster: Cluster, lease: ClusterLease, service: str = "s") -> list[ConfigMapStore]:
    kube = Kube(cluster.url, patience=2)
    return ConfigMapStore.all_of(kube, namespace=NAMESPACE, service=service, lease=lease)


def begun(cluster: Cluster, lease: ClusterLease, identity: str = "2-abc") -> Journal:
    journal = Journal(store(cluster, lease, identity))
    journal.begin(planned(identity), reason="Approved.")
    return journal


def interval() -> Interval:
    return Interval(started=datetime.now(UTC), seconds=1, phase="step", weight=10)


def test_another_pod_reads_what_was_written(cluster: Cluster, lease: ClusterLease) -> None:
    journal = begun(cluster, lease)
    journal.go("shadow", reason="Ready.")
    read = Journal(store(cluster))
    assert read.exists
    assert read.rollout == journal.rollout
    stores = [store(cluster), store(cluster, identity="3-none")]
    assert [store.name for store in stores if Journal(store).exists] == ["2-abc"]


def puts(cluster: Cluster) -> int:
    return len([call for call in cluster.calls if call[0] == "PUT" and "configmaps" in call[1]])


def test_evidence_waits_for_the_next_transition(cluster: Cluster, lease: ClusterLease) -> None:
    journal = begun(cluster, lease)
    writes = puts(cluster)
    for _ in range(5):
        journal.saw(interval())
    assert puts(cluster) == writes
    assert len(Journal(store(cluster)).rollout.intervals) == 0
    journal.go("rollback", reason="Bad.")
    assert len(Journal(store(cluster)).rollout.intervals) == 5


def test_notes_of_others_are_kept(cluster: Cluster, lease: ClusterLease) -> None:
    journal = begun(cluster, lease)
    Journal(store(cluster)).approve(0, by="ada")
    Journal(store(cluster)).request_abort("enough")
    Journal(store(cluster)).request_abort("enough of it")
    journal.go("shadow", reason="Ready.")
    assert (journal.approval_of(0), journal.abort_requested) == ("ada", "enough of it")
    assert journal.approval_of(1) is None


def test_a_look_for_a_note_reads_no_journal(cluster: Cluster, lease: ClusterLease) -> None:
    journal = begun(cluster, lease)
    del cluster.calls[:]
    assert journal.abort_requested is None
    (call,) = [path for _, path in cluster.calls if "configmaps" in path]
    assert call.endswith("/penstock-note-s-2-abc-abort")


def test_a_controller_that_was_taken_over_from_writes_nothing(cluster: Cluster) -> None:
    first, second = lease_of(cluster), lease_of(cluster)
    with first.held():
        stale = begun(cluster, first)
        let_go(cluster)
        with second.held():
            # Nothing is written by the second one but that it has taken over.
            assert Journal(store(cluster, second)).rollout.last.phase == "deploy"
            with pytest.raises(LeaseLostError):
                stale.go("rollback", reason="Late.")
            taken_over = Journal(store(cluster, second))
            taken_over.go("shadow", reason="Ready.")
            with pytest.raises(LeaseLostError):
                stale.go("rollback", reason="Late.")
    assert Journal(store(cluster)).rollout.last.phase == "shadow"


def let_go(cluster: Cluster, service: str = "s") -> None:
    """Have whoever holds the lease be taken for dead."""
    found = cluster.get("leases", f"penstock-{service}")
    assert found is not None
    cluster.put("leases", {**found, "spec": {**found["spec"], "holderIdentity": ""}})


def test_what_another_has_written_is_not_written_over(
    cluster: Cluster, lease: ClusterLease
) -> None:
    one, other = begun(cluster, lease), Journal(store(cluster, lease))
    assert other.rollout.last.phase == "deploy"
    other.go("shadow", reason="Ready.")
    with pytest.raises(LeaseLostError, match="another controller has written"):
        one.go("rollback", reason="Late.")


def test_without_the_lease_nothing_is_written(cluster: Cluster, lease: ClusterLease) -> None:
    begun(cluster, lease)
    reader = Journal(store(cluster))
    assert reader.rollout.last.phase == "deploy"
    with pytest.raises(LeaseLostError):
        reader.go("shadow", reason="Nobody's.")


def test_a_journal_that_was_deleted_is_not_begun_again(
    cluster: Cluster, lease: ClusterLease
) -> None:
    journal = begun(cluster, lease)
    cluster.delete("configmaps", NAME)
    with pytest.raises(LeaseLostError, match="was deleted"):
        journal.go("shadow", reason="Ready.")


@pytest.mark.parametrize("status", [0, 409, 503])
def test_an_answer_that_got_lost_is_not_a_line_twice(
    cluster: Cluster, lease: ClusterLease, status: int
) -> None:
    journal = begun(cluster, lease)
    cluster.faults.append(Fault("PUT", "configmaps", status))
    journal.go("shadow", reason="Ready.")
    assert Journal(store(cluster)).rollout.transitions == journal.rollout.transitions


def test_a_line_that_is_refused_is_not_in_the_journal(
    cluster: Cluster, lease: ClusterLease
) -> None:
    kept = store(cluster, lease)
    kept.append(b"{}\n")
    cluster.faults.append(Fault("PUT", "configmaps", 422, message="no"))
    with pytest.raises(RefusedError):
        kept.append(b'{"refused": 1}\n')
    kept.append(b'{"taken": 1}\n')
    assert kept.lines() == store(cluster).lines() == [b"{}\n", b'{"taken": 1}\n']


def test_nothing_waits_long_for_an_api_server_that_is_away(
    cluster: Cluster, lease: ClusterLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.rollout.backends.kserve.store._KEPT_BACK", 0.0)
    journal = begun(cluster, lease)
    fault = Fault("PUT", "configmaps", 503, times=10**6)
    cluster.faults.append(fault)
    begin = time.monotonic()
    with pytest.raises(ServiceError, match="does not answer"):
        journal.go("shadow", reason="Ready.")
    journal.saw(interval())
    assert time.monotonic() - begin < 10
    cluster.faults.remove(fault)
    journal.go("rollback", reason="Bad.")
    assert len(Journal(store(cluster)).rollout.intervals) == 1


def test_a_full_journal_still_takes_the_way_back(
    cluster: Cluster, lease: ClusterLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.rollout.backends.kserve.store._KEPT_BACK", 0.0)
    kept = store(cluster, lease)
    kept.append(b"{}\n")
    noise = random.Random(3)
    evidence = base64.b64encode(noise.randbytes(2**19)) + b"\n"
    assert not kept.crowded
    kept.append(evidence, evidence=True)
    assert kept.crowded
    with pytest.raises(ServiceError, match="the journal is full"):
        kept.append(base64.b64encode(noise.randbytes(2**19)) + b"\n", evidence=True)
    kept.append(base64.b64encode(noise.randbytes(80_000)) + b"\n")
    assert len(store(cluster).lines()) == 3
    kept.rewrite([b"{}\n", b"short\n"])
    assert store(cluster).lines() == [b"{}\n", b"short\n"]
    assert not kept.crowded


def test_the_history_is_listed_without_reading_it(cluster: Cluster, lease: ClusterLease) -> None:
    for identity in ("9-aaa", "2-bbb", "3-ccc"):
        journal = begun(cluster, lease, identity)
        journal.go("rollback", reason="Bad.")
        if identity != "3-ccc":
            journal.go("done", reason="Back.")
    journal.request_abort("a note is no rollout")
    del cluster.calls[:]
    found = every(cluster, lease)
    listed = [(each.name, each.number, each.ended) for each in found]
    assert listed == [("9-aaa", 1, True), ("2-bbb", 2, True), ("3-ccc", 3, False)]
    assert len([path for _, path in cluster.calls if "configmaps" in path]) == 1

    found[0].forget()
    found[2].forget()
    left = [key[2] for key in cluster.objects if key[0] == "configmaps"]
    assert left == ["penstock-rollout-s-2-bbb"]


def test_a_journal_of_another_service_is_left_alone(cluster: Cluster) -> None:
    """Service `s`, rollout `2-abc`, has the names of service `s-2`, rollout `abc`."""
    theirs, ours = lease_of(cluster, "s-2"), lease_of(cluster)
    with theirs.held(), ours.held():
        store(cluster, theirs, "abc", service="s-2").append(b"{}\n")
        store(cluster, theirs, "abc", service="s-2").leave("abort", "theirs")
        for act in (
            lambda: store(cluster, ours).lines(),
            lambda: store(cluster, ours).append(b"{}\n"),
            lambda: store(cluster, ours).clear(),
            lambda: store(cluster, ours).note("abort"),
            lambda: store(cluster, ours).leave("abort", "ours"),
        ):
            with pytest.raises(ServiceError, match="belongs to service s-2"):
                act()
        assert store(cluster, theirs, "abc", service="s-2").lines() == [b"{}\n"]
        assert every(cluster, ours) == []


def test_a_damaged_journal_is_named(cluster: Cluster, lease: ClusterLease) -> None:
    begun(cluster, lease)
    found = cluster.get("configmaps", NAME)
    assert found is not None
    whole = gzip.decompress(base64.b64decode(found["binaryData"]["journal.jsonl.gz"]))
    assert b'"transition"' in whole
    torn = base64.b64encode(gzip.compress(whole)[:-9] + b"x" * 9).decode()
    for damaged in ("bm90", torn):
        cluster.put("configmaps", {**found, "binaryData": {"journal.jsonl.gz": damaged}})
        with pytest.raises(ServiceError, match="the journal cannot be read"):
            _ = Journal(store(cluster)).rollout


def test_what_an_account_may_not_do_is_named_with_the_role(
    cluster: Cluster, lease: ClusterLease
) -> None:
    cluster.faults.append(Fault("POST", "configmaps", 403, message="configmaps is forbidden"))
    with pytest.raises(UnrecordedError, match=r"configmaps is forbidden.*penstock-deployer"):
        begun(cluster, lease)


def _kubeconfig(path: Path, server: str, user: dict[str, str]) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("one", "two")
        ],
        "current-context": "one",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_kubeconfig_is_followed(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _kubeconfig(tmp_path / "config", cluster.url, {"token": "secret"})
    monkeypatch.setenv("KUBECONFIG", str(path))
    for context in ("", "two"):
        asked = kube.connect(context)
        assert asked.server.rstrip("/") == cluster.url
        assert asked.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/x") is None
    with pytest.raises(ServiceError, match="no Kubernetes cluster is known here"):
        kube.connect("three")


def test_a_pod_uses_its_own_account(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes.config import incluster_config

    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("pod")
    authority.write_text(_certificate())
    # Where a pod finds them is the kubelet's to say; no test may write there.
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    assert kube.connect().server.rstrip("/") == "https://127.0.0.1:6443"


def _certificate() -> str:
    import certifi

    return Path(certifi.where()).read_text()


def test_tokens_are_asked_for_again_at_each_request(cluster: Cluster) -> None:
    tokens = iter(["Bearer one", "Bearer two"])
    asked = Kube(cluster.url, token=tokens.__next__)
    for _ in range(2):
        asked.get("/api/v1/namespaces/penstock/configmaps/x")
    assert cluster.tokens[-2:] == ["Bearer one", "Bearer two"]
