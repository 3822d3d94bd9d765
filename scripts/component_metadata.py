"""What each component is, in the form of kubeflow/pipelines-components: metadata.yaml.

Their repository has a folder for each component with this file in it; ours has one file a
component, `components/metadata/NAME.yaml`, to be copied as `metadata.yaml`. Made by
`make catalogue` from the component's signature, pyproject.toml and the versions of the manifests.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "components" / "metadata"

STABILITY = "alpha"
"""Of all: nothing is released yet. One of experimental, alpha, beta, stable."""

VERIFIED = "2026-11-29T00:00:00Z"
"""The day of the last whole run of the tests, images and an emulated cluster included."""

_CATEGORIES = {
    "data_processing": (
        "ingest",
        "ingest_artifact",
        "retrieve_features",
        "validate",
        "split",
        "hold_out",
        "engineer_features",
    ),
    "training": ("train",),
    "evaluation": ("fetch_version", "evaluate", "probe_serving", "decide", "explain"),
    "deployment": (
        "register",
        "approve",
        "deploy",
        "monitor",
        "intervene",
        "export_rows",
        "record_refusal",
        "settle",
        "score",
        "fail",
        "notify",
    ),
}
"""Categories of their repository."""


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    components = sorted(path.stem for path in (ROOT / "components").glob("[a-z]*.py"))
    wanted = {FOLDER / f"{name}.yaml": metadata(name) for name in components}
    there = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*")}
    if check:
        for path in sorted(wanted.keys() | there.keys()):
            if wanted.get(path) != there.get(path):
                print(f"{path.relative_to(ROOT)} is not current: run `make catalogue`.")
        return int(wanted != there)
    FOLDER.mkdir(exist_ok=True)
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


def metadata(name: str) -> str:
    """Return the text of a component's file.

    Args:
        name: The component's; what it is connected to follows from its arguments.
    """
    arguments = _arguments(name)
    services = []
    if "tracking_uri" in arguments:
        services.append(("MLflow", _lower_bound("mlflow")))
    if name in ("deploy", "monitor", "intervene", "settle"):
        services.append(("KServe", f">={_manifest_version('KSERVE')}"))
    category = next((c for c, names in _CATEGORIES.items() if name in names), "data_processing")
    lines = [
        "---",
        "# Made by `make catalogue`: scripts/component_metadata.py.",
        f"name: {name}",
        f"stability: {STABILITY}",
        "dependencies:",
        "  kubeflow:",
        *_dependency("Pipelines", _lower_bound("kfp")),
    ]
    if services:
        lines.append("  external_services:")
        for service, version in services:
            lines += _dependency(service, version)
    lines += [
        f"lastVerified: {VERIFIED}",
        "tags:",
        f"  - {category}",
        "  - tabular",
        "links:",
        f"  documentation: components/README.md#{name}",
        f"  source: components/{name}.py",
    ]
    return "\n".join(lines) + "\n"


def _arguments(name: str) -> list[str]:
    tree = ast.parse((ROOT / "components" / f"{name}.py").read_text(encoding="utf-8"))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    return [argument.arg for argument in function.args.args]


def _dependency(name: str, version: str) -> list[str]:
    return [f"    - name: {name}", f'      version: "{version}"']


def _lower_bound(distribution: str) -> str:
    """Return the oldest release that pyproject.toml allows, as `>=X.Y.Z`."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for requirement in (line for extra in extras.values() for line in extra):
        if found := re.match(rf"{re.escape(distribution)}>=([\d.]+)", requirement):
            return f">={_three(found[1])}"
    raise LookupError(f"pyproject.toml gives no lower bound of {distribution}")


def _manifest_version(name: str) -> str:
    text = (ROOT / "manifests/versions.env").read_text(encoding="utf-8")
    found = re.search(rf"^{name}_VERSION=(\S+)$", text, flags=re.MULTILINE)
    if found is None:
        raise LookupError(f"manifests/versions.env has no {name}_VERSION")
    return _three(found[1])


def _three(version: str) -> str:
    return ".".join((*version.split("."), "0", "0")[:3])


if __name__ == "__main__":
    sys.exit(main())
