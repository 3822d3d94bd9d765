"""What is in each image, and what is not: checked in the image, not in the file that builds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from image_locks import left_out
from image_site import hardened
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import penstock
from penstock.common.files import digest_of_file
from penstock.components._image import Image, image

if TYPE_CHECKING:
    import docker

LOCKS = Path(__file__).parents[2] / "images" / "locks"
IMAGES: tuple[Image, ...] = ("data", "train", "deploy", "serving", "monitor", "score", "feast")

ABSENT = {
    "data": {"scikit-learn", "mlflow", "kserve", "onnx", "scipy", "altair", "grpcio"},
    "train": {"great-expectations", "duckdb", "kserve", "mlflow", "shap", "numba", "sqlalchemy"},
    "deploy": {
        "scikit-learn", "skops", "mlflow", "great-expectations", "kserve", "optuna", "pandas",
        "pyarrow", "matplotlib", "pillow", "google-auth",
    },
    "serving": {
        "great-expectations", "kfp", "kserve", "mlflow", "optuna", "matplotlib", "pyarrow",
        "kubernetes", "grpcio", "fastapi", "opentelemetry-api",
    },
    "monitor": {
        "great-expectations", "duckdb", "kserve", "mlflow", "optuna", "matplotlib", "onnx", "shap",
        "sqlalchemy", "grpcio",
    },
    "score": {
        "great-expectations", "kserve", "mlflow", "optuna", "matplotlib", "onnx", "shap",
        "kubernetes", "grpcio",
    },
    "feast": {
        "great-expectations", "kserve", "mlflow", "optuna", "matplotlib", "onnx", "shap", "scipy",
        "scikit-learn", "kubernetes", "grpcio", "mypy",
    },
}  # fmt: skip
"""Large, and of no use there."""

# kfp's own dependencies are for those who compile and submit.
NOWHERE = {"pip", "uv", "kfp-pipeline-spec", "kfp-server-api", "pytest", "rich"}

LOOK = """
import importlib.metadata as m, importlib.util as u, json, os, pathlib, platform, re, shutil, sys
def compiled(module):
    return os.path.exists(u.cache_from_source(u.find_spec(module).origin))
