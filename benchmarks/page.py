"""Write docs/benchmarks.md from what the benchmarks wrote: build/bench-NAME.json, one a benchmark.

    python benchmarks/page.py

Every benchmark of the Makefile is on the page, also one that was not run. One that left no file
here keeps what the page says of it, with its own date and machine. A file that is not as
`targets.report` writes it ends this with 1, and the page stays as it was.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from targets import FORM, Target

ROOT = Path(__file__).resolve().parent.parent
KEYS = frozenset(
    ("form", "name", "question", "machine", "busy", "date", "commit", "figures", "targets")
)
BUSY = 0.1
"""Share of the machine used by others from which its times are called those of a busy machine."""
LONG = 12
"""Rows from which a table is folded."""
NOTE = "<!-- Made by benchmarks/page.py from build/bench-*.json: run a benchmark, do not edit. -->"
WORDS = {
    "cpu": "CPU", "mb": "MB", "kb": "KB", "roc": "ROC", "auc": "AUC", "csv": "CSV", "seconds": "s",
    "yaml": "YAML", "gx": "GX", "onnx": "ONNX", "sql": "SQL", "ms": "ms",
}  # fmt: skip

INTRODUCTION = """\
`make bench` runs them all, except the soak, and writes this page. Each runs alone by its `make`
target; `make bench-page` writes the page again. A target is a claim of the documentation or of an
issue. It is compared without rounding, and a benchmark that misses one ends with 1. Ratios are to a
named alternative in the same run, medians of runs in changing order. CPU is user and system time of
a process and its children; memory is resident, of the largest process.
"""

Part = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """What the page says of a benchmark that was run.

    Attributes:
        row: Its line in the table.
        section: Its section.
        date: When it was measured.
        machine: Where.
        busy: Whether other work ran beside it.
    """

    row: str
    section: str
    date: date
    machine: str
    busy: bool


class UnknownFormError(Exception):
    """A file is not what `targets.report` writes."""


def main() -> int:
    """Write the page; 1 if a file is not in the known form."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, default=ROOT / "build")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    known = commands()
    parts: dict[str, Part] = {}
    problems = []
    for path in sorted(options.folder.glob("bench-*.json")):
        try:
            part = read(path, known=known)
        except UnknownFormError as problem:
            problems.append(f"{path}: {problem}")
        else:
            parts[part["name"]] = part
    if problems:
        print("\n".join([*problems, "Run these benchmarks again, or remove the files."]))
        return 1
    before = options.output.read_text(encoding="utf-8") if options.output.exists() else ""
    shown = kept(before, known=known) | {name: _shown(part, known) for name, part in parts.items()}
    options.output.write_text("\n".join(_page(shown, known)) + "\n", encoding="utf-8")
    return 0


def commands() -> dict[str, str]:
    """Return the benchmarks of the Makefile, in its order: the name, and the target to make."""
    found = re.findall(r"^(bench-[a-z]+|soak):", (ROOT / "Makefile").read_text(), flags=re.M)
    return {target.removeprefix("bench-"): target for target in found if target != "bench-page"}


def read(path: Path, *, known: Mapping[str, str]) -> Part:
    """Return what a benchmark wrote.

    Args:
        path: The file, `bench-NAME.json`.
        known: Names of benchmarks.

    Raises:
        UnknownFormError: If it is not what `targets.report` writes, of a benchmark that is known,
            or if a target is said to be met and is not.
    """
    try:
        part = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnknownFormError(f"it is no JSON ({error}).") from error
    if not isinstance(part, dict) or part.get("form") != FORM:
        raise UnknownFormError(f"it is not in the form {FORM} of benchmarks/targets.py.")
    if part.keys() != KEYS:
        odd = ", ".join(sorted(part.keys() ^ KEYS))
        raise UnknownFormError(f"these fields are missing, or are not known: {odd}.")
    if part["name"] not in known or path.name != f"bench-{part['name']}.json":
        raise UnknownFormError(f"the Makefile has no benchmark of this name: {part['name']}.")
    if not part["targets"]:
        raise UnknownFormError("it has no target.")
    for target in part["targets"]:
        said = target.get("met")
        if said is not _target(target).met:
            raise UnknownFormError(f"what it says of a target is not so: {target.get('what')}.")
    return part


