"""`make cluster-up` against stand-ins for kind, minikube and kubectl: no cluster can be made here.

They record every call and keep what a cluster would keep. What no stand-in shows is whether the
real tools take these calls.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import penstock

ROOT = Path(__file__).parents[3]
TOOLS = ("kind", "minikube", "kubectl", "docker", "curl", "git", "sleep")


@dataclass
class Machine:
    """A machine on which only stand-ins are found, besides what every machine has."""

    home: Path

    def __call__(self, *arguments: str, fail: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.home / 'bin'}:/usr/bin:/bin",
            "STUB": str(self.home),
            "FAIL": fail,
            "CLUSTER_FILES": str(self.home / "files"),
            "CLUSTER_PAUSE": "0",
            "HOME": os.environ.get("HOME", "/"),
        }
        return subprocess.run(
            [str(ROOT / "scripts/cluster.sh"), *arguments],
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def calls(self) -> list[str]:
        """Every call since the last look."""
        log = self.home / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines

    def write(self, name: str, text: str) -> None:
        (self.home / name).write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(Path(__file__).parent / "stub_tool.sh")
    (tmp_path / "version").write_text(penstock.__version__)
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("cluster", "context"),
    [("kind", "kind-penstock"), pytest.param("minikube", "penstock", marks=pytest.mark.long)],
)
def test_up_installs_everything_in_order_into_its_own_context(
    machine: Machine, cluster: str, context: str
) -> None:
    done = machine("up", cluster)
    assert done.returncode == 0, done.stderr
    calls = machine.calls()
    told = [call for call in calls if call.startswith("kubectl ")]
    local = ("kubectl kustomize ", "kubectl config view --minify --context ")
    assert all(
        c.startswith(f"kubectl --context {context} ") for c in told if not c.startswith(local)
    )
    applied = [
        call.split("apply ")[1].split()[-1] for call in told if " apply --server-side" in call
    ]
    assert [Path(target.partition("?")[0]).name for target in applied] == [
        "cert-manager-1.21.2.yaml", "envoy-gateway-1.9.1.yaml", "kserve-0.21.0.yaml",
        "cluster-scoped-resources", "platform-agnostic", cluster,
    ]  # fmt: skip


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    assert machine("up", "kind").returncode == 0
    machine.calls()
    before = {p.name: p.read_text() for p in machine.home.glob("secret-*")}
    done = machine("up", "kind")
    assert done.returncode == 0, done.stderr
    calls = machine.calls()
    assert {p.name: p.read_text() for p in machine.home.glob("secret-*")} == before
    assert not [c for c in calls if "create cluster" in c or c.startswith("curl")]
    assert not [c for c in calls if "rollout restart" in c or "create secret" in c]
    assert not [c for c in calls if "patch deployment" in c]
    # Only what is ours is applied again: that is how a change of the manifests gets there.
    assert [c.split()[-1] for c in calls if " apply --server-side" in c] == [
        "manifests/overlays/kind"
    ]


def test_kubeflow_is_told_which_accounts_runs_may_have(machine: Machine) -> None:
    assert machine("up", "kind").returncode == 0
    (patch,) = (c for c in machine.calls() if "patch deployment ml-pipeline" in c)
    assert patch.endswith(
        "--namespace kubeflow --patch-file manifests/kubeflow/allowed-accounts.yaml"
    )


def test_a_step_that_was_not_finished_is_done_again(machine: Machine) -> None:
    failed = machine("up", "kind", fail="wait --namespace kserve")
    assert failed.returncode == 1
    machine.calls()
    assert machine("up", "kind").returncode == 0
    calls = "\n".join(machine.calls())
    assert "apply --server-side --force-conflicts -f" in calls
    assert "kserve-0.21.0.yaml" in calls
    assert "cert-manager-1.21.2.yaml" not in calls


def test_a_failure_says_what_is_not_ready_and_what_to_do(machine: Machine) -> None:
    machine.write(
        "pods",
        "good-1 1/1 Running 0 1m\ndone-1 0/1 Completed 0 1m\n"
        "pull-1 0/1 ImagePullBackOff 0 1m\ndead-1 0/1 CrashLoopBackOff 4 1m\n"
        "slow-1 0/1 Running 0 1m\nwait-1 0/1 Pending 0 1m\n"
        "conf-1 0/1 CreateContainerConfigError 0 1m\n",
    )
    done = machine("up", "kind", fail="wait --namespace kserve")
    assert done.returncode == 1
    said = done.stderr
    assert 'the step "KServe 0.21.0 in Standard mode" failed' in said
    assert "pod kserve/pull-1 is ImagePullBackOff\n   Its image cannot be pulled." in said
    assert "no such image" in said
    assert "pod kserve/dead-1 is CrashLoopBackOff\n   It starts and dies." in said
    assert "Traceback: the last line" in said
    assert "pod kserve/slow-1 is Running\n   It runs, but its readiness probe fails." in said
    assert "No node takes it" in said
    assert "A Secret or ConfigMap that it names is missing" in said
    assert "good-1" not in said
    assert "done-1" not in said
    assert not [c for c in machine.calls() if "kustomize/env" in c], "it went on after a failure"


def test_an_apply_that_fails_is_tried_again_and_then_given_up(machine: Machine) -> None:
    done = machine("up", "kind", fail="apply --server-side.*cert-manager")
    assert done.returncode == 1
    assert sum("apply --server-side" in call for call in machine.calls()) == 6
    assert "attempt 6 of 6 failed" in done.stderr


def test_a_context_that_leads_elsewhere_is_not_touched(machine: Machine) -> None:
    machine.write("server", "https://production.example.com")
    done = machine("up", "kind")
    assert done.returncode != 0
    assert "leads to 'https://production.example.com'" in done.stderr
    assert "Nothing was touched" in done.stderr
    touched = [c for c in machine.calls() if c.startswith("kubectl") and "config view" not in c]
    assert touched == []


def test_a_minikube_context_that_is_stale_is_not_touched(machine: Machine) -> None:
    machine.write("profile", "Misconfigured")
    done = machine("up", "minikube")
    assert done.returncode != 0
    assert "minikube update-context -p penstock" in done.stderr
    assert not [c for c in machine.calls() if c.startswith("kubectl")]


def test_passwords_are_random_and_in_no_command_line(machine: Machine, tmp_path: Path) -> None:
    assert machine("up", "kind").returncode == 0
    admin = dict(line.split("=") for line in (tmp_path / "secret-mlflow-admin").read_text().split())
    user = (tmp_path / "user").read_text().split()
    assert admin["username"] == "admin"
    assert user[0] == "penstock"
    secrets = {admin["password"], admin["flask-secret-key"], user[1]}
    assert len(secrets) == 3
    assert all(len(secret) == 48 for secret in secrets)
    log = "\n".join(machine.calls())
    assert not [secret for secret in secrets if secret in log]


def test_an_image_that_was_not_built_is_named(machine: Machine) -> None:
    machine.write("no-images", "")
    done = machine("up", "kind")
    assert done.returncode != 0
    assert f"image penstock/data:{penstock.__version__} is not on this machine" in done.stderr
    assert "make images" in done.stderr
    assert "what is not ready" not in done.stderr


@pytest.mark.parametrize("cluster", ["kind", pytest.param("minikube", marks=pytest.mark.long)])
def test_what_models_and_what_steps_run_is_loaded(machine: Machine, cluster: str) -> None:
    assert machine("up", cluster).returncode == 0
    names = ("data", "deploy", "mlflow", "serving", "train")
    wanted = [f"penstock/{name}:{penstock.__version__}" for name in names]
    loads = {
        "kind": [f"kind load docker-image {' '.join(wanted)} --name penstock"],
        "minikube": [f"minikube image load {image} -p penstock" for image in wanted],
    }
    assert [c for c in machine.calls() if " load " in c] == loads[cluster]


@pytest.mark.parametrize(
    ("cluster", "made"),
    [
        ("kind", "docker exec penstock-control-plane mkdir -p /data/penstock-artifacts"),
        pytest.param(
            "minikube",
            "minikube ssh -p penstock -- sudo mkdir -p /data/penstock-artifacts",
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_folder_of_artifacts_is_there_before_it_is_claimed(
    machine: Machine, cluster: str, made: str
) -> None:
    assert machine("up", cluster).returncode == 0
    calls = machine.calls()
    (applied,) = (n for n, c in enumerate(calls) if c.endswith(f"-k manifests/overlays/{cluster}"))
    assert calls.index(made) < applied


def test_an_overlay_that_cannot_be_built_ends_it(machine: Machine) -> None:
    done = machine("up", "kind", fail="^kubectl kustomize")
    assert done.returncode != 0
    assert not [c for c in machine.calls() if " load " in c]


def test_a_diagnosis_says_what_is_not_ready_everywhere(machine: Machine) -> None:
    assert machine("up", "kind").returncode == 0
    machine.calls()
    machine.write("pods", "good-1 1/1 Running 0 1m\npull-1 0/1 ImagePullBackOff 0 1m\n")
    done = machine("diagnose", "kind")
    assert done.returncode == 0, done.stderr
    for namespace in ("kubeflow", "penstock", "kserve", "envoy-gateway-system"):
        assert f"what is not ready in {namespace}" in done.stdout
        assert f"pod {namespace}/pull-1 is ImagePullBackOff" in done.stdout
    assert "good-1 is" not in done.stdout
    assert not [c for c in machine.calls() if " apply " in c or " create " in c]


def test_a_diagnosis_goes_on_behind_a_pod_that_has_no_log(machine: Machine) -> None:
    assert machine("up", "kind").returncode == 0
    machine.write(
        "pods",
        "init-1 0/1 Init:0/1 0 1m\nconf-1 0/1 CreateContainerConfigError 0 1m\n"
        "wait-1 0/1 Pending 0 1m\ndead-1 0/1 CrashLoopBackOff 4 1m\n",
    )
    done = machine("diagnose", "kind")
    assert done.returncode == 0, done.stderr
    for namespace in ("kube-system", "penstock-mlflow"):
        for pod in ("init-1", "conf-1"):
            assert f"pod {namespace}/{pod} has no log:\nerror: container" in done.stdout
        assert f"pod {namespace}/wait-1 has no log\n" in done.stdout
        assert f"pod {namespace}/dead-1 has no log" not in done.stdout
    assert done.stdout.count("the last lines of its log:\n[pod/dead-1/x] Traceback") == 7


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        (r"get pods --all-namespaces", "The pods of all namespaces cannot be listed"),
        (r"get pods --namespace kserve", "Its pods cannot be listed: stub: refused"),
        (r"get pod dead-1 --namespace kserve", "pod kserve/dead-1 is gone"),
        (r"describe pod dead-1 --namespace kserve", "pod kserve/dead-1 is CrashLoopBackOff"),
        (r"logs dead-1 --namespace kserve", "stub: refused"),
        (r"get events --namespace kserve", "stub: refused"),
        (r"get namespace kserve$", "has no such namespace"),
    ],
)
def test_a_look_that_fails_does_not_end_a_diagnosis(machine: Machine, fail: str, said: str) -> None:
    assert machine("up", "kind").returncode == 0
    machine.write("pods", "dead-1 0/1 CrashLoopBackOff 4 1m\n")
    done = machine("diagnose", "kind", fail=fail)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "what is not ready in penstock-mlflow" in done.stdout
    assert "pod penstock-mlflow/dead-1 is CrashLoopBackOff" in done.stdout


def test_a_namespace_without_pods_has_none_to_explain(machine: Machine) -> None:
    assert machine("up", "kind").returncode == 0
    done = machine("diagnose", "kind")
    assert done.returncode == 0, done.stderr
    assert "-- pod " not in done.stdout
    assert "cannot be listed" not in done.stdout


def test_a_cluster_is_found_among_many(machine: Machine) -> None:
    assert machine("up", "kind").returncode == 0
    machine.write("other-clusters", "".join(f"other-{n}\n" for n in range(20_000)))
    machine.calls()
    done = machine("diagnose", "kind")
    assert done.returncode == 0, done.stderr


def test_a_diagnosis_of_nothing_says_so(machine: Machine) -> None:
    done = machine("diagnose", "kind")
    assert done.returncode != 0
    assert "no kind cluster penstock is there" in done.stderr


def test_a_download_that_fails_leaves_nothing_that_looks_whole(machine: Machine) -> None:
    done = machine("up", "kind", fail="^curl")
    assert done.returncode != 0
    assert "could not be downloaded" in done.stderr
    assert not list((machine.home / "files").glob("*.yaml"))


def test_a_file_that_is_not_pinned_is_said_to_be(machine: Machine) -> None:
    done = machine("up", "kind")
    assert "cert-manager-1.21.2 is not pinned by digest; this one is sha256 " in done.stderr


def test_a_file_that_is_not_the_pinned_one_is_refused(machine: Machine, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "manifests").mkdir(parents=True)
    versions = (ROOT / "manifests/versions.env").read_text()
    assert "\nCERT_MANAGER_SHA256=\n" in versions
    pinned = versions.replace("CERT_MANAGER_SHA256=", "CERT_MANAGER_SHA256=" + "0" * 64)
    (copy / "manifests/versions.env").write_text(pinned)
    (copy / "manifests/overlays").symlink_to(ROOT / "manifests/overlays")
    (copy / "scripts").mkdir()
    for script in ("cluster.sh", "cluster_diagnosis.sh"):
        (copy / "scripts" / script).write_text((ROOT / "scripts" / script).read_text())
    done = subprocess.run(
        ["bash", str(copy / "scripts/cluster.sh"), "up", "kind"],
        env={"PATH": f"{machine.home / 'bin'}:/usr/bin:/bin", "STUB": str(machine.home)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "and versions.env says 0000" in done.stderr
    assert not [c for c in machine.calls() if "apply" in c]


@pytest.mark.parametrize("cluster", ["kind", pytest.param("minikube", marks=pytest.mark.long)])
def test_down_takes_it_away_once(machine: Machine, cluster: str) -> None:
    assert machine("up", cluster).returncode == 0
    machine.calls()
    assert machine("down", cluster).returncode == 0
    deleted = [c for c in machine.calls() if " delete " in c]
    assert [c.split(" delete ")[0] for c in deleted] == [cluster]
    again = machine("down", cluster)
    assert again.returncode == 0
    assert f"no {cluster} cluster penstock is there" in again.stdout
    assert not [c for c in machine.calls() if " delete " in c]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "eks"), "CLUSTER is 'eks'"),
        (("up",), "CLUSTER is ''"),
        (("on", "kind"), "'on' is neither up, down nor diagnose"),
    ],
)
def test_other_words_are_refused(
    machine: Machine, arguments: tuple[str, ...], message: str
) -> None:
    done = machine(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert machine.calls() == []
