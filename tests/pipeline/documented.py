"""The commands of the documents: which there are, and which are run by which test."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "components" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAMS = {
    "penstock", ".", "make", "pip", "python", "git", "docker", "helm", "kubectl", "openssl",
}  # fmt: skip

NOT_RUN = {
    r"^make |^\. .venv/|^git clone": ".ci/run is these, in a clean clone; the rest needs docker",
    r"^pip install ": "make package installs what was built",
    r"^kubectl |^docker ": "needs a cluster, or docker",
    r"^helm ": "needs a cluster, and Helm",
    r"^openssl ": "not ours; test_signatures_page.py runs the same",
    r"^python -m penstock.serving ": "serves until it is ended; tests/unit/serving",
    r"^penstock submit |^penstock schedule ": "needs a Kubeflow; tests/submission has a stand-in",
    r"^penstock init --": "for a repository; what it writes is run: test_workflows.py",
    r"^penstock rollout ": "needs a rollout under way; tests/unit/rollout/test_control.py",
    r"^penstock experiment ": "needs what serves, and users; tests/unit/rollout/experiment",
    r"^penstock approve models:/simulated-transactions/2 ": "for that; likewise",
    r"^penstock run .*gate.approval.wait_hours": "makes its challenger; likewise",
    r"^penstock monitor ": "watches, or needs what serves; tests/pipeline/test_monitor.py",
    r"^penstock compile --monitor": "needs a project of a cluster; test_monitor_pipeline.py",
    r"^penstock ui ": "serves until it is ended; tests/unit/pipelines/ui/test_ui_server.py",
    r"^penstock trigger ": "goes on until it is ended; tests/unit/triggers/test_trigger_command.py",
    r"^penstock recall |^penstock (example|run) loop": "minutes of serving; test_loop.py",
    r"^penstock (score|bundle) ": "needs a registered version; tests/unit/scoring, bundle",
    r"^penstock compile --score": "needs a section; tests/unit/scoring/test_scoring_pipeline.py",
    r"^python bundle/scorer.py": "reads until its input ends; tests/unit/bundle",
    r"^penstock captures ": "tests/unit/captures/test_captures_commands.py",
    r"^penstock status docs/kind-project.yaml": "needs a cluster",
    r"--tracking-uri https://": "needs a server; the same without it is run",
    r"^penstock (example|init|run|status|audit|stop) example": "make run's folder; test_release.py",
    r"^penstock run --demo": "a rollback takes a minute; test_release.py",
    r"^penstock run --set training.trials=5 ": "test_project.py",
}
"""What cannot run here or does elsewhere, and why; the parser takes it all the same."""

WALKED = {
    "docs/backup.md": "tests/unit/registry/test_backup_page.py",
    "docs/data-versions.md": "tests/unit/registry/test_registry_datasets.py",
    "docs/endpoint-access.md": "tests/unit/serving/test_serving_pages.py",
    "docs/gitops.md": "tests/submission/test_gitops_page.py",
    "docs/hub.md": "tests/unit/hub/test_hub.py",
    "docs/human-review.md": "tests/unit/captures/test_review_served.py",
    "docs/reproduce.md": "tests/unit/registry/test_registry_reproduction.py",
    "docs/signatures.md": "tests/unit/registry/test_signatures_page.py",
    "docs/tracing.md": "tests/unit/serving/test_serving_pages.py",
}
"""Pages whose commands are all run in their order by a test of their own, which has a `Walk`."""

BESIDE = {
    "cp", "curl", "diff", "export", "mkdir", "model_signing", "pg_dump", "pg_restore", "xargs",
}  # fmt: skip
"""What a walk runs too, though it is not ours and no option of it can become out of date here."""

OUT_OF_REACH = r"^(kubectl|docker|helm|make|pip install) "
"""What no walk runs: it needs a cluster or a published package; of `make` its script is tested."""


@dataclass(frozen=True)
class Command:
    """A command of a document."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)

    @property
    def reason(self) -> str:
        """Why it is not run here; empty if it is."""
        found = (why for what, why in NOT_RUN.items() if re.search(what, f"{self} "))
        return next(found, WALKED.get(self.page, ""))