def kept(page: str, *, known: Mapping[str, str]) -> dict[str, Shown]:
    """Return what a page that this wrote says of each benchmark.

    Args:
        page: Its text; empty: there is none.
        known: Names of benchmarks; what it says of others is left out.
    """
    sections = {text.partition("\n")[0]: text.rstrip() for text in page.split("\n## ")[1:]}
    found = {}
    for name in known:
        row = re.search(rf"^\| \[{name}\]\(#{name}\) .*$", page, flags=re.M)
        measured = re.search(
            r"^Measured on (.+) at commit `.+`, (.+)\.$", sections.get(name, ""), re.M
        )
        if row and measured:
            day = datetime.strptime(measured[1], "%d %B %Y").date()
            busy = "busy" in row[0].split("|")[3]
            found[name] = Shown(row[0], f"\n## {sections[name]}", day, measured[2], busy)
    return found


def _shown(part: Part, known: Mapping[str, str]) -> Shown:
    return Shown(
        row=_row(part, known[part["name"]]),
        section="\n".join(_section(part)),
        date=date.fromisoformat(part["date"]),
        machine=part["machine"],
        busy=_is_busy(part),
    )


def _target(of: Mapping[str, Any]) -> Target:
    fields = {name: of.get(name) for name in ("what", "value", "bound", "unit", "side")}
    if None in (fields["what"], fields["bound"], fields["side"]):
        raise UnknownFormError("a target lacks what, bound or side.")
    if fields["value"] is None:
        # JSON has no word for an infinite value, which can be met, or for what is not a number.
        infinite = float("-inf" if of["side"] == "at most" else "inf")
        fields["value"] = infinite if of.get("met") else float("nan")
    return Target(**fields)  # type: ignore[arg-type]


def _page(shown: Mapping[str, Shown], known: Mapping[str, str]) -> Iterator[str]:
    yield "# Benchmarks"
    yield f"\n{NOTE}\n"
    yield INTRODUCTION
    yield from _when(shown)
    yield ""
    yield "| benchmark | targets met | measured | commit |"
    yield "|---|---|---|---|"
    for name, target in known.items():
        yield (
            shown[name].row if name in shown else f"| {name} (`make {target}`) | - | not run | - |"
        )
    yield from (shown[name].section for name in known if name in shown)


def _row(part: Part, target: str) -> str:
    name = part["name"]
    met = sum(bool(one["met"]) for one in part["targets"])
    text = f"{met} of {len(part['targets'])}{' not refuted' * _is_quick(part)}"
    text = text if met == len(part["targets"]) else f"**{text}**"
    when = ", ".join([part["date"], *_notes(part)])
    return f"| [{name}](#{name}) (`make {target}`) | {text} | {when} | {part['commit']} |"


def _when(shown: Mapping[str, Shown]) -> Iterator[str]:
    dates = sorted({one.date for one in shown.values()})
    if not dates:
        yield "None was run yet."
        return
    if len(dates) > 1:
        yield f"**The parts are from different dates**, {_day(dates[0])} to {_day(dates[-1])}."
    else:
        yield f"All parts are of {_day(dates[0])}."
    machines = sorted({one.machine for one in shown.values()})
    if len(machines) > 1:
        yield "**They were measured on different machines**: see each."
    else:
        yield f"Machine: {machines[0]}."
    if any(one.busy for one in shown.values()):
        yield "Where it says *busy*, other work ran beside it: times by the clock say little there,"
        yield "and ratios of CPU are off by some percent."


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _is_busy(part: Part) -> bool:
    return part["busy"] is not None and part["busy"] > BUSY


