"""What a CI system would run of the workflows that `penstock init --ci` wrote: blocks of shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Block:
    """A block of shell, and the variables that its file sets for it."""

    job: str
    text: str
    variables: dict[str, str] = field(default_factory=dict)

    def does(self, words: str) -> bool:
        return words in self.text


def github(file: Path) -> list[Block]:
    plain = yaml.safe_load(file.read_text())
    return [
        Block(name, step["run"], {**job.get("env", {}), **step.get("env", {})})
        for name, job in plain["jobs"].items()
        for step in job["steps"]
        if "run" in step
    ]


def gitlab(file: Path) -> list[Block]:
    plain = yaml.safe_load(file.read_text())
    found = []
    for name, job in plain.items():
        if not isinstance(job, dict) or "rules" not in job:
            continue
        whole = plain.get(job.get("extends"), {})
        variables = {**whole.get("variables", {}), **job.get("variables", {})}
        merged = whole | job
        lines = merged["script"] + merged.get("after_script", [])
        found += [Block(name, text, variables) for text in lines]
    return found


def jenkins(file: Path) -> list[Block]:
    found = []
    stages = re.split(r"\n    stage\('(.*?)'\)", file.read_text())[1:]
    for name, body in zip(stages[::2], stages[1::2], strict=True):
        variables = dict(re.findall(r"""^ +([A-Z_]+) = ["'](.*)["']$""", body, re.M))
        # Groovy reads a backslash before the end of a line as Python does.
        blocks = re.findall(r"sh '''\n(.*?)'''", body, re.S)
        found += [Block(name, text.replace("\\\n", ""), variables) for text in blocks]
    return found


@dataclass
class Runner:
    """A machine of a CI system: it runs blocks in a repository, with variables of its own.

    Attributes:
        root: The repository.
        settings: What people set in the CI system, and what the system sets itself.
        expressions: Values of `${{ … }}`, of `${env.…}` and of a system's own variables.
    """

    root: Path
    settings: dict[str, str]
    expressions: dict[str, str]

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW", "KF_", "KUBE", "PENSTOCK", "GITHUB", "CI_"))
        }
        written = Path(self.settings.get("GITHUB_ENV", "/dev/null"))
        later = dict(
            line.split("=", 1) for line in written.read_text().splitlines() if written.is_file()
        )
        own = {name: self._value(str(value)) for name, value in block.variables.items()}
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", block.text],
            cwd=self.root,
            env=kept
            | {"PATH": f"{BIN}:{os.environ['PATH']}", "no_proxy": "*"}
            # What is installed here is what it asks for; looking at all that this needs takes long.
            | {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1"}
            | self.settings
            | own
            | later,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

    def _value(self, text: str) -> str:
        for written, value in self.expressions.items():
            text = text.replace(written, value)
        assert "$" not in text, f"nothing is known of what is in {text!r}"
        return text
