"""What `make` asks of the container tools: stand-ins write down what they are called with.

A mock, because kind, minikube, scanners and registries are not where these tests run; that docker
builds and runs the images is tests/image.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import penstock
from penstock.common.files import digest_of_file

ROOT = Path(__file__).parents[3]
NAMES = ("data", "train", "deploy", "serving", "monitor", "score", "mlflow")
TAGS = [f"penstock/{name}:{penstock.__version__}" for name in NAMES]

pytestmark = pytest.mark.skipif(
    not shutil.which("make"), reason="NOT TESTED: make is not here. Install it"
)


@dataclass
class Tools:
    """A PATH that holds what `make` needs, and stand-ins."""

    folder: Path

    def add(self, name: str, script: str = "") -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.folder}/calls"\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        written = self.folder / "calls"
        return written.read_text().splitlines() if written.exists() else []

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        # Variables of a `make` that runs these tests would count for this one too.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(
            command, cwd=ROOT, env=kept | {"PATH": str(self.folder)}, capture_output=True, text=True
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # The environment that runs this is the one that `setup` would make.
        given = ["-o", "setup", f"BIN={Path(sys.executable).parent}"]
        return self.run("make", *given, *arguments)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """With a container engine and nothing else."""
    for name in ("make", "sh", "sed", "git", "awk", "cat", "sha256sum"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    made = Tools(tmp_path)
    made.add("docker")
    return made


def built(calls: list[str]) -> list[str]:
    return [call.split()[-2] for call in calls if call.startswith("docker build ")]


def test_images_are_built_of_the_base_and_version_that_are_named(tools: Tools) -> None:
    done = tools.make("images", "BASE=mine@sha256:0")
    assert done.returncode == 0, done.stderr
    assert built(tools.calls()) == TAGS
    for call in tools.calls():
        assert f"--build-arg BASE=mine@sha256:0 --build-arg VERSION={penstock.__version__}" in call


def test_each_image_is_labelled_with_its_commit_and_the_digest_of_its_lock(tools: Tools) -> None:
    assert tools.make("images").returncode == 0
    commit = tools.run("git", "rev-parse", "HEAD").stdout.strip()
    for name, call in zip(NAMES, tools.calls(), strict=True):
        lock = digest_of_file(ROOT / f"images/locks/{name}.txt")
        assert f"--build-arg REVISION={commit}" in call
        assert f"--build-arg LOCK={lock} --target {name} " in call
    # What is installed from two locks is known by both.
    assert tools.make("image-train-boosting").returncode == 0
    both = [(ROOT / f"images/locks/{name}.txt").read_bytes() for name in ("train", "boosting")]
    assert f"LOCK=sha256:{hashlib.sha256(b''.join(both)).hexdigest()} " in tools.calls()[-1]
    stages = (ROOT / "images/Dockerfile").read_text().split("\nFROM ")
    final = [stage for stage in stages if "image.title=" in stage]
    # Beside those of `make images`: train-boosting and feast.
    assert len(final) == len(NAMES) + 2
    for stage in final:
        assert '      penstock.lock="${LOCK}"\n' in f"{stage}\n"


def test_every_image_of_the_dockerfile_is_built_for_their_tests(tools: Tools) -> None:
    """Those that `make images` leaves out too: tests run in them."""
    tools.add("pytest")
    assert tools.run("make", "-o", "setup", f"BIN={tools.folder}", "test-images").returncode == 0
    text = (ROOT / "images/Dockerfile").read_text()
    every = re.findall(r'image\.title="penstock/(\S+)"', text)
    assert sorted(built(tools.calls())) == sorted(
        f"penstock/{name}:{penstock.__version__}" for name in every
    )
    assert tools.calls()[-1] == "pytest tests/image"


def test_each_image_holds_what_its_stages_leave_where_they_leave_it() -> None:
    text = (ROOT / "images/Dockerfile").read_text()
    for name in re.findall(r'image\.title="penstock/(\S+)"', text):
        stage = text.split(f"\nFROM runtime AS {name}\n")[1].split("\nFROM ")[0]
        copied = re.findall(r"^COPY .*", stage, flags=re.MULTILINE)
        library = [] if name == "mlflow" else ["COPY --from=library /build/image /opt"]
        assert copied == [f"COPY --from={name}-environment /build/image /opt", *library]


def test_what_is_pushed_for_all_platforms_has_an_attestation_of_its_build(tools: Tools) -> None:
    done = tools.make("push-all-platforms", "REGISTRY=here")
    assert done.returncode == 0, done.stderr
    pushed = [call for call in tools.calls() if " --push " in call]
    assert [call.split()[-2] for call in pushed] == [
        f"here/{name}:{penstock.__version__}" for name in NAMES
    ]
    # Not mode=max, which writes down the values of build arguments.
    assert all("--provenance=mode=min" in call and "LOCK=sha256:" in call for call in pushed)
    tools.add("docker", 'case "$*" in *here/deploy*) exit 7 ;; esac')
    assert tools.make("push-all-platforms", "REGISTRY=here").returncode != 0
    assert "here/deploy:" in tools.calls()[-1]


def test_kind_is_given_every_image(tools: Tools) -> None:
    tools.add("kind")
    done = tools.make("kind-load", "KIND_CLUSTER=mine")
    assert done.returncode == 0, done.stderr
    assert built(tools.calls()) == TAGS
    assert tools.calls()[-1] == f"kind load docker-image {' '.join(TAGS)} --name mine"


def test_minikube_is_given_every_image(tools: Tools) -> None:
    tools.add("minikube")
    done = tools.make("minikube-load", "MINIKUBE_PROFILE=mine")
    assert done.returncode == 0, done.stderr
    assert built(tools.calls()) == TAGS
    assert tools.calls()[-len(TAGS) :] == [
        f"minikube --profile mine image load {tag}" for tag in TAGS
    ]


def test_an_image_that_minikube_does_not_take_is_not_passed_over(tools: Tools) -> None:
    tools.add("minikube", 'case "$*" in *train*) exit 7 ;; esac')
    assert tools.make("minikube-load").returncode != 0
    assert tools.calls()[-1] == f"minikube --profile penstock image load {TAGS[1]}"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("kind-load", "There is no kind here: see https://"),
        ("minikube-load", "There is no minikube here: see https://"),
        ("images-scan", "Nothing was scanned: install trivy (https://"),
        ("push", "Say where to: REGISTRY="),
        ("push-all-platforms", "Say where to: REGISTRY="),
    ],
)
def test_what_is_missing_is_said_before_anything_is_built(
    tools: Tools, target: str, said: str
) -> None:
    done = tools.make(target)
    assert done.returncode != 0
    assert done.stdout.startswith(said)
    assert tools.calls() == []


def test_an_engine_that_is_missing_is_said(tools: Tools) -> None:
    for target in ("images", "kind-load"):
        tools.add("kind")
        done = tools.make(target, "DOCKER=podman")
        assert done.returncode != 0
        assert done.stdout.startswith("There is no podman here: see https://")
    tools.add("docker", "exit 1")
    done = tools.make("push-all-platforms", "REGISTRY=here")
    assert done.returncode != 0
    assert done.stdout.startswith("docker has no buildx: see https://")
    assert tools.calls() == ["docker buildx version"]


@pytest.mark.parametrize(
    ("scanner", "call"),
    [
        ("trivy", "trivy image --exit-code 1 --ignore-unfixed {}"),
        pytest.param(
            "grype", "grype --only-fixed --fail-on high docker:{}", marks=pytest.mark.long
        ),
        pytest.param("osv-scanner", "osv-scanner scan image {}", marks=pytest.mark.long),
    ],
)
def test_every_image_is_scanned_and_one_finding_fails(
    tools: Tools, scanner: str, call: str
) -> None:
    tools.add(scanner)
    assert tools.make("images-scan").returncode == 0
    assert tools.calls()[-len(TAGS) :] == [call.format(tag) for tag in TAGS]
    tools.add(scanner, 'case "$*" in *data*) exit 1 ;; esac')
    assert tools.make("images-scan").returncode != 0
    assert tools.calls()[-len(TAGS) :] == [call.format(tag) for tag in TAGS]


def test_a_scan_asks_no_service_where_advisories_are_named(tools: Tools) -> None:
    tools.add("osv-scanner")
    assert tools.make("images-scan", "ADVISORIES=there").returncode == 0
    offline = "osv-scanner scan image --offline-vulnerabilities --local-db-path=there"
    assert tools.calls()[-len(TAGS) :] == [f"{offline} {tag}" for tag in TAGS]


@pytest.fixture
def saved(tools: Tools) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`saved(layer, layer)` compares two images of one layer each: contents and times by name."""

    def compare(*layers: dict[str, tuple[str, int]]) -> subprocess.CompletedProcess[str]:
        for name, layer in zip(("first", "again"), layers, strict=True):
            with tarfile.open(tools.folder / "layer.tar", "w") as archive:
                for path, (content, when) in layer.items():
                    entry = tarfile.TarInfo(path)
                    entry.size, entry.mtime = len(content), when
                    archive.addfile(entry, io.BytesIO(content.encode()))
            (tools.folder / "manifest.json").write_text('[{"Layers": ["layer.tar"]}]')
            with tarfile.open(tools.folder / f"{name}.tar", "w") as archive:
                for part in ("manifest.json", "layer.tar"):
                    archive.add(tools.folder / part, part)
        tools.add("docker", f'cat "{tools.folder}/$2.tar"')
        return tools.run(sys.executable, "scripts/image_layers.py", "first", "again")

    return compare