def blocks(text: str) -> Iterator[str]:
    """The code of a document: what is fenced, or indented by four spaces."""
    # Of every kind, so that the end of one is not taken for the beginning of the next.
    for fenced in re.finditer(r"^```([^`\n]*)\n(.*?)^```$", text, re.M | re.S):
        if fenced[1] in ("", "sh", "bash", "console"):
            yield fenced[2]
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for indented in re.finditer(r"(?:^    .*\n)+", bare, re.M):
        yield re.sub(r"^    ", "", indented[0], flags=re.M)


def commands(page: Path) -> Iterator[Command]:
    for line in lines(page):
        yield from parts(str(page.relative_to(ROOT)), shlex.split(line, comments=True))


def lines(page: Path) -> Iterator[str]:
    """The lines of the code of a document, those that go on in the next one whole."""
    for block in blocks(page.read_text(encoding="utf-8")):
        held = ""
        for line in re.sub(r"\\\n *", "", block).splitlines():
            held = f"{held} {line.strip()}" if held else line
            try:
                shlex.split(held, comments=True)
            except ValueError:
                continue  # A quoted word goes on in the next line.
            yield held
            held = ""


def parts(page: str, words: list[str]) -> Iterator[Command]:
    """The commands of a line: those beside && apart, without variables before them."""
    for text in " ".join(shlex.quote(word) for word in words if word != "&").split(" '&&' "):
        found = shlex.split(text)
        while found and re.match(r"[A-Z_]+=", found[0]):
            found = found[1:]
        if found and found[0] in PROGRAMS:
            yield Command(page=page, words=tuple(found))


class Walk:
    """The commands of a page in their order: its block ends well only once all of them were taken.

    Args:
        page: Relative to the repository.
        folder: Where they are run.
    """

    def __init__(self, page: str, folder: Path) -> None:
        self.folder, self._exports = folder, ""
        whole = (line for line in lines(ROOT / page) if line.split(maxsplit=1)[:1])
        self._left = [
            line
            for line in whole
            if line.split()[0] in PROGRAMS | BESIDE and not re.search(OUT_OF_REACH, line)
        ]

    def __enter__(self) -> Walk:
        assert self._left
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        assert kind or not self._left, f"not run: {self._left}"

    def take(self, beginning: str, *instead: tuple[str, str]) -> str:
        """Return the next line, which must begin so; `instead`: a text in it, and another."""
        line = self._left.pop(0)
        assert line.startswith(beginning), line
        for said, other in instead:
            assert said in line, f"{said!r} is not in {line}"
            line = line.replace(said, other)
        return line

    def words(self, beginning: str, *instead: tuple[str, str]) -> list[str]:
        """Return the next command's words behind the program's name."""
        return shlex.split(self.take(beginning, *instead), comments=True)[1:]

    def run(self, beginning: str, *instead: tuple[str, str]) -> str:
        """Run the next line in a shell, which has what was exported before; return its output."""
        line = self.take(beginning, *instead)
        if line.startswith("export "):
            self._exports += f"{line}\n"
        script = f"set -euo pipefail\n{self._exports}{line}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def script(self, line: str) -> list[str]:
        """Return the command that runs a line after what was exported, in this very process."""
        return ["bash", "-c", f"{self._exports}exec {line}"]

    @staticmethod
    def environment() -> dict[str, str]:
        """What a reader has, whose virtual environment is active."""
        return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


EVERY = [command for page in PAGES for command in commands(page)]
OURS = [command for command in EVERY if command.words[0] == "penstock"]


def table(rows: int, *, start: int = 0) -> str:
    """A table that a linear model learns, every row another."""
    lines = ["age,income,debt,defaulted"]
    for n in range(start, start + rows):
        age, income, debt = 20 + n * 7 % 45, 1_000 + n * 389 % 4_000, n * 97 % 3_000
        noisy = debt + (n * 31 % 17) * 40
        lines.append(f"{age},{income}.{n},{debt},{'yes' if noisy > income else 'no'}")
    return "\n".join(lines) + "\n"
