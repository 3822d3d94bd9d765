"""What the manifests say, held against the parts that it is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests_check import wiring
from manifests_check.__main__ import documents, main, read_versions

import penstock
from penstock.processes.supervised import Supervised
from penstock.records.model import Model
from penstock.rollout.spec import PrometheusSpec, QueriesSpec
from penstock.serving import launch
from penstock.serving.metrics import ServingMetrics

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "manifests"
OVERLAYS = ("kind", "minikube", "production")
Rights = dict[tuple[str, str], set[str]]


def one(resources: list[dict[str, Any]], kind: str, name: str, place: str | None) -> dict[str, Any]:
    (found,) = (
        r
        for r in resources
        if (r["kind"], r["metadata"]["name"], r["metadata"].get("namespace")) == (kind, name, place)
    )
    return found


def rights(resources: list[dict[str, Any]], account: tuple[str, str]) -> dict[str, Rights]:
    """What an account may do, by namespace."""
    result: dict[str, Rights] = {}
    for binding in (r for r in resources if r["kind"] == "RoleBinding"):
        subjects = {(s["namespace"], s["name"]) for s in binding["subjects"]}
        if account not in subjects:
            continue
        place = binding["metadata"]["namespace"]
        role = one(resources, "Role", binding["roleRef"]["name"], place)
        for rule in role["rules"]:
            for resource in rule["resources"]:
                (group,) = rule["apiGroups"]
                names = ",".join(rule.get("resourceNames", ()))
                key = (group, f"{resource}:{names}" if names else resource)
                result.setdefault(place, {}).setdefault(key, set()).update(rule["verbs"])
    return result


RUN: Rights = {
    ("argoproj.io", "workflowtaskresults"): {"create", "patch"},
    ("", "pods"): {"get"},
    ("", "configmaps:kfp-launcher"): {"get"},
    ("", "secrets:mlpipeline-minio-artifact"): {"get"},
}
READ = {"get", "list", "watch"}
TABLE: dict[tuple[str, str], dict[str, Rights]] = {
    ("kubeflow", "penstock-pipeline"): {"kubeflow": RUN},
    ("kubeflow", "penstock-deployer"): {
        "kubeflow": RUN,
        "penstock": {
            ("serving.kserve.io", "inferenceservices"): {
                "get",
                "list",
                "create",
                "update",
                "delete",
            },
            ("serving.kserve.io", "servingruntimes"): {"get"},
            ("gateway.networking.k8s.io", "httproutes"): {"get", "create", "update", "delete"},
            ("gateway.networking.k8s.io", "gateways"): {"get"},
            ("coordination.k8s.io", "leases"): {"get", "create", "update"},
            ("", "configmaps"): {"get", "list", "create", "update", "delete"},
            ("", "pods"): {"list"},
            ("", "pods/log"): {"get"},
        },
    },
    ("kubeflow", "penstock-watcher"): {
        "kubeflow": RUN,
        "penstock": {
            ("serving.kserve.io", "inferenceservices"): {"get"},
            ("gateway.networking.k8s.io", "httproutes"): {"get"},
            ("", "configmaps"): {"get", "list"},
            ("", "pods"): {"list"},
            ("coordination.k8s.io", "leases"): {"get", "create", "update"},
        },
    },
    ("penstock", "penstock-monitor"): {
        "penstock": {
            ("serving.kserve.io", "inferenceservices"): READ,
            ("gateway.networking.k8s.io", "httproutes"): READ,
            ("gateway.networking.k8s.io", "gateways"): {"get"},
            ("coordination.k8s.io", "leases"): READ,
            ("", "configmaps"): READ,
            ("", "pods"): READ,
            ("", "events"): READ,
        }
    },
    ("penstock", "penstock-server"): {},
    ("penstock-mlflow", "penstock-mlflow"): {},
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_account_has_exactly_these_rights(
    overlay: str, build: Callable[[str], list[dict[str, Any]]]
) -> None:
    resources = build(overlay)
    accounts = {
        (r["metadata"]["namespace"], r["metadata"]["name"])
        for r in resources
        if r["kind"] == "ServiceAccount"
    }
    assert {account: rights(resources, account) for account in accounts} == TABLE


GUARDIAN: dict[str, Rights] = {
    "penstock": {
        ("serving.kserve.io", "inferenceservices"): {"get", "list", "create", "update", "delete"},
        ("serving.kserve.io", "servingruntimes"): {"get"},
        ("gateway.networking.k8s.io", "httproutes"): {"get", "update"},
        ("gateway.networking.k8s.io", "gateways"): {"get"},
        ("coordination.k8s.io", "leases"): {"get", "create", "update"},
        ("", "configmaps"): {"get", "list", "create", "update", "delete"},
        ("", "pods"): {"list"},
        ("", "pods/log"): {"get"},
    }
}


def test_what_acts_by_itself_and_has_experiments_and_an_engine_may_do_besides(
    optional: list[dict[str, Any]],
) -> None:
    engine = {
        ("kubernetes.dask.org", "daskclusters"): {"get", "list", "create", "delete"},
        ("", "pods"): {"get", "list"},
        ("apps", "deployments"): {"list"},
    }
    assert rights(optional, ("kubeflow", "penstock-pipeline")) == {"kubeflow": RUN | engine}
    account = ("kubeflow", "penstock-deployer")
    held, before = rights(optional, account), TABLE[account]
    seen = engine | {("argoproj.io", "workflows"): {"list"}}
    verbs = {"get", "create", "update", "delete"}
    proxy = {("apps", "deployments"): verbs, ("", "services"): verbs}
    assert held == before | {
        "kubeflow": before["kubeflow"] | seen,
        "penstock": before["penstock"] | proxy,
    }


def test_the_guardian_has_less_than_who_deploys_and_an_account_of_its_own(
    optional: list[dict[str, Any]],
) -> None:
    held = rights(optional, ("penstock-guardian", "penstock-guardian"))
    assert held == GUARDIAN
    deployer = TABLE["kubeflow", "penstock-deployer"]["penstock"]
    assert all(verbs <= deployer[kind] for kind, verbs in held["penstock"].items())
    deployment = one(optional, "Deployment", "penstock-guardian", "penstock-guardian")
    pod = deployment["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], deployment["spec"]["replicas"]) == ("penstock-guardian", 1)
    # Its password of MLflow is where nobody else makes pods.
    assert {s for s in wiring.secrets_named(optional) if s[0] == "penstock-guardian"} == {
        ("penstock-guardian", "penstock-guardian")
    }
    for binding in (r for r in optional if r["kind"] == "RoleBinding"):
        assert binding["metadata"]["namespace"] != "penstock-guardian"


def test_the_guardian_is_told_what_the_command_takes(optional: list[dict[str, Any]]) -> None:
    from penstock.pipelines.cli import parser

    deployment = one(optional, "Deployment", "penstock-guardian", "penstock-guardian")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "penstock.pipelines"]
    options = parser().parse_args(container["args"])
    assert (options.guard_only, options.metrics_host) == (True, "0.0.0.0")
    assert [options.metrics_port] == [port["containerPort"] for port in container["ports"]]
    (volume,) = (v for v in container["volumeMounts"] if v["name"] == "project")
    assert options.project == Path(volume["mountPath"]) / "project.yaml"


def peers(policy: dict[str, Any]) -> set[tuple[str, int]]:
    """Whom a policy opens to, and at which port."""
    found = set()
    for direction, to in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(direction, ()):
            for peer in rule[to]:
                labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
                where = labels.get("kubernetes.io/metadata.name") or peer["ipBlock"]["cidr"]
                found |= {(f"{to} {where}", port["port"]) for port in rule["ports"]}
    return found


def test_what_the_guardian_and_the_captures_reach(optional: list[dict[str, Any]]) -> None:
    policies = [r for r in optional if r["kind"] == "NetworkPolicy"]
    mine = [p for p in policies if p["metadata"]["namespace"] == "penstock-guardian"]
    assert set().union(*map(peers, mine)) == {
        ("to kube-system", 53),
        ("to 0.0.0.0/0", 443),
        ("to 0.0.0.0/0", 6443),
        ("to penstock-mlflow", 5000),
        ("to monitoring", 9090),
        ("from monitoring", 9105),
        ("to envoy-gateway-system", 10080),
        ("to envoy-gateway-system", 10443),
    }
    shipping = one(optional, "NetworkPolicy", "models-to-captures-store", "penstock")
    assert peers(shipping) == {("to 0.0.0.0/0", 443)}
    for policy in (*mine, shipping):
        for rule in policy["spec"].get("egress", ()):
            blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
            assert all("169.254.0.0/16" in block["except"] for block in blocks)


def test_who_submits_may_be_given_one_account_and_nobody_is_given_any(
    build: Callable[[str], list[dict[str, Any]]],
) -> None:
    resources = build("production")
    for name, account in (
        ("penstock-submit", "penstock-pipeline"),
        ("penstock-submit-deployer", "penstock-deployer"),
    ):
        assert one(resources, "Role", name, "kubeflow")["rules"] == [
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts"],
                "resourceNames": [account],
                "verbs": ["use"],
            }
        ]
        assert one(resources, "ServiceAccount", account, "kubeflow")
        bound = [
            r for r in resources if r["kind"] == "RoleBinding" and r["roleRef"]["name"] == name
        ]
        assert bound == []


def test_kubeflow_is_told_the_accounts_of_our_runs() -> None:
    patch = yaml.safe_load((MANIFESTS / "kubeflow/allowed-accounts.yaml").read_text())
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    ours = [name for place, name in TABLE if place == "kubeflow"]
    assert container["env"] == [{"name": "ALLOWEDSERVICEACCOUNTS", "value": ",".join(ours)}]


SERVED = {"penstock-object-store", "penstock-gateway-tls", "penstock-endpoint-keys"}
"""Secrets among the models: of the store that model servers read, and of their gateway."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_decisions_rest_on_is_out_of_reach(
    overlay: str, build: Callable[[str], list[dict[str, Any]]]
) -> None:
    """No account has a right where MLflow is, nor may it make a pod there by another way.

    An InferenceService carries any pod, with any account, Secret, ConfigMap and volume of its
    namespace: making one counts as having them all.
    """
    resources = build(overlay)
    home = {
        r["metadata"]["namespace"]
        for r in resources
        if r["kind"] in ("Deployment", "Service") and r["metadata"]["name"] == "mlflow"
    }
    settings = [r for r in resources if r["kind"] == "ConfigMap" and "mlflow" in str(r["metadata"])]
    assert settings
    assert home == {r["metadata"]["namespace"] for r in settings}
    (place,) = home
    runs_pods = set()
    for each in (r for r in resources if r["kind"] in ("RoleBinding", "ClusterRoleBinding")):
        assert each["kind"] == "RoleBinding"
        for account in ((s["namespace"], s["name"]) for s in each["subjects"]):
            held = rights(resources, account)
            assert place not in held
            runs_pods |= {
                where
                for where, of_kind in held.items()
                if "create" in of_kind.get(("serving.kserve.io", "inferenceservices"), ())
            }
    assert runs_pods == {"penstock"}
    # What lies where pods can be made: model servers' own, and nothing that writes.
    assert {n for where, n in wiring.secrets_named(resources) if where in runs_pods} <= SERVED
    for claim in (r for r in resources if r["kind"] == "PersistentVolumeClaim"):
        if claim["metadata"]["namespace"] in runs_pods:
            assert claim["spec"]["accessModes"] == ["ReadOnlyMany"]
    for account in TABLE:
        if account[0] in runs_pods:
            verbs = set().union(
                *(v for of_kind in TABLE[account].values() for v in of_kind.values())
            )
            assert verbs <= READ