@pytest.mark.parametrize(
    ("layer", "said", "code"),
    [
        ({"a": ("x", 1), ".wh.b": ("", 1)}, "first layer 0: sha256:", 0),
        ({"a": ("x", 1), ".wh.b": ("", 2)}, "the same but for the times of 1 deletions", 0),
        ({"a": ("x", 2), ".wh.b": ("", 1)}, "1 entries differ: a", 1),
        ({"a": ("y", 1), ".wh.b": ("", 2)}, "1 entries differ: a", 1),
        ({"a": ("x", 1), ".wh.b": ("", 1), "c": ("", 1)}, "1 entries differ: c", 1),
        ({".wh.b": ("", 1), "a": ("x", 1)}, "0 entries differ: their order", 1),
    ],
)
def test_layers_are_the_same_or_what_differs_is_named(
    saved: Callable[..., subprocess.CompletedProcess[str]],
    layer: dict[str, tuple[str, int]],
    said: str,
    code: int,
) -> None:
    done = saved({"a": ("x", 1), ".wh.b": ("", 1)}, layer)
    assert said in done.stdout, done.stderr
    assert done.returncode == code


def test_each_image_is_built_from_nothing_to_be_compared(tools: Tools) -> None:
    tools.add("docker", 'case "$1" in save) exit 1 ;; esac')
    # An image that cannot be saved is not taken for the same.
    assert tools.make("reproduced-score").returncode != 0
    first, again, save = tools.calls()
    assert " --no-cache " in again
    assert " --no-cache " not in first
    assert again.split()[-2] == "penstock/score:again"
    assert save == f"docker save penstock/score:{penstock.__version__}"


