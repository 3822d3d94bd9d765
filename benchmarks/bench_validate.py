"""Validation of a million rows: ours, Great Expectations alone, and the same checks in polars.

Each run is a process of its own that imports what it needs, in turn and in changing order:

    python benchmarks/bench_validate.py --rows 1000000 --pairs 5 --json validate.json

Ours is `penstock.quality.check.validate` on an ingested dataset, with record and page. Great
Expectations gets the same rows as a pandas frame from the same Parquet files, and one suite.
Polars computes the same verdicts by expressions over a scan; it stands there for reference.
Target: CPU seconds at most 1/8 of Great Expectations alone, and every verdict the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import measured, turns
from targets import Target, report

MOST = 1 / 8

MIXED_TABLE = Path(__file__).with_name("mixed_table.py")

OURS = """
import json, sys
from pathlib import Path
from penstock.quality.check import validate
from penstock.quality.spec import Contract
from penstock.quality.suite import load_suite

folder, suite, out = map(Path, sys.argv[1:])
found = validate(
    folder, contract=Contract(), expectations=load_suite(suite),
    results=out.with_suffix(".record"), report=out.with_suffix(".html"),
)
verdicts = [[one.passed, one.unexpected] for one in found.findings]
out.write_text(json.dumps({"verdicts": verdicts, "gx": "great_expectations" in sys.modules}))
"""

PLAIN = """
import json, sys
from pathlib import Path
import great_expectations as gx
import pandas as pd

folder, suite, out = map(Path, sys.argv[1:])
given = json.loads(suite.read_text())["expectations"]
frame = pd.read_parquet(folder)
# pandas turns whole numbers with gaps into doubles; nothing here depends on it.
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
batch = (
    context.data_sources.add_pandas("bench").add_dataframe_asset("rows")
    .add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
built = [
    ExpectationConfiguration(
        type=one["type"], kwargs=one["kwargs"], meta={"at": at}
    ).to_domain_obj()
    for at, one in enumerate(given)
]
answers = batch.validate(
    gx.ExpectationSuite(name="bench", expectations=built), result_format="BASIC"
).results
verdicts = [None] * len(given)
for answer in answers:
    at = answer.expectation_config.meta["at"]
    verdicts[at] = [bool(answer.success), (answer.result or {}).get("unexpected_count")]
out.write_text(json.dumps({"verdicts": verdicts}))
"""

POLARS = """
import json, sys
from datetime import datetime, timezone
from pathlib import Path
import polars as pl

folder, suite, out = map(Path, sys.argv[1:])
given = json.loads(suite.read_text())["expectations"]
c = pl.col

def when(text):
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)

def bounds(k):
    low, high = k.get("min_value"), k.get("max_value")
    return tuple(when(x) if isinstance(x, str) else x for x in (low, high))

def inside(value, k):
    low, high = bounds(k)
    above = [] if low is None else [value >= low]
    return pl.all_horizontal(above + ([] if high is None else [value <= high]))

def broken(kind, k):
    col = c(k["column"]) if "column" in k else None
    if kind == "column_values_to_not_be_null": return col.is_null()
    if kind == "column_values_to_be_unique": return col.is_duplicated() & col.is_not_null()
    if kind == "column_values_to_be_between": return ~inside(col, k)
    if kind == "column_values_to_be_in_set": return ~col.is_in(k["value_set"])
    if kind == "column_values_to_not_be_in_set": return col.is_in(k["value_set"])
    if kind == "column_values_to_match_regex": return ~col.str.contains(k["regex"])
    if kind == "column_value_lengths_to_be_between": return ~inside(col.str.len_chars(), k)
    if kind == "column_pair_values_a_to_be_greater_than_b":
        return ~(c(k["column_A"]) > c(k["column_B"])).fill_null(False)
    if kind == "compound_columns_to_be_unique": return pl.struct(k["column_list"]).is_duplicated()
    return None

def figure(kind, k):
    col = c(k["column"]) if "column" in k else None
    return {
        "column_mean_to_be_between": lambda: col.mean(),
        "column_stdev_to_be_between": lambda: col.std(),
        "column_sum_to_be_between": lambda: col.sum(),
        "column_min_to_be_between": lambda: col.min(),
        "column_max_to_be_between": lambda: col.max(),
        "column_median_to_be_between": lambda: col.median(),
        "column_unique_value_count_to_be_between": lambda: col.drop_nulls().n_unique(),
        "table_row_count_to_be_between": lambda: pl.len(),
    }[kind]()

