"""The lock of each image is part of requirements.lock, and a check says so when it is not."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., str]:
    """`check(path, old, new)` replaces text of a copy of the locks, and returns what is said."""
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "images" / "locks", tmp_path / "images" / "locks")
    for name in ("left-out.toml", "feast.in"):
        shutil.copy(ROOT / "images" / name, tmp_path / "images")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")

    def run(path: str = "", old: str = "", new: str = "", *, option: str = "--check") -> str:
        if path:
            changed = tmp_path / path
            text = changed.read_text()
            assert re.search(old, text)
            changed.write_text(re.sub(old, new, text, count=1))
        done = subprocess.run(
            [sys.executable, "scripts/image_locks.py", option],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == (1 if done.stdout else 0), done.stderr
        return done.stdout

    return run


def test_the_locks_are_current(check: Callable[..., str]) -> None:
    assert check() == ""


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("images/locks/data.txt", r"pandas==\S+", "pandas==2.3.1", "data.txt pins pandas 2.3.1"),
        ("images/locks/train.txt", r"sha256:.{8}", "sha256:00000000", "train.txt has other hashes"),
        ("images/locks/deploy.txt", r"mlflow-skinny==(.|\n    )*\n", "", "lacks mlflow-skinny"),
        pytest.param(
            "images/locks/deploy.txt",
            r"kfp==(.|\n    )*\n",
            "",
            "deploy.txt lacks kfp",
            marks=pytest.mark.long,
        ),
        ("pyproject.toml", r"optuna>=4.5", "optuna>=99", "train.txt lacks optuna"),
        ("images/left-out.toml", r"scipy =", "numpy =", "data.txt pins numpy, which"),
        ("images/left-out.toml", r"scipy =", "sipy =", "leaves out sipy, which nothing requires"),
    ],
)
def test_a_lock_that_is_not_is_named(
    check: Callable[..., str], path: str, old: str, new: str, said: str
) -> None:
    answer = check(path, old, new)
    assert said in answer
    assert len(answer.splitlines()) == 1
    assert "make lock-images" in answer


@pytest.mark.parametrize(
    ("kind", "lacking"),
    [
        pytest.param("py3-none-any", [], marks=pytest.mark.long),
        ("cp311-cp311-manylinux_2_17_x86_64", ["aarch64-unknown-linux-gnu"]),
    ],
)
def test_a_lock_without_a_wheel_for_a_platform_is_named(
    check: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    lacking: list[str],
) -> None:
    wheel = tmp_path / f"thing-1.0-{kind}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing-1.0.dist-info/METADATA", "Name: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    pin = f"thing==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    for lock in (tmp_path / "images" / "locks").iterdir():
        lock.write_text(pin)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    said = check(option="--wheels").splitlines()
    assert re.findall(r"data.txt on (\S+)", "\n".join(said)) == lacking
    assert len(said) == 9 * len(lacking)
    assert all("no wheels with a matching platform tag" in line for line in said)


@pytest.mark.parametrize(
    ("image", "absent"),
    [
        ("deploy", ("scikit-learn", "mlflow", "skops", "great-expectations", "kserve")),
        ("monitor", ("mlflow", "optuna", "great-expectations", "kserve")),
        ("score", ("great-expectations", "optuna", "kserve", "kubernetes")),
        ("serving", ("kfp", "great-expectations", "mlflow", "optuna")),
        ("train", ("great-expectations", "duckdb", "kfp-kubernetes")),
        ("data", ("scikit-learn", "mlflow", "kserve")),
    ],
)
def test_what_an_image_does_not_need_is_not_locked_for_it(
    image: str, absent: tuple[str, ...]
) -> None:
    lock = (ROOT / "images" / "locks" / f"{image}.txt").read_text()
    for name in absent:
        assert not re.search(rf"^{name}==", lock, flags=re.MULTILINE)
