"""The rules of the gate. Every module and package in here is one, found by being here."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from penstock.gate.rule import Rule


def _found() -> tuple[Rule[Any, Any], ...]:
    rules = [import_module(f"{__name__}.{module.name}").RULE for module in iter_modules(__path__)]
    return tuple(sorted(rules, key=lambda rule: (rule.order, rule.name)))


RULES: tuple[Rule[Any, Any], ...] = _found()
"""In the order in which a decision and the pages list them."""
