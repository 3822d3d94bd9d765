"""Options of `penstock init` that say how to read a table, and how it reports assumptions."""

from __future__ import annotations

import argparse
import csv
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from penstock.data.spec import NA_VALUES, SourceSpec, SplitSpec
from penstock.errors import InputError, UsageError
from penstock.records.dataset import Assumption, ColumnType, sorted_by_risk

_WIDTH = 98
_LISTS = ("names", "columns", "exclude")
_TEXTS = ("delimiter", "encoding", "decimal", "thousands", "comment")
_COUNTS = ("skip_lines", "skip_last")
_OPTIONS = (*_LISTS, *_TEXTS, *_COUNTS, "na_values", "types", "formats", "header", "format")
"""Fields of the `source` section that have an option."""


def add_source_options(command: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    group = command.add_argument_group(
        "how to read the table", "What is given is written into the project file."
    )
    group.add_argument("--format", choices=("csv", "parquet", "jsonl"))
    group.add_argument(
        "--na-values",
        action="append",
        metavar="TEXT,...",
        help="texts that stand for a missing value, besides the usual ones; what begins with - is "
        "written --na-values=-,n.a.",
    )
    group.add_argument(
        "--not-na", action="append", metavar="TEXT,...", help="usual ones that are values here"
    )
    group.add_argument(
        "--types",
        action="append",
        metavar="COLUMN=TYPE,...",
        help=f"storage types: {', '.join(get_args(ColumnType))}",
    )
    group.add_argument(
        "--formats", action="append", metavar="COLUMN=FORMAT", help="how a column is written"
    )
    for name in _LISTS:
        text = SourceSpec.model_fields[name].description
        group.add_argument(f"--{name}", action="append", metavar="COLUMN,...", help=text)
    for name in _TEXTS:
        group.add_argument(_option(name), help=SourceSpec.model_fields[name].description)
    for name in _COUNTS:
        text = SourceSpec.model_fields[name].description
        group.add_argument(_option(name), type=int, metavar="LINES", help=text)
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=SourceSpec.model_fields["header"].description,
    )
    if "drop_missing_target" in SplitSpec.model_fields:
        command.add_argument(
            "--drop-missing-target",
            action="store_true",
            help=SplitSpec.model_fields["drop_missing_target"].description,
        )


def given_source(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `source` that options give.

    Raises:
        UsageError: If one is not written as it must be.
    """
    found: dict[str, Any] = {
        name: getattr(options, name) for name in ("format", "header", *_COUNTS)
    }
    found |= {name: _listed(getattr(options, name)) for name in _LISTS}
    found |= {name: getattr(options, name) for name in _TEXTS}
    found["delimiter"] = {"tab": "\t", "\\t": "\t"}.get(options.delimiter, options.delimiter)
    found["types"] = _pairs(_listed(options.types), "--types")
    found["formats"] = _pairs(options.formats or [], "--formats")
    if options.na_values or options.not_na:
        values = dict.fromkeys((*NA_VALUES, *_listed(options.na_values)))
        found["na_values"] = [text for text in values if text not in _listed(options.not_na)]
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def given_split(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `split` that options give."""
    return {"drop_missing_target": True} if getattr(options, "drop_missing_target", False) else {}


def with_options(error: InputError) -> InputError:
    """Return an error about a table with the options of init for the settings that it names."""
    named = [name for name in _OPTIONS if re.search(_mention(name), error.remedy)]
    if not named:
        return error
    options = ", ".join(_option(name) for name in named)
    remedy = f"{error.remedy} (Options of penstock init: {options}.)"
    return InputError(error.what, where=error.where, remedy=remedy)


def assumptions_text(assumptions: Iterable[Assumption]) -> str:
    """Return what was assumed of a table, riskiest first, each with the setting and the option."""
    lines = []
    for assumption in sorted_by_risk(assumptions):
        lines += _wrapped(assumption.text, first=f"  {assumption.risk:<7} ", then=" " * 10)
        option = _option_for(assumption.setting)
        lines += _wrapped(
            f"source: {assumption.setting}" + (f" ({option})" if option else ""),
            first=" " * 10 + "-> ",
            then=" " * 13,
        )
    return "\n".join(["Assumptions about the table, riskiest first:", *lines]) if lines else ""


def comments(assumptions: Iterable[Assumption]) -> list[str]:
    """Return what was assumed of a table as comment lines of YAML."""
    lines = []
    for assumption in sorted_by_risk(assumptions):
        text = (
            f"Assumed ({assumption.risk} risk): {assumption.text}. Setting: {assumption.setting}."
        )
        lines += _wrapped(text, first="# ", then="# ")
    return lines


def sections(source: SourceSpec) -> Mapping[str, Any]:
    """Return the settings of a source that are not the default, as plain values."""
    return source.model_dump(mode="json", exclude_defaults=True)


def _wrapped(text: str, *, first: str, then: str) -> list[str]:
    return textwrap.wrap(
        text, width=_WIDTH, initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    )


def _mention(name: str) -> str:
    """Return a pattern for a setting in a sentence, where its name may be a common word."""
    return rf"\b{name}\b" if "_" in name else rf"\b{name}:|\b([Ss]et|by|under) {name}\b"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _option_for(setting: str) -> str:
    """Return the option for the setting that a text begins with, or nothing."""
    name = re.split(r"[:, ]", setting, maxsplit=1)[0]
    if name == "header" and "false" in setting:
        return "--no-header"
    return _option(name) if name in _OPTIONS else ""


def _listed(texts: Sequence[str] | None) -> list[str]:
    """Return the parts of comma lists; a part with a comma stands in quotation marks."""
    return [part for row in csv.reader(texts or []) for part in row or [""]]


def _pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, mark, value = text.rpartition("=") if option == "--types" else text.partition("=")
        if not mark:
            raise UsageError(
                f"no = in {text!r}",
                where=option,
                remedy="Write COLUMN=VALUE, for example age=number.",
            )
        pairs[name] = value
    return pairs