def _is_quick(part: Part) -> bool:
    return bool(part["figures"].get("quick"))


def _notes(part: Part) -> Iterator[str]:
    if _is_quick(part):
        yield "short run"
    if _is_busy(part):
        yield "busy"


def _section(part: Part) -> Iterator[str]:
    yield f"\n## {part['name']}\n"
    yield part["question"]
    yield ""
    day = _day(date.fromisoformat(part["date"]))
    yield f"Measured on {day} at commit `{part['commit']}`, {part['machine']}."
    if part["busy"] is not None:
        yield f"Other work used {100 * part['busy']:.0f} % of the machine meanwhile."
    if _is_quick(part):
        yield "**A short run: it can refute a target, and shows none to be met.**"
    yield "\n| target | measured | bound | |"
    yield "|---|---|---|---|"
    for of in part["targets"]:
        target = _target(of)
        value = "none" if of["value"] is None else _unbroken(target.said(), target.unit)
        bound = f"{target.side} {_unbroken(f'{target.bound:g}', target.unit)}"
        met = "not refuted" if _is_quick(part) else "met"
        met = met if target.met else "**missed**"
        yield f"| {_cell(target.what)} | {value} | {bound} | {met} |"
    shown = {key: one for key, one in part["figures"].items() if key not in ("raw", "quick")}
    yield from _figures(shown, title="")


def _figures(figures: Mapping[str, Any], *, title: str) -> Iterator[str]:
    """Yield single figures as a list, mappings of figures as rows of a table, the rest below."""
    single = {key: one for key, one in figures.items() if _is_single(one)}
    rows = {key: one for key, one in figures.items() if _is_row(one)}
    if title and (single or rows):
        yield f"\n{title}:"
    if single:
        yield ""
        yield from (f"- {_words(key)}: {_value(one)}" for key, one in single.items())
    if rows:
        yield from _table(rows)
    for key, one in figures.items():
        if isinstance(one, Mapping) and not _is_row(one):
            yield from _figures(one, title=f"{title}, {_words(key)}" if title else _capital(key))
        elif isinstance(one, list) and not _is_single(one):
            numbered = {str(place + 1): each for place, each in enumerate(one)}
            yield from _figures(
                numbered, title=f"{title}, {_words(key)}" if title else _capital(key)
            )


def _is_single(one: Any) -> bool:
    plain = not isinstance(one, Mapping | list)
    return plain or (isinstance(one, list) and all(not isinstance(x, Mapping | list) for x in one))


def _is_row(one: Any) -> bool:
    return isinstance(one, Mapping) and bool(one) and all(_is_single(x) for x in one.values())


def _table(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    long = len(rows) > LONG
    yield f"\n<details><summary>{len(rows)} rows</summary>\n" if long else ""
    yield f"| | {' | '.join(_cell(_words(key)) for key in columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for name, row in rows.items():
        yield f"| {_cell(_words(name))} | {' | '.join(_value(row.get(key)) for key in columns)} |"
    if long:
        yield "\n</details>"


def _value(one: Any) -> str:
    if one is None:
        return "-"
    if isinstance(one, bool):
        return "yes" if one else "no"
    if isinstance(one, int):
        return f"{one:,}"
    if isinstance(one, float):
        return f"{one:,.0f}" if abs(one) >= 1000 else f"{one:.4g}" if one % 1 else f"{one:.0f}"
    if isinstance(one, list):
        return ", ".join(_value(each) for each in one) or "none"
    return _cell(str(one))


def _unbroken(number: str, unit: str) -> str:
    """Return both with a space where no line is broken."""
    return f"{number}\u00a0{unit}".strip()


def _words(key: str) -> str:
    """Return a key as a reader would write it; a name with spaces is one already."""
    if " " in key or "_" not in key:
        return WORDS.get(key, key)
    return " ".join(WORDS.get(word, word) for word in key.split("_"))


def _capital(key: str) -> str:
    words = _words(key)
    return words[:1].upper() + words[1:]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