print(json.dumps({
    "installed": {re.sub("[-_.]+", "-", d.name.lower()): d.version for d in m.distributions()},
    "tools": [t for t in "pip pip3 uv gcc cc g++ c++ make git curl".split() if shutil.which(t)],
    "compiled": [compiled(n) for n in ("json.decoder", "penstock.records.dataset", "yaml.loader")],
    "tests": [str(p) for p in pathlib.Path("/opt/penstock").rglob("test*")
              if p.is_dir() and p.name in ("test", "tests")],
    "asked": {d.name: d.requires or [] for d in m.distributions()},
    "caches": [p for p in ("/root/.cache", "/tmp/.cache", "/var/cache/apt/archives/lock")
               if os.path.exists(p)],
    "writable": [p for p in ("/", "/opt", "/opt/penstock", "/usr", "/etc", "/home", "/root", "/tmp")
                 if os.access(p, os.W_OK)],
    "home": os.path.expanduser("~"),
    "markers": [f"{sys.version_info[0]}.{sys.version_info[1]}", platform.machine()],
}))
"""


# Each module, with the libraries that it needs, in a process of its own: in
# one process, two libraries that hold the same code would meet.
LOAD = """
import ctypes, json, os, pathlib
wrong = []
for path in sorted(pathlib.Path("/opt/penstock").rglob("*.so")):
    child = os.fork()
    if not child:
        try:
            ctypes.PyDLL(str(path))
        except OSError as error:
            print(error)
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        wrong.append(path.name)
print(json.dumps(wrong))
"""


@pytest.fixture(scope="module", params=IMAGES)
def name(request: pytest.FixtureRequest) -> Image:
    """One image of the family."""
    if request.param == "feast":
        request.getfixturevalue("feast")
    return request.param


@pytest.fixture(scope="module")
def found(engine: docker.DockerClient, name: Image) -> dict[str, Any]:
    """What Python sees in it, as whoever may run it."""
    confined = hardened(engine, image(name))
    said = engine.containers.run(
        image(name), ["-c", LOOK], entrypoint="python", remove=True, **confined
    )
    return json.loads(said)


def test_it_holds_exactly_what_its_lock_names(
    found: dict[str, Any], name: Image, locks: Path
) -> None:
    version, machine = found["markers"]
    where = {"python_version": version, "python_full_version": f"{version}.99"}
    where |= {"platform_machine": machine, "sys_platform": "linux"}
    locked = {}
    for line in (locks / f"{name}.txt").read_text().splitlines():
        if line[:1].isalnum():
            pin = Requirement(line.rstrip("\\ "))
            if pin.marker is None or pin.marker.evaluate(where):
                locked[pin.name] = str(pin.specifier).removeprefix("==")
    assert found["installed"] == locked | {"penstock": penstock.__version__}


def _asked_for(asked: dict[str, list[str]], where: dict[str, str]) -> set[str]:
    """Return what distributions require, by the extras too that others ask them for."""
    requirements = {
        canonicalize_name(asking): list(map(Requirement, lines))
        for asking, lines in asked.items()
        if asking not in ("kfp", "penstock")
    }
    waiting = [(asking, "") for asking in requirements]
    seen = set(waiting)
    wanted = set()
    while waiting:
        asking, extra = waiting.pop()
        for one in requirements.get(asking, ()):
            if one.marker is None or one.marker.evaluate(where | {"extra": extra}):
                name = canonicalize_name(one.name)
                wanted.add(name)
                new = {(name, each) for each in one.extras} - seen
                seen |= new
                waiting += new
    return wanted


def test_its_libraries_have_what_they_ask_for(found: dict[str, Any], name: Image) -> None:
    """But for what is left out with a reason, and what kfp asks for."""
    version, machine = found["markers"]
    where = {"python_version": version, "python_full_version": f"{version}.99"}
    where |= {"platform_machine": machine, "sys_platform": "linux"}
    assert _asked_for(found["asked"], where) - found["installed"].keys() == left_out(name)


def test_its_compiled_modules_can_be_loaded(engine: docker.DockerClient, name: Image) -> None:
    confined = hardened(engine, image(name))
    said = engine.containers.run(
        image(name), ["-c", LOAD], entrypoint="python", remove=True, **confined
    )
    assert json.loads(said.splitlines()[-1]) == [], said.decode()


def test_it_lacks_what_it_does_not_need(found: dict[str, Any], name: Image) -> None:
    # Ibis asks for rich, and Feast imports what is deleted from the libraries of the others.
    whole = name == "feast"
    assert (
        found["installed"]
        .keys()
        .isdisjoint(ABSENT[name] | NOWHERE - ({"rich"} if whole else set()))
    )
    assert found["tools"] == []
    assert whole or found["tests"] == []
    assert found["caches"] == []


def test_it_is_compiled(found: dict[str, Any]) -> None:
    assert found["compiled"] == [True, True, True]


def test_any_user_has_a_home_and_may_write_there_alone(found: dict[str, Any]) -> None:
    assert found["writable"] == ["/tmp"]
    assert found["home"] == "/tmp"


def test_its_own_user_is_not_root(engine: docker.DockerClient, name: Image) -> None:
    user, _, group = engine.images.get(image(name)).attrs["Config"]["User"].partition(":")
    assert int(user) > 0
    assert group == "0"


def test_it_says_what_it_is(engine: docker.DockerClient, name: Image) -> None:
    config = engine.images.get(image(name)).attrs["Config"]
    labels = {
        key.removeprefix("org.opencontainers.image."): value
        for key, value in config["Labels"].items()
    }
    assert labels["title"] == f"penstock/{name}"
    assert labels["version"] == penstock.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["description"]
    assert labels["base.name"]
    assert labels["penstock.writable"] == "/tmp"
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["PENSTOCK_IMAGE"] == f"penstock/{name}:{penstock.__version__}"
    assert environment["PENSTOCK_COMMIT"] == labels["revision"]
    assert labels["penstock.lock"] == digest_of_file(LOCKS / f"{name}.txt")
