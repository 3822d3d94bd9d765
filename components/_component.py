"""What a component shows to Kubeflow: its interface in the pipeline, its code in the image.

kfp writes the source of a Python component into every pipeline that uses it. Ours are in their
images, which have the same Penstock, so a pipeline names the component instead (docs/adr/0042).
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

from kfp import dsl

import penstock
from penstock.components._image import Image, image
from penstock.components._program import PROGRAM
from penstock.errors import InputError

_DIGITS = 12


def component(*, runs_in: Image, cached: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """Make a component of a function; its module and its function have the same name.

    Args:
        runs_in: The image of the family that it runs in.
        cached: Whether Kubeflow may reuse what it made of the same inputs. Not, where it reads or
            changes anything but its inputs.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if not hasattr(dsl, "component"):
            return function  # In a task, where kfp leaves out what compiles.
        from kfp.dsl.component_factory import EXECUTOR_MODULE

        from penstock.components._caching import never_cached

        made = dsl.component(base_image=image(runs_in), install_kfp_package=False)(function)
        made.component_spec.implementation.container.command = [
            *PROGRAM,
            f"--code={_digest(function)}",
            f"--version={penstock.__version__}",
            # kfp.local runs as a process what names the executor of Python components.
            f"--executor={EXECUTOR_MODULE}",
        ]
        for given in (made.component_spec.inputs or {}).values():
            given.description = _first_sentence(given.description or "")
        return made if cached else never_cached(made)

    return decorate


def load(name: str, *, code: str, version: str) -> Callable[..., Any]:
    """Return the function of a component, as it is installed here.

    Args:
        name: The component's.
        code: Digest of its code in the Penstock that compiled the pipeline. kfp leaves out without
            a word what a pipeline gives and a function does not take.
        version: Of that Penstock.

    Raises:
        InputError: If it is another here.
    """
    found = getattr(importlib.import_module(f"penstock.components.{name}"), name)
    function: Callable[..., Any] = getattr(found, "python_func", found)
    if _digest(function) != code:
        raise InputError(
            f"the pipeline was compiled by Penstock {version} with another component of this name "
            f"than Penstock {penstock.__version__} has, which is installed here",
            where=name,
            remedy="Compile it with the Penstock that is in the image, or name an image of the "
            "Penstock that compiled it.",
        )
    return function


def _digest(function: Callable[..., Any]) -> str:
    """Return the digest of a function's text without its decorators and its docstring."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    definition = ast.parse("\n".join(lines)).body[0]
    assert isinstance(definition, ast.FunctionDef)
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    text = "\n".join(lines[definition.lineno - 1 :])
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]