columns = []
for at, one in enumerate(given):
    kind, k = one["type"].removeprefix("expect_"), one["kwargs"]
    if kind == "column_distinct_values_to_be_in_set":
        columns.append(c(k["column"]).drop_nulls().is_in(k["value_set"]).all().alias(str(at)))
    elif kind == "column_quantile_values_to_be_between":
        columns += [
            c(k["column"]).quantile(q, interpolation="nearest").alias(f"{at} {n}")
            for n, q in enumerate(k["quantile_ranges"]["quantiles"])
        ]
    elif (expression := broken(kind, k)) is not None:
        columns.append(expression.sum().alias(str(at)))
        if kind not in ("column_values_to_not_be_null", "compound_columns_to_be_unique",
                        "column_pair_values_a_to_be_greater_than_b"):
            columns.append(c(k["column"]).count().alias(f"{at} n"))
        else:
            columns.append(pl.len().alias(f"{at} n"))
    else:
        columns.append(figure(kind, k).alias(str(at)))
found = pl.scan_parquet(folder / "*.parquet").select(columns).collect(engine="streaming")
row = found.row(0, named=True)
verdicts = []
for at, one in enumerate(given):
    kind, k = one["type"].removeprefix("expect_"), one["kwargs"]
    if kind == "column_distinct_values_to_be_in_set":
        verdicts.append([bool(row[str(at)]), None])
    elif kind == "column_quantile_values_to_be_between":
        ranges = k["quantile_ranges"]["value_ranges"]
        verdicts.append([all(a <= row[f"{at} {n}"] <= b for n, (a, b) in enumerate(ranges)), None])
    elif f"{at} n" in row:
        count, wrong = row[f"{at} n"], row[str(at)]
        verdicts.append([(count - wrong) / count >= k.get("mostly", 1), wrong])
    else:
        low, high = bounds(k)
        value = row[str(at)]
        verdicts.append([(low is None or value >= low) and (high is None or value <= high), None])
out.write_text(json.dumps({"verdicts": verdicts}))
"""

RUNS = {"ours": OURS, "plain GX": PLAIN, "polars": POLARS}


def suite(rows: int) -> list[dict[str, Any]]:
    """Return 25 expectations about the table: what `propose` writes, and figures of columns."""

    def expect(check: str, **kwargs: Any) -> dict[str, Any]:
        return {"type": f"expect_{check}", "kwargs": kwargs, "meta": {}}

    fair = {"quantiles": [0.05, 0.5, 0.95], "value_ranges": [[3, 5], [19, 21], [90, 115]]}
    return [
        expect("table_row_count_to_be_between", min_value=rows // 10),
        expect("column_values_to_not_be_null", column="transaction"),
        expect("column_values_to_be_unique", column="transaction"),
        expect("column_values_to_match_regex", column="transaction", regex="^tx-[0-9]+$"),
        expect("column_value_lengths_to_be_between", column="customer", min_value=2, max_value=7),
        expect("column_unique_value_count_to_be_between", column="customer", min_value=1000),
        expect("column_values_to_not_be_null", column="age", mostly=0.95),
        expect("column_values_to_be_between", column="age", min_value=18, max_value=94),
        expect("column_values_to_be_between", column="age", min_value=25, mostly=0.9),
        expect("column_mean_to_be_between", column="visits", min_value=2.9, max_value=3.1),
        expect("column_values_to_be_unique", column="balance_cents", mostly=0.9),
        expect("column_values_to_be_between", column="zip", min_value=10000, max_value=99999),
        expect("column_quantile_values_to_be_between", column="amount", quantile_ranges=fair),
        expect("column_values_to_be_between", column="amount", min_value=0, max_value=500),
        expect("column_stdev_to_be_between", column="score", min_value=0.2, max_value=0.4),
        expect("column_median_to_be_between", column="ratio", min_value=-0.1, max_value=0.1),
        expect("column_max_to_be_between", column="latitude", max_value=90),
        expect("column_min_to_be_between", column="temperature", min_value=-100),
        expect("column_values_to_be_in_set", column="country",
               value_set=[f"country-{n}" for n in range(1, 61)]),
        expect("column_values_to_be_in_set", column="channel", value_set=["web", "app", "shop"]),
        expect("column_distinct_values_to_be_in_set", column="segment",
               value_set=["gold", "silver", "bronze"]),
        expect("column_values_to_match_regex", column="merchant", regex=r"^m\d{1,4}$"),
        expect("column_values_to_be_between", column="day", min_value="2019-04-14T00:00:00+00:00"),
        expect("column_pair_values_a_to_be_greater_than_b", column_A="moment", column_B="day"),
        expect("column_values_to_not_be_in_set", column="comment", value_set=["lost"]),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 when every target is met, 1 when one is missed.

    Args:
        arguments: The command line; None for the process's own.
    """
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=options.folder) as name:
        taken = _measure(Path(name), options.rows, options.pairs)
    return _report(taken, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5, help="turns in which each program runs")
    parser.add_argument("--json", default="", help="where to write the figures")
    parser.add_argument("--folder", default=None, help="where the table is made; removed after")
    return parser.parse_args(arguments)


