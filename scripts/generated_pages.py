"""Pages that the catalogue makes of the repository: the errors, the decision records."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.pipelines import exits

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `make catalogue`; edit what it is made of instead. -->"
_SOURCES = (("penstock", "penstock"), ("components", "penstock.components"),
            ("pipelines", "penstock.pipelines"))  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    """A class of errors, as its module declares it."""

    module: str
    name: str
    bases: tuple[str, ...]
    meaning: str


def errors() -> str:
    """Return docs/errors.md: the tree below PenstockError, and what commands end with."""
    kinds = {kind.name: kind for kind in _classes()}
    ours = [
        "# Errors and exit codes",
        "",
        NOTE,
        "",
        "Whatever can go wrong that a reader can act on is a `PenstockError`: its message names",
        "what is wrong, where, and what to do; `what`, `where` and `remedy` have the parts. Catch",
        "`PenstockError` for all of them. Secrets are taken out of a message before it is made.",
        "An error that is not a `PenstockError` is a fault of Penstock.",
        "",
        "## The tree",
        "",
        *_below("PenstockError", kinds, depth=0),
        "",
        "[Their signatures](reference/errors.rst).",
        "",
        "## What commands end with",
        "",
        "| exit code | when |",
        "|---|---|",
        *(f"| {code} | {text} |" for code, text in sorted(_codes().items())),
    ]
    return "\n".join(ours) + "\n"


def decisions() -> str:
    """Return docs/adr/README.md: the decision records by number."""
    lines = [
        "# Decisions",
        "",
        NOTE,
        "",
        "One record for each: context, decision, consequence.",
        "",
    ]
    for path in sorted((ROOT / "docs/adr").glob("0*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").strip()
        number, text = path.name[:4], re.sub(r"^(ADR )?\d{4}[.:]? *[-:]? *", "", title)
        lines.append(f"- [{number}]({path.name}): {text}")
    lines += ["", "```{toctree}", ":hidden:", ":glob:", "", "0*", "```"]
    return "\n".join(lines) + "\n"


def _codes() -> dict[int, str]:
    outcomes = {
        "released": "The command did what it was asked for; `run`: the model was released.",
        "failed": "Something failed: any error but a `UsageError`. The message says what to do.",
        "refused": "A gate, a check of the data or a person refused the model.",
        "rolled_back": "The canary of the model was rolled back.",
    }
    return {exits.EXIT_CODES[name]: text for name, text in outcomes.items()} | {
        exits.USAGE: "The command was given something that it cannot use (`UsageError`).",
        exits.INTERRUPTED: "A person pressed Ctrl-C.",
    }


def _below(name: str, kinds: dict[str, _Kind], *, depth: int) -> Iterator[str]:
    kind = kinds[name]
    also = [base for base in kind.bases if base not in kinds and base != "Exception"]
    beside = f", also a `{'`, `'.join(also)}`" if also else ""
    yield f"{'  ' * depth}- **`{name}`** (`{kind.module}`{beside}): {kind.meaning}"
    for child in kinds.values():
        if name in child.bases and not child.name.startswith("_"):
            yield from _below(child.name, kinds, depth=depth + 1)


def _classes() -> Iterator[_Kind]:
    for folder, package in _SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "Error" not in text:
                continue
            inside = path.relative_to(ROOT / folder).with_suffix("").parts
            module = ".".join((package, *(part for part in inside if part != "__init__")))
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                    meaning = (ast.get_docstring(node) or "").partition("\n\n")[0]
                    bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                    yield _Kind(module, node.name, bases, " ".join(meaning.split()))