def test_mlflow_answers_to_the_name_that_its_service_has(
    build: Callable[[str], list[dict[str, Any]]],
) -> None:
    service = one(build("kind"), "Service", "mlflow", "penstock-mlflow")["metadata"]
    deployment = one(build("kind"), "Deployment", "mlflow", "penstock-mlflow")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (hosts,) = (a for a in container["args"] if a.startswith("--allowed-hosts="))
    called = f"{service['name']}.{service['namespace']}:5000"
    assert called in hosts.partition("=")[2].split(",")
    project = (ROOT / "docs/kind-project.yaml").read_text()
    assert f"tracking_uri: http://{called}\n" in project


@pytest.mark.parametrize("overlay", ["kind", "minikube"])
def test_models_read_the_folder_that_mlflow_writes(
    overlay: str, build: Callable[[str], list[dict[str, Any]]]
) -> None:
    resources = build(overlay)
    volumes = {}
    for place in ("penstock-mlflow", "penstock"):
        claim = one(resources, "PersistentVolumeClaim", "mlflow-artifacts", place)["spec"]
        volume = one(resources, "PersistentVolume", claim["volumeName"], None)["spec"]
        assert volume["claimRef"] == {"namespace": place, "name": "mlflow-artifacts"}
        assert volume["storageClassName"] == claim["storageClassName"] == ""
        assert volume["accessModes"] == claim["accessModes"]
        volumes[place] = volume["local"]["path"]
    assert len(set(volumes.values())) == 1
    script = (ROOT / "scripts/cluster.sh").read_text()
    assert f"\nARTIFACTS={volumes['penstock']} " in script


