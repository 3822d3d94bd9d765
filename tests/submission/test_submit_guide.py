"""The commands of docs/kind-guide.md are ones that this version takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "kind-guide.md"


def blocks() -> list[list[str]]:
    """Return the commands of each indented block, one line each."""
    found: list[list[str]] = [[]]
    for line in GUIDE.read_text().splitlines():
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif found[-1]:
            found.append([])
    whole = ["\n".join(block) for block in found if block]
    joined = [re.sub(r"\\\n *", "", text) for text in whole]
    # A quoted parameter may go on over lines.
    return [re.sub(r",\n +", ", ", text).splitlines() for text in joined]


def commands(word: str) -> list[list[str]]:
    every = [shlex.split(line, comments=True) for block in blocks() for line in block]
    after = [line[line.index("&&") + 1 :] if "&&" in line else line for line in every]
    return [[part for part in line if part != "&"] for line in after if line[:1] == [word]]


def test_the_way_to_a_canary_is_at_most_ten_commands() -> None:
    first = blocks()[0]
    assert 7 <= len(first) <= 10
    assert first[0].startswith("git clone")
    assert len([line for line in first if line.startswith("penstock submit")]) == 2


@pytest.mark.parametrize("command", commands("penstock"), ids=" ".join)
def test_penstock_takes_its_commands(command, kfp_server, penstock, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(ROOT)
    arguments = command[1:]
    if "--host" in arguments:
        arguments[arguments.index("--host") + 1] = kfp_server.host
        done = penstock(*arguments, "--interval", "0.02")
        assert done.code == 0, done.out + done.err
        assert "RELEASED" in done.out
        (run,) = kfp_server.runs.values()
        assert "penstock-deployer" in str(run)
    elif arguments[0] == "example":
        monkeypatch.chdir(tmp_path)
        assert penstock(*arguments).code == 0
        assert (tmp_path / "example" / "simulated-transactions.csv").stat().st_size < 1_000_000
    else:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
        done = penstock(*arguments)
        assert (done.code, "no Kubernetes cluster is known here" in done.err) == (1, True)


def test_make_has_its_targets() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known |= set(re.findall(r"^([a-z-]+):", (ROOT / "images/images.mk").read_text(), re.MULTILINE))
    called = [
        part for line in commands("make") for part in line[1:] if "=" not in part and part != "&&"
    ]
    assert called
    assert set(called) <= known
