"""Write a Helm chart of an overlay: the objects that Kustomize builds, and few values.

Kustomize stays the source. With its default values the chart renders to equal objects: that is
checked before a file is written, and with Helm in tests/unit/manifests/test_manifests_chart.py.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from manifests_check.__main__ import CannotCheckError, builder, documents, penstock_version
from manifests_check.parts import Resource

ROOT = Path(__file__).resolve().parents[1]
OVERLAY = ROOT / "manifests" / "overlays" / "production"
CHART = ROOT / "build" / "chart" / "penstock"

_IMAGE = re.compile(r"^penstock/([a-z]+):\S+$")
_MARK = "PENSTOCK-VALUE-{}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the chart; return the exit code."""
    parser = argparse.ArgumentParser(prog="chart", description=__doc__)
    parser.add_argument("overlay", nargs="?", type=Path, default=OVERLAY, help="%(default)s")
    parser.add_argument("-o", "--output", type=Path, default=CHART, help="%(default)s")
    options = parser.parse_args(arguments)
    try:
        objects = list(documents(builder()(options.overlay)))
    except CannotCheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write(objects, options.output)
    print(f"Wrote {options.output}: {len(objects)} objects.")
    return 0


def write(objects: Sequence[Resource], folder: Path) -> None:
    """Write a chart of these objects.

    Raises:
        ValueError: If the chart would render to other objects than these.
    """
    values: dict[str, str] = {}
    templates = {
        f"{number:02d}-{each['kind'].lower()}-{each['metadata']['name']}.yaml": _template(
            each, values
        )
        for number, each in enumerate(objects)
    }
    if [yaml.safe_load(rendered(text, values)) for text in templates.values()] != list(objects):
        raise ValueError("the chart would render to other objects than Kustomize builds")
    head = {
        "apiVersion": "v2",
        "name": "penstock",
        "description": "What a cluster needs for Penstock, generated from its Kustomize manifests",
        "type": "application",
        "version": penstock_version(),
        "appVersion": penstock_version(),
    }
    said = "# Whole references of the images: an address of your registry, better with a digest.\n"
    _put(folder / "Chart.yaml", yaml.safe_dump(head, sort_keys=False))
    _put(folder / "values.yaml", said + yaml.safe_dump({"images": values}))
    # Those of an earlier chart may be named otherwise.
    for old in (folder / "templates").glob("*.yaml"):
        old.unlink()
    for name, text in templates.items():
        _put(folder / "templates" / name, text)


def rendered(template: str, images: Mapping[str, str]) -> str:
    """Return what Helm makes of a template of ours, which holds nothing but values and braces."""
    for name, value in images.items():
        template = template.replace(f"{{{{ .Values.images.{name} | quote }}}}", f'"{value}"')
    return template.replace('{{ "{{" }}', "{{")


def _template(resource: Resource, images: dict[str, str]) -> str:
    """Return an object as a template; note the images that it names."""
    text = yaml.safe_dump(_marked(resource, images), sort_keys=False, width=1000)
    text = text.replace("{{", '{{ "{{" }}')
    for name in images:
        text = text.replace(_MARK.format(name), f"{{{{ .Values.images.{name} | quote }}}}")
    return text


def _marked(value: object, images: dict[str, str], key: str = "") -> object:
    """Return a part of an object with a mark for each of our images."""
    if isinstance(value, dict):
        return {name: _marked(inner, images, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_marked(inner, images) for inner in value]
    if key == "image" and isinstance(value, str) and (found := _IMAGE.match(value)):
        images[found[1]] = value
        return _MARK.format(found[1])
    return value


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
