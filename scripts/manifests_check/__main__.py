"""Build every overlay, then check it against strict schemas and the policies.

Exit code 0: nothing is wrong. 1: something is. 2: the check itself could not be made.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from manifests_check import policies, wiring
from manifests_check.parts import Problem, Resource, title
from manifests_check.schemas import Schemas

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
GUIDE = ROOT / "docs/cluster.md"


class CannotCheckError(Exception):
    """The check could not be made; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="manifests-check", description=__doc__)
    add = parser.add_argument
    add("folders", nargs="*", type=Path, help="kustomizations (all overlays, and the components)")
    add(
        "--crds", action="append", type=Path, default=[], help="folder with definitions, repeatable"
    )
    add("--strict", action="store_true", help="a kind without a schema is a problem, not a warning")
    options = parser.parse_args(arguments)
    try:
        return _run(options.folders or sorted(_everything()), options.crds, strict=options.strict)
    except CannotCheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(folders: Sequence[Path], crds: Sequence[Path], *, strict: bool) -> int:
    versions = read_versions()
    build = builder()
    schemas = Schemas(kubernetes=versions["KUBERNETES_VERSION"], folders=crds)
    problems: list[Problem] = []
    unknown: set[str] = set()
    for folder in folders:
        resources = list(documents(build(folder)))
        name = str(folder.relative_to(ROOT)) if folder.is_relative_to(ROOT) else str(folder)
        found, missing = check(name, resources, schemas=schemas)
        problems += found
        unknown |= missing
        print(f"{name}: {len(resources)} resources, {len(found)} problems")
    for problem in problems:
        print(f"  {problem}")
    for kind in sorted(unknown):
        print(f"NOT CHECKED AGAINST A SCHEMA: {kind} (give its definition by --crds FOLDER)")
    return 1 if problems or (strict and unknown) else 0


def check(
    name: str, resources: Sequence[Resource], *, schemas: Schemas
) -> tuple[list[Problem], set[str]]:
    """Check the resources of one overlay.

    Args:
        name: What to call it in messages.
        resources: All of it.
        schemas: Where schemas are found.

    Returns:
        What is wrong, and the kinds that no schema was found for.
    """
    findings, unknown = [], set()
    for resource in resources:
        found = schemas.check(resource)
        if found is None:
            unknown.add(f"{resource['apiVersion']} {resource['kind']}")
        findings += found or []
    # A policy may rely on the shape that a schema promises.
    if not findings:
        for policy in (*policies.POLICIES, *wiring.POLICIES):
            findings += policy(resources)
        findings += policies.own_images(resources, version=penstock_version())
    problems = [Problem(name, title(f.resource), f.field, f.what) for f in findings]
    return problems + list(_undocumented(name, resources)), unknown


def _undocumented(name: str, resources: Sequence[Resource]) -> Iterator[Problem]:
    """Every Secret that must be there is one that the guide says how to make."""
    guide = GUIDE.read_text(encoding="utf-8") if GUIDE.exists() else ""
    for namespace, secret in sorted(wiring.secrets_named(resources), key=str):
        if not re.search(rf"`?{re.escape(secret)}\b", guide):
            what = "is referred to, but docs/cluster.md does not say how to make it"
            yield Problem(name, f"Secret {namespace}/{secret}", "metadata.name", what)


def _everything() -> Iterator[Path]:
    yield from (path.parent for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))
    # Each optional part on top of an overlay, as its users have it.
    yield from (path.parent for path in MANIFESTS.glob("checks/*/kustomization.yaml"))


def documents(text: str) -> Iterator[Resource]:
    """Yield the documents of a YAML stream, the empty ones left out."""
    return (document for document in yaml.safe_load_all(text) if document)


def read_versions() -> Mapping[str, str]:
    """Return manifests/versions.env."""
    lines = (MANIFESTS / "versions.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def penstock_version() -> str:
    """Return Penstock's version without importing it."""
    text = (ROOT / "penstock/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if not found:
        raise CannotCheckError("penstock/__init__.py holds no __version__")
    return found[1]


def builder() -> Callable[[Path], str]:
    """Return what builds a kustomization: `kustomize`, or the one inside `kubectl`.

    Raises:
        CannotCheckError: Neither is there, or it is older than versions.env requires.
    """
    if shutil.which("kustomize"):
        command, text = ["kustomize", "build"], _output("kustomize", "version")
    elif shutil.which("kubectl"):
        command, text = ["kubectl", "kustomize"], _output("kubectl", "version", "--client")
    else:
        raise CannotCheckError(
            "neither kustomize nor kubectl is here, so nothing was checked. Install either one: "
            "docs/cluster.md says how."
        )
    needed = read_versions()["KUSTOMIZE_VERSION"]
    found = re.search(r"(?:Kustomize Version: |^)v(\d+\.\d+\.\d+)", text, re.MULTILINE)
    if not found or _key(found[1]) < _key(needed):
        seen = found[1] if found else text.strip()
        raise CannotCheckError(
            f"{command[0]} has kustomize {seen}, older than {needed}. Install a newer one."
        )
    return lambda folder: _output(*command, str(folder))


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCheckError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