def test_every_overlay_passes_the_check(
    build: Callable[[str], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    for overlay in OVERLAYS:
        assert f"manifests/overlays/{overlay}: " in said
    # Without their definitions, these must be named: nobody may take them for checked.
    assert "NOT CHECKED AGAINST A SCHEMA: gateway.networking.k8s.io/v1 Gateway" in said


def test_what_no_schema_was_found_for_is_a_problem_when_strict(
    build: Callable[[str], list[dict[str, Any]]],
) -> None:
    assert main(["--strict", str(MANIFESTS / "overlays/kind")]) == 1


def test_a_folder_of_definitions_is_used_strictly(
    build: Callable[[str], list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec: dict[str, Any] = {
        "type": "object",
        "properties": {"gatewayClassName": {"type": "string"}},
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    definition = {
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "gateway.networking.k8s.io",
            "names": {"kind": "Gateway"},
            "versions": [{"name": "v1", "schema": schema}],
        },
    }
    (tmp_path / "gateways.yaml").write_text(yaml.safe_dump(definition))
    overlay = str(MANIFESTS / "overlays/production")
    assert main(["--crds", str(tmp_path), overlay]) == 1
    said = capsys.readouterr().out
    assert "Gateway penstock/penstock: spec: Additional properties are not allowed" in said
    spec["x-kubernetes-preserve-unknown-fields"] = True
    (tmp_path / "gateways.yaml").write_text(yaml.safe_dump(definition))
    assert main(["--crds", str(tmp_path), overlay]) == 0


def test_nothing_is_checked_in_silence_where_no_tool_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([]) == 2
    assert (
        "neither kustomize nor kubectl is here, so nothing was checked" in capsys.readouterr().err
    )


def test_a_kustomize_that_is_too_old_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kustomize").write_text("#!/bin/sh\necho v4.5.7\n")
    (tmp_path / "kustomize").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert main([]) == 2
    assert "kustomize has kustomize 4.5.7, older than" in capsys.readouterr().err


def test_production_has_tls_alone_and_two_of_what_must_not_stop(
    build: Callable[[str], list[dict[str, Any]]],
) -> None:
    resources = build("production")
    gateway = one(resources, "Gateway", "penstock", "penstock")
    assert [listener["protocol"] for listener in gateway["spec"]["listeners"]] == ["HTTPS"]
    assert one(resources, "Deployment", "mlflow", "penstock-mlflow")["spec"]["replicas"] == 2
    server = one(resources, "ServiceAccount", "penstock-server", "penstock")
    assert server["secrets"] == [{"name": "penstock-object-store"}]
    assert server["automountServiceAccountToken"] is False
    assert not [r for r in resources if r["kind"] == "PersistentVolumeClaim"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_route_is_in_the_manifests(
    overlay: str, build: Callable[[str], list[dict[str, Any]]]
) -> None:
    # The rollout's router owns a route's weights: an apply would reset them.
    assert not [r for r in build(overlay) if r["kind"] in ("HTTPRoute", "InferenceService")]


def runtime() -> dict[str, Any]:
    (resource,) = documents((MANIFESTS / "base/serving-runtime.yaml").read_text())
    return dict(resource)


def test_the_server_takes_the_runtimes_arguments() -> None:
    (container,) = runtime()["spec"]["containers"]
    given = ["--name", "m", "--version", "3", "--digest", "sha256:a", "--export", "sha256:b"]
    options = launch.parser("server", "").parse_args([*container["args"], *given])
    assert (str(options.model), options.host) == ("/mnt/models", "0.0.0.0")
    assert [options.port] == [port["containerPort"] for port in container["ports"]]


def test_the_probes_ask_what_the_server_answers() -> None:
    from penstock.serving import app

    (container,) = runtime()["spec"]["containers"]
    source = Path(app.__file__).read_text()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert f'"{container[probe]["httpGet"]["path"]}"' in source


def test_the_clusters_runtime_is_the_namespaces() -> None:
    text = (MANIFESTS / "components/cluster-serving-runtime/runtime.yaml").read_text()
    (cluster,) = documents(text)
    assert cluster["spec"] == runtime()["spec"]


def rules() -> list[dict[str, Any]]:
    (resource,) = documents((MANIFESTS / "components/monitoring/rules.yaml").read_text())
    return [rule for group in resource["spec"]["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each series of a real server, of a monitor's port and of a trigger, and its labels."""
    import numpy as np
    from experiment_parts import PLAN, READING, rollout

    from penstock.captures.files import Bounds
    from penstock.monitoring.exporter import exposition
    from penstock.monitoring.settings.monitoring import MonitoringSpec
    from penstock.records.dataset import Column
    from penstock.records.monitoring import MonitorState
    from penstock.rollout.experiment import exporter as experiments
    from penstock.rollout.proxy.pod_metrics import PodMetrics
    from penstock.rollout.proxy.routing_table import RoutingTable
    from penstock.rollout.proxy.spool import SpooledEvents
    from penstock.triggers import exporter as triggers
    from penstock.triggers.store import TriggerStore

    record = Model(
        name="m", task="binary", target="t", classes=("a", "b"), positive="b", threshold=0.5,
        columns=(Column(name="job", type="string"),), metric="roc_auc", score=0.9, parameters={},
        dataset="xxh3-128:00000000000000000000000000000001", seed=0, commit="c", libraries={},
        trusted_types=(),
    )  # fmt: skip
    metrics = ServingMetrics(
        name="m", version="1", record=record, runtime="onnx", digest="sha256:a",
        missing={"job": 0.25},
    )  # fmt: skip
    metrics.answered(500, "v1", "live", 0.1)
    metrics.scored(np.array([0.5]), ["yes"], origin="live", missing={"job": 1}, unseen={"job": 1})
    metrics.watch(Supervised("capture", lambda: None))
    metrics.watch_spool(tmp_path_factory.mktemp("spool"))
    state = MonitorState(service="m", time=datetime.now(UTC))
    said = metrics.exposition("text/plain")[0].decode() + exposition(state, spec=MonitoringSpec())
    series: dict[str, set[str]] = {}
    store = TriggerStore(tmp_path_factory.mktemp("trigger") / "trigger.db")
    ended = experiments.Standing(rollout(outcome="rolled_back"), PLAN, READING, (), driven=False)
    events = SpooledEvents(
        tmp_path_factory.mktemp("events"),
        bounds=Bounds(file_bytes=1 << 20, seconds=60, spool_bytes=1 << 22),
        service="m",
        experiment="e",
    )
    for family in (
        *experiments.families(ended, service="m"),
        *PodMetrics(RoutingTable(), events, service="m").collect(),
        *triggers.families(store, service="m", at_work=True),
    ):
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    events.close()
    for line in said.splitlines():
        if not line.startswith("#"):
            name, _, labels = line.partition("{")
            series.setdefault(name.split()[0], set()).update(re.findall(r'(\w+)="', labels))
    # What Prometheus says of a target itself, and what a rule makes.
    target = {"namespace", "pod", "job"}
    series["up"] = target
    series["process_start_time_seconds"] |= target
    for rule in rules():
        if "record" in rule:
            grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
            series[rule["record"]] = {label for each in grouped for label in each.split(", ")}
    return series


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_alerts_speak_of_series_and_labels_that_there_are(
    rule: dict[str, Any], exposed: dict[str, set[str]]
) -> None:
    named = set(re.findall(r"\bpenstock[_:][\w:]+|\bup\b|\bprocess_\w+", rule["expr"]))
    assert named
    assert named <= exposed.keys()
    known = set.union(*(exposed[name] for name in named)) | {"namespace", "pod"}
    grouped = {x for g in re.findall(r"by \(([^)]*)\)", rule["expr"]) for x in g.split(", ")}
    matched = set(re.findall(r"(\w+)(?:=~|!=|=)\"", rule["expr"]))
    assert grouped | matched <= known
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert shown <= (grouped or known)


def test_a_rollout_asks_prometheus_for_what_the_pods_have(exposed: dict[str, set[str]]) -> None:
    """The PodMonitor itself adds `namespace` and `pod`, as its operator does to each target."""
    needed = {"requests": "code", "seconds": "le", "scores": "le", "predicted": "label"}
    for name, query in QueriesSpec():
        metric, _, matchers = query.removeprefix("timestamp(").partition("{")
        matched = set(re.findall(r"(\w+)=~?\"", matchers))
        assert matched <= exposed[metric] | {"namespace"}, name
        assert {"namespace", "model", "model_version"} <= matched, name
        assert needed.get(name, "model") in exposed[metric], name
    monitors = documents((MANIFESTS / "components/monitoring/scrape.yaml").read_text())
    (monitor,) = [one for one in monitors if one["metadata"]["name"] == "penstock-models"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    seconds = int(endpoint["interval"].removesuffix("s"))
    assert 2 * seconds < PrometheusSpec().stale_after
    # Any of these could take away what tells pods and versions apart.
    assert not {"honorLabels", "relabelings", "metricRelabelings"} & endpoint.keys()
    selected = monitor["spec"]["selector"]["matchLabels"]
    assert selected.items() <= runtime()["spec"]["labels"].items()


def test_versions_are_those_of_the_lock_and_of_each_other() -> None:
    versions = read_versions()
    lock = (ROOT / "requirements.lock").read_text()
    for name, package in (("MLFLOW", "mlflow"), ("KSERVE", "kserve"), ("KFP", "kfp")):
        assert f"\n{package}=={versions[f'{name}_VERSION']} " in f"\n{lock}"
    kubernetes = versions["KUBERNETES_VERSION"]
    assert versions["KIND_NODE_IMAGE"].startswith(f"kindest/node:v{kubernetes}@sha256:")
    assert kubernetes.startswith(versions["POD_SECURITY_VERSION"] + ".")
    labels = next(documents((MANIFESTS / "base/namespace.yaml").read_text()))["metadata"]["labels"]
    levels = {value for key, value in labels.items() if key.endswith("-version")}
    assert levels == {f"v{versions['POD_SECURITY_VERSION']}"}
    for name in ("CERT_MANAGER", "ENVOY_GATEWAY", "KSERVE"):
        assert f"/v{versions[f'{name}_VERSION']}/" in versions[f"{name}_URL"]
        assert re.fullmatch(r"([0-9a-f]{64})?", versions[f"{name}_SHA256"])
    assert re.fullmatch(r"[0-9a-f]{40}", versions["KFP_COMMIT"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlays_images_are_named_in_one_place_with_our_version(overlay: str) -> None:
    text = (MANIFESTS / "overlays" / overlay / "kustomization.yaml").read_text()
    images = yaml.safe_load(text)["images"]
    assert [(i["name"], i["newTag"]) for i in images] == [
        ("penstock/mlflow", penstock.__version__),
        ("penstock/serving", penstock.__version__),
    ]


def test_no_opening_leads_to_a_clouds_metadata_service() -> None:
    for path in MANIFESTS.glob("**/*.yaml"):
        for resource in documents(path.read_text()):
            for rule in resource.get("spec", {}).get("egress", ()) if "spec" in resource else ():
                for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
                    assert "169.254.0.0/16" in block["except"], path