def _measure(folder: Path, rows: int, pairs: int) -> dict[str, list[dict[str, Any]]]:
    """Make the table and let each program check it, in turns."""
    print(f"generating {rows:,} rows …", flush=True)
    data, given = folder / "data", folder / "suite.json"
    subprocess.run([sys.executable, MIXED_TABLE, "dataset", str(rows), str(data)], check=True)
    written = {"name": "bench", "expectations": suite(rows), "meta": {}}
    given.write_text(json.dumps(written))
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
    for order in turns(list(RUNS), pairs):
        for name in order:
            taken[name].append(_run(RUNS[name], data, given, folder / "found"))
    return taken


def _run(code: str, data: Path, given: Path, found: Path) -> dict[str, Any]:
    """Run one program; return its verdicts, seconds of CPU and peak memory in MiB."""
    cost, _ = measured([sys.executable, "-c", code, data, given, found])
    return {**json.loads(found.read_text()), "cpu": cost.cpu, "mb": cost.mb}


def _report(taken: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> int:
    verdicts = {name: runs[0]["verdicts"] for name, runs in taken.items()}
    checks = suite(options.rows)
    print(f"\n{options.rows:,} rows, {len(checks)} expectations, medians of {options.pairs}:")
    print(f"{'':12}{'CPU s':>10}{'peak MB':>10}{'other verdicts':>17}")
    figures: dict[str, Any] = {"rows": options.rows, "expectations": len(checks), "runs": {}}
    for name, runs in taken.items():
        other = [
            checks[at]["type"]
            for at, (here, ours) in enumerate(zip(verdicts[name], verdicts["ours"], strict=True))
            if here[0] != ours[0] or (None not in (here[1], ours[1]) and here[1] != ours[1])
        ]
        row = {
            "cpu_seconds": statistics.median(run["cpu"] for run in runs),
            "peak_mb": max(run["mb"] for run in runs),
            "other_verdicts": other,
        }
        figures["runs"][name] = row
        print(f"{name:12}{row['cpu_seconds']:>10.2f}{row['peak_mb']:>10.0f}  {len(other):>15}")
        for one in other:
            print(f"    {one}")
    pairs = zip(taken["ours"], taken["plain GX"], strict=True)
    ratio = statistics.median(ours["cpu"] / theirs["cpu"] for ours, theirs in pairs)
    return report(
        "validate",
        question=f"CPU, imports counted, of {len(checks)} expectations on {options.rows:,} rows x "
        "20 mixed columns, beside Great Expectations alone on a pandas frame of the same rows",
        figures=figures,
        targets=[
            Target("CPU of validation beside plain Great Expectations", ratio, MOST),
            Target(
                "verdicts and counts that differ from plain Great Expectations",
                len(figures["runs"]["plain GX"]["other_verdicts"]), 0, unit="",
            ),
            Target(
                "imports of Great Expectations by ours",
                sum(run["gx"] for run in taken["ours"]), 0, unit="",
            ),
        ],
        path=Path(options.json) if options.json else None,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
