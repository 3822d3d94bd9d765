"""A rollout's journal in a ConfigMap: what another pod reads, and what a stale one cannot write."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from cluster_emulator import NAMESPACE, Cluster, Fault, running

from penstock import kube
from penstock.errors import LeaseLostError, ServiceError
from penstock.kube import ForbiddenError, Kube
from penstock.records.rollout import Interval, Rollout
from penstock.rollout.journal import Journal, journals
from penstock.rollout.kserve.store import ConfigMapStore

NAME = "penstock-rollout-s-2-abc"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made


def store(cluster: Cluster, identity: str = "2-abc") -> ConfigMapStore:
    return ConfigMapStore(
        Kube(cluster.url, patience=2),
        namespace=NAMESPACE,
        service="s",
        identity=identity,
        lost=LeaseLostError,
    )


def planned(identity: str = "2-abc") -> Rollout:
    return Rollout(
        identity=identity,
        service="s",
        router="kserve-gateway",
        url="http://s",
        candidate=2,
        stable=1,
        uri="models:/s/2",
        model="sha256:1",
        decision="sha256:2",
        started=datetime.now(UTC),
        plan={},
    )


def begun(cluster: Cluster) -> Journal:
    journal = Journal(store(cluster))
    journal.begin(planned(), reason="Approved.")
    return journal


def interval() -> Interval:
    return Interval(started=datetime.now(UTC), seconds=1, phase="step", weight=10)


def test_another_pod_reads_what_was_written(cluster: Cluster) -> None:
    journal = begun(cluster)
    journal.go("shadow", reason="Ready.")
    read = Journal(store(cluster))
    assert read.exists
    assert read.rollout == journal.rollout
    assert [j.name for j in journals([store(cluster), store(cluster, "3-none")])] == ["2-abc"]


def test_evidence_waits_for_the_next_transition(cluster: Cluster) -> None:
    journal = begun(cluster)
    writes = len([call for call in cluster.calls if call[0] == "PUT"])
    for _ in range(5):
        journal.saw(interval())
    assert len([call for call in cluster.calls if call[0] == "PUT"]) == writes
    assert len(Journal(store(cluster)).rollout.intervals) == 0
    journal.go("rollback", reason="Bad.")
    assert len(Journal(store(cluster)).rollout.intervals) == 5


def test_notes_of_others_are_kept(cluster: Cluster) -> None:
    journal = begun(cluster)
    Journal(store(cluster)).approve(0, by="ada")
    Journal(store(cluster)).ask_to_abort("enough")
    journal.go("shadow", reason="Ready.")
    assert (journal.approval_of(0), journal.abort_asked) == ("ada", "enough")
    assert journal.approval_of(1) is None


def test_a_controller_that_was_taken_over_from_writes_nothing(cluster: Cluster) -> None:
    stale = begun(cluster)
    taken_over = Journal(store(cluster))
    taken_over.go("shadow", reason="Ready.")
    with pytest.raises(LeaseLostError, match="another controller has written"):
        stale.go("rollback", reason="Late.")
    assert Journal(store(cluster)).rollout.last.phase == "shadow"


def test_a_journal_that_was_deleted_is_not_begun_again(cluster: Cluster) -> None:
    journal = begun(cluster)
    cluster.delete("configmaps", NAME)
    with pytest.raises(LeaseLostError, match="was deleted"):
        journal.go("shadow", reason="Ready.")


@pytest.mark.parametrize("status", [0, 409, 503])
def test_an_answer_that_got_lost_is_not_a_line_twice(cluster: Cluster, status: int) -> None:
    journal = begun(cluster)
    cluster.faults.append(Fault("PUT", "configmaps", status))
    journal.go("shadow", reason="Ready.")
    assert Journal(store(cluster)).rollout.transitions == journal.rollout.transitions


def test_a_damaged_journal_is_named(cluster: Cluster) -> None:
    begun(cluster)
    found = cluster.get("configmaps", NAME)
    assert found is not None
    whole = gzip.decompress(base64.b64decode(found["binaryData"]["journal.jsonl.gz"]))
    assert whole.count(b"\n") == 2
    cluster.put("configmaps", {**found, "binaryData": {"journal.jsonl.gz": "bm90"}})
    with pytest.raises(ServiceError, match="the journal cannot be read"):
        _ = Journal(store(cluster)).rollout


def test_what_an_account_may_not_do_is_named_with_the_role(cluster: Cluster) -> None:
    cluster.faults.append(Fault("POST", "configmaps", 403, message="configmaps is forbidden"))
    with pytest.raises(ForbiddenError, match=r"configmaps is forbidden.*penstock-deployer"):
        begun(cluster)


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
    seen: Callable[[], str | None] = lambda: next(tokens)  # noqa: E731
    asked = Kube(cluster.url, token=seen)
    for _ in range(2):
        asked.get("/api/v1/namespaces/penstock/configmaps/x")
    assert cluster.tokens[-2:] == ["Bearer one", "Bearer two"]