def test_advisories_are_packed_as_osv_scanner_reads_them(tmp_path: Path) -> None:
    place = tmp_path / "clone" / "vulns" / "thing"
    place.mkdir(parents=True)
    written = "id: PYSEC-1\nmodified: 2024-10-10T17:22:00.587Z\naffected: [{versions: ['1.0']}]\n"
    (place / "PYSEC-1.yaml").write_text(written)
    pack = [sys.executable, ROOT / "scripts" / "offline_advisories.py"]
    done = subprocess.run(
        [*pack, tmp_path / "clone", tmp_path / "packed"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("1 advisories, the newest of 2024-10-10T17:22:00.587Z")
    with zipfile.ZipFile(tmp_path / "packed" / "osv-scanner" / "PyPI" / "all.zip") as archive:
        assert json.loads(archive.read("PYSEC-1.json")) == {
            "id": "PYSEC-1",
            "modified": "2024-10-10T17:22:00.587Z",
            "affected": [{"versions": ["1.0"]}],
        }
    none = subprocess.run([*pack, tmp_path, tmp_path / "none"], capture_output=True, text=True)
    assert none.returncode == 1
    assert "name a clone of the database" in none.stderr
    assert not (tmp_path / "none").exists()


def test_a_push_writes_the_digests_that_the_registry_gave(tools: Tools, tmp_path: Path) -> None:
    digest = "sha256:" + "b" * 64
    # An image that was pushed elsewhere before has that registry's digest too.
    tools.add(
        "docker",
        'case "$*" in *inspect*) tag="${5%:*}"; '
        f'echo "[\\"elsewhere/x@sha256:0\\", \\"$tag@{digest}\\"]" ;; esac',
    )
    written = tmp_path / "digests.json"
    push = [sys.executable, "scripts/image_push.py", "here:5000/ml/", "--output", str(written)]
    done = tools.run(*push)
    assert done.returncode == 0, done.stderr
    assert json.loads(written.read_text()) == {
        "version": penstock.__version__,
        "images": {name: f"here:5000/ml/{name}@{digest}" for name in NAMES},
    }
    pushed = [call for call in tools.calls() if call.startswith("docker push")]
    assert pushed == [f"docker push here:5000/ml/{name}:{penstock.__version__}" for name in NAMES]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('case "$*" in push*serving*) exit 1 ;; *inspect*) tag="${5%:*}"; '
         'echo "[\\"$tag@sha256:1\\"]" ;; esac', "failed: docker push here/serving"),
        ('case "$*" in *inspect*) echo null ;; esac', "here/data named no digest"),
    ],
)  # fmt: skip
def test_a_push_that_fails_leaves_the_old_digests(
    tools: Tools, tmp_path: Path, script: str, said: str
) -> None:
    tools.add("docker", script)
    written = tmp_path / "digests.json"
    written.write_text("as it was")
    done = tools.run(sys.executable, "scripts/image_push.py", "here", "--output", str(written))
    assert done.returncode != 0
    assert said in done.stderr
    assert written.read_text() == "as it was"


def test_syft_lists_the_whole_image_where_it_is_installed(tools: Tools, tmp_path: Path) -> None:
    tools.add("syft", 'echo \'{"components": [1, 2]}\' > "${3#*=}"')
    output = tmp_path / "sbom"
    done = tools.run(sys.executable, "scripts/image_sbom.py", *TAGS, "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in output.iterdir()) == sorted(NAMES)
    assert done.stdout.count("2 components (whole image)") == len(TAGS)
