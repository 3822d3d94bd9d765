"""docs/errors.md: every error of Penstock, when it is raised, its exit code, and what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.pipelines.outcomes import EXIT_CODES, INTERRUPTED, READER_GONE, USAGE

_RAISED, _REMEDY = "Raised when:", "What to do:"


@dataclass(frozen=True)
class _Error:
    """One class of the tree, as its source has it."""

    name: str
    module: str
    bases: tuple[str, ...]
    text: str

    @property
    def summary(self) -> str:
        """Its docstring's first sentence."""
        return " ".join(self.text.partition("\n\n")[0].split())

    def section(self, title: str) -> str:
        """A section of its docstring; empty if it has none."""
        body = self.text.partition(f"{title}\n")[2].partition("\n\n")[0]
        return " ".join(body.split())


def errors_page(root: Path, *, note: str) -> str:
    """Return the page.

    Args:
        root: The repository.
        note: What the page says of how it was made.
    """
    errors = _errors(root)
    lines = [
        "# Errors and exit codes",
        "",
        note,
        "",
        "Every failure that a user can act on is a `penstock.errors.PenstockError`. Its message",
        "has the form `where: what is wrong. What to do.`, and the parts are its attributes",
        "`where`, `what` and `remedy`. Anything else that a command raises is a bug of Penstock.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        f"| {EXIT_CODES['released']} | done; of `penstock run`: released |",
        f"| {EXIT_CODES['failed']} | failed: an error below, or what was checked does not hold |",
        f"| {USAGE} | wrong usage: `UsageError`, or an unknown option |",
        f"| {EXIT_CODES['refused']} | refused by a gate or a person; no error |",
        f"| {EXIT_CODES['rolled_back']} | rolled back by the canary; no error |",
        f"| {INTERRUPTED} | interrupted by Ctrl-C |",
        f"| {READER_GONE} | nobody reads what it prints any more, as after `head` |",
        "",
        "## The tree",
        "",
        "```text",
        *_tree("PenstockError", errors),
        "```",
        "",
        "A step of a pipeline that raises one of these fails its task, and the run with it.",
        "`NotApprovedError` also ends a run that a gate refused: Kubeflow shows it as failed, with",
        "the reason as its message, and `penstock run` as refused.",
        "",
        "## Each error",
    ]
    for error in errors.values():
        lines += [
            "",
            f"### {error.name}",
            "",
            f"{error.summary} (`{error.module}`)",
            "",
            f"- **Raised when:** {error.section(_RAISED) or error.summary}",
            f"- **Exit code:** {_code(error, errors)}",
            f"- **What to do:** {_remedy(error, errors)}",
        ]
    return "\n".join(lines) + "\n"


def _errors(root: Path) -> dict[str, _Error]:
    """Return the errors by name: those of penstock/errors.py first, each after what it extends."""
    folder = root / "penstock"
    found: dict[str, _Error] = {}
    for path in sorted(folder.rglob("*.py"), key=lambda path: (path.name != "errors.py", path)):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                text = ast.get_docstring(node) or ""
                found[node.name] = _Error(node.name, module, bases, text)
    return {name: found[name] for name in _descendants("PenstockError", found)}


def _descendants(name: str, found: dict[str, _Error]) -> Iterator[str]:
    yield name
    for other in found.values():
        if name in other.bases:
            yield from _descendants(other.name, found)


def _tree(name: str, errors: dict[str, _Error], indent: int = 0) -> Iterator[str]:
    yield f"{' ' * indent}{name}"
    for other in errors.values():
        if name in other.bases:
            yield from _tree(other.name, errors, indent + 4)


def _code(error: _Error, errors: dict[str, _Error]) -> int:
    return USAGE if "UsageError" in _line(error, errors) else EXIT_CODES["failed"]


def _remedy(error: _Error, errors: dict[str, _Error]) -> str:
    """Return its own remedy, or that of the nearest error which it extends."""
    return next(
        remedy for name in _line(error, errors) if (remedy := errors[name].section(_REMEDY))
    )


def _line(error: _Error, errors: dict[str, _Error]) -> list[str]:
    """Return the names of an error and of those that it extends, nearest first."""
    names = [error.name]
    for base in error.bases:
        if base in errors:
            names += _line(errors[base], errors)
    return names
