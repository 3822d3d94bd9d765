"""How `make docs` builds the site: the guides as they lie in the repository, and the reference.

The sources are the whole repository, so that a link works in the site and in any viewer of the
repository alike. Every warning is an error: a broken link, a reference to nothing, a page that no
table of contents has.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import penstock
from penstock import records
from penstock.records.spec import Spec

if TYPE_CHECKING:
    from docutils.nodes import Element, reference
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "Penstock"
author = "the authors of Penstock"
release = version = penstock.__version__
root_doc = "docs/index"
include_patterns = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "components/README.md", "docs/**.md",
    "docs/reference/*.rst",
]  # fmt: skip
# Folders that would be walked through for nothing.
exclude_patterns = [".*", "build", "dist", "tests", "penstock", "pipelines", "manifests", "images"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"Penstock {release}"
html_copy_source = False
html_show_sphinx = False
html_extra_path = ["extra"]
myst_heading_anchors = 4
pygments_style = "default"

# A word in single backticks is code in our docstrings, as in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_google_docstring = True
napoleon_custom_sections = [("Fails when", "notes_style")]
# Other projects' documents are not reached: there is no network where this is built.
# A private name is no reference of anybody.
# Neither is a type variable.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!penstock\b).*"),
    (r"py:.*", r"penstock\..*\._\w+"),
    (r"py:.*", r"penstock\.gate\.rule\.(Settings|Measured)"),
    (r"py:.*", r"penstock\.pipelines\..*"),
]


_constants: dict[str, list[str]] = {}


def setup(app: Sphinx) -> None:
    """Show fields of records with their descriptions, and settings where their page is."""
    app.connect("source-read", _every_record)
    app.connect("autodoc-process-docstring", _fields)
    # Around napoleon, which takes what stands before a colon for the type of a constant.
    app.connect("autodoc-process-docstring", _keep_constant, priority=400)
    app.connect("autodoc-process-docstring", _give_constant_back, priority=600)
    app.connect("autodoc-process-signature", _no_signature_of_records)
    app.connect("autodoc-skip-member", _skip)
    app.connect("missing-reference", _settings)


def _every_record(_app: Sphinx, page: str, source: list[str]) -> None:
    """Give each module of records a section, so that a new one is on the page by being there."""
    if page != "docs/reference/records":
        return
    for module in pkgutil.iter_modules(records.__path__, f"{records.__name__}."):
        if module.name not in {f"{records.__name__}.base", f"{records.__name__}.spec"}:
            title = module.name.rpartition(".")[2].replace("_", " ").capitalize()
            source[0] += f"\n{title}\n{'-' * len(title)}\n"
            source[0] += f"\n.. automodule:: {module.name}\n   :members:\n"


def _fields(_app: Sphinx, what: str, _name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    if what != "class" or not issubclass(obj, BaseModel) or not obj.model_fields:
        return
    lines += ["", "Fields:", ""]
    for name, field in obj.model_fields.items():
        lines.append(f"* ``{name}`` ({_kind(obj, name)}){_said(field)}")
    lines.append("")


def _keep_constant(
    _app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    if what in {"data", "attribute"}:
        _constants[name] = list(lines)


def _give_constant_back(
    _app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    if what in {"data", "attribute"}:
        lines[:] = _constants.pop(name)


def _kind(model: type[BaseModel], name: str) -> str:
    written = (inspect.get_annotations(base).get(name) for base in model.__mro__)
    return f"``{next(filter(None, written))}``"


def _said(field: FieldInfo) -> str:
    default = "" if field.is_required() else f" Default ``{field.get_default()!r}``."
    return f": {field.description.rstrip('.')}.{default}" if field.description else f".{default}"


def _no_signature_of_records(
    _app: Sphinx, what: str, _name: str, obj: Any, _options: Any, signature: str, returns: str
) -> tuple[str, str]:
    record = what == "class" and isinstance(obj, type) and issubclass(obj, BaseModel)
    return ("", "") if record else (signature, returns)


def _skip(
    _app: Sphinx, _what: str, name: str, _obj: Any, _skip: bool, _options: Any
) -> bool | None:
    return True if name in {"model_config", "model_post_init", "KIND", "VERSION"} else None


def _settings(
    app: Sphinx, _env: BuildEnvironment, node: Element, text: Element
) -> reference | None:
    """Link a class of settings to the page that has each of its fields."""
    module, _, name = str(node.get("reftarget", "")).rpartition(".")
    if not module.startswith("penstock"):
        return None
    found = getattr(importlib.import_module(module), name, None) if _is_module(module) else None
    if not (isinstance(found, type) and issubclass(found, Spec)):
        return None
    from sphinx.util.nodes import make_refnode

    page = "docs/project-file"
    return make_refnode(app.builder, node["refdoc"], page, None, text, "The project file")


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
