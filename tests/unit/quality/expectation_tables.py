"""Random tables, and expectations about them whose verdicts are not all the same."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from penstock.quality.spec import Expectation

NUMBERS = ["i", "j", "f", "g", "no_integer", "no_number"]
TEXTS = ["s", "u", "no_text"]
TIMES = ["t", "t2", "no_time"]
BOOLEANS = ["b", "b2", "no_boolean"]
ALL = [*NUMBERS, *TEXTS, *TIMES, *BOOLEANS, "id", "big"]

PATTERNS = [
    "^a", "a$", r"^\d+$", "[A-Z]{1,3}", r"\w\s", "^(a|b)+$", ".", "(?i)a", "(?s).*", r"\S$", "^$",
    "(?=a)", "é", "[^a]", r"(a)\1", r"\bx", r"^-?\d+(\.\d+)?$", "日",
]  # fmt: skip
LARGE = [2**53, 2**53 + 1, 2**60, 2**60 + 1, -(2**62), 2**63 - 1, -(2**63), 7]
DOUBLES = [0.0, -0.0, 1.5, -2.25, 1e140, -1e-310, 0.1, 0.2, 1e15 + 0.5]
WORDS = [
    "",
    "2024-02-29",
    "{}",
    "a",
    "A",
    "ab",
    "é",
    "日本語",
    "a\n",
    "x1",
    "12",
    "-3.5",
    "tab\there",
    "🙂",
    "A" * 130,
]
SHARES = [0, 1, 0.5, 0.9, 0.999, 2 / 3, 1 / 3]


def table(chance: random.Random, rows: int) -> pa.Table:
    """Return a table with columns of every type, with and without gaps, and columns of none."""

    def column(kind: pa.DataType, draw: Any) -> pa.Array:
        gaps = chance.choice([0, 0, 0.2, 0.6])
        return pa.array([None if chance.random() < gaps else draw() for _ in range(rows)], kind)

    def day() -> datetime:
        extra = chance.choice([0, 0, 1])
        first = datetime(2024, 1, 1, tzinfo=UTC)
        return first + timedelta(days=chance.randint(0, 4), microseconds=extra)

    time = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "i": column(pa.int64(), lambda: chance.randint(-3, 5)),
            "j": column(pa.int64(), lambda: chance.randint(-3, 5)),
            "big": column(pa.int64(), lambda: chance.choice(LARGE)),
            "id": pa.array(range(rows), pa.int64()),
            "f": column(pa.float64(), lambda: chance.choice([*DOUBLES, chance.gauss(0, 100)])),
            "g": column(pa.float64(), lambda: chance.choice([0.1, 0.2, 0.3, 1.0, 2.0])),
            "s": column(pa.string(), lambda: chance.choice(WORDS)),
            "u": column(pa.string(), lambda: chance.choice(WORDS)),
            "b": column(pa.bool_(), lambda: chance.random() < 0.5),
            "b2": column(pa.bool_(), lambda: chance.random() < 0.5),
            "t": column(time, day),
            "t2": column(time, day),
            "no_integer": pa.nulls(rows, pa.int64()),
            "no_number": pa.nulls(rows, pa.float64()),
            "no_text": pa.nulls(rows, pa.string()),
            "no_time": pa.nulls(rows, time),
            "no_boolean": pa.nulls(rows, pa.bool_()),
        }
    )


class Expecting:
    """Draws expectations whose arguments come from the table's own values."""

    def __init__(self, chance: random.Random, rows: pa.Table) -> None:
        self.chance = chance
        self.values = {
            name: [value for value in rows[name].to_pylist() if value is not None]
            for name in rows.column_names
        }
        self.rows = rows

    def draw(self, kind: str) -> Expectation:
        """Return an expectation of a kind: the name of a method, without the line in front."""
        name, kwargs = getattr(self, f"_{kind}")()
        return Expectation(type=f"expect_{name}", kwargs=kwargs)

    def _value(self, name: str) -> Any:
        other = "a" if name in TEXTS else datetime(2024, 1, 2, tzinfo=UTC) if name in TIMES else 1
        other = True if name in BOOLEANS else other
        return self.chance.choice(self.values[name] or [other])

    def _mostly(self, **kwargs: Any) -> dict[str, Any]:
        share = self.chance.choice([None, *SHARES, round(self.chance.random(), 2)])
        return kwargs if share is None else {**kwargs, "mostly": share}

    def _bound(self, name: str) -> Any:
        value = self._value(name)
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, bool):
            return 0
        return self.chance.choice([value, value + 1, value - 1, value * 0.5, 0, 2.5])

    def _bounds(self, name: str) -> dict[str, Any]:
        low, high = sorted([self._bound(name), self._bound(name)])
        ends = self.chance.choice([("min",), ("max",), ("min", "max")])
        kwargs = {f"{end}_value": low if end == "min" else high for end in ends}
        strict = {f"strict_{end}": self.chance.random() < 0.7 for end in ends}
        return kwargs | strict if self.chance.random() < 0.5 else kwargs

    def _set(self, name: str, least: int = 0) -> list[Any]:
        values = [self._value(name) for _ in range(self.chance.randint(least, 4))]
        return [v.isoformat() if isinstance(v, datetime) else v for v in values]

    def _presence(self) -> Any:
        name = self.chance.choice(["not_be_null", "be_null", "be_unique"])
        return f"column_values_to_{name}", self._mostly(column=self.chance.choice(ALL))

    def _between(self) -> Any:
        name = self.chance.choice([*NUMBERS, "id", *TIMES])
        return "column_values_to_be_between", self._mostly(column=name, **self._bounds(name))

    def _in_set(self) -> Any:
        name, word = self.chance.choice(ALL), self.chance.choice(["be", "not_be"])
        kwargs = self._mostly(column=name, value_set=self._set(name))
        return f"column_values_to_{word}_in_set", kwargs

    def _pattern(self) -> Any:
        name, word = self.chance.choice([*TEXTS, "i", "big"]), self.chance.choice(["", "not_"])
        if self.chance.random() < 0.5:
            regex = self.chance.choice(PATTERNS)
            return f"column_values_to_{word}match_regex", self._mostly(column=name, regex=regex)
        several = self.chance.sample(PATTERNS, self.chance.randint(1, 3))
        kwargs = self._mostly(column=name, regex_list=several)
        if not word:
            kwargs["match_on"] = self.chance.choice(["any", "all"])
        return f"column_values_to_{word}match_regex_list", kwargs

    def _length(self) -> Any:
        name = self.chance.choice([*TEXTS, "i", "big"])
        if self.chance.random() < 0.5:
            value = self.chance.choice([0, 1, 2, 2.5])
            return "column_value_lengths_to_equal", self._mostly(column=name, value=value)
        low, high = sorted(self.chance.choices(range(6), k=2))
        kwargs = self._mostly(column=name, min_value=low, max_value=high)
        return "column_value_lengths_to_be_between", {**kwargs, "strict_max": high % 2 == 0}

    def _of_type(self) -> Any:
        names = ["int", "int64", "float", "float64", "str", "bool", "object", "datetime64"]
        column = self.chance.choice(ALL)
        return "column_values_to_be_of_type", {
            "column": column,
            "type_": self.chance.choice(names),
        }

    def _figure(self) -> Any:
        figure = self.chance.choice(["min", "max", "mean", "sum", "stdev", "median"])
        names = [*NUMBERS, *(TIMES if figure in ("min", "max") else BOOLEANS)]
        name = self.chance.choice(names)
        return f"column_{figure}_to_be_between", {"column": name, **self._bounds(name)}

    def _quantiles(self) -> Any:
        name = self.chance.choice(["i", "f", "g", "no_number"])
        shares = sorted(self.chance.sample([0, 0.05, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1], 2))
        ranges = []
        for _ in shares:
            low, high = sorted([self._value(name), self._value(name)])
            ranges.append(self.chance.choice([[low, high], [None, high], [low + 1, high + 1]]))
        given = {"quantiles": shares, "value_ranges": ranges}
        return "column_quantile_values_to_be_between", {"column": name, "quantile_ranges": given}

    def _distinct(self) -> Any:
        name = self.chance.choice(ALL)
        kind = self.chance.choice(["count", "share", "present", "be_in", "contain", "equal"])
        if kind == "count":
            low = self.chance.randint(0, 4)
            kwargs = {"column": name, "min_value": low, "max_value": low + 4}
            return "column_unique_value_count_to_be_between", kwargs
        if kind in ("share", "present"):
            word = "unique" if kind == "share" else "non_null"
            kwargs = {"column": name, "min_value": 0.3, "max_value": 0.75}
            return f"column_proportion_of_{word}_values_to_be_between", kwargs
        kwargs = {"column": name, "value_set": self._set(name, least=1)}
        return f"column_distinct_values_to_{kind}_set", kwargs

    def _pair(self) -> Any:
        pairs = [("i", "j"), ("i", "f"), ("f", "g"), ("s", "u"), ("t", "t2"), ("b", "b2")]
        left, right = self.chance.choice(pairs)
        ignore = ["both_values_are_missing", "either_value_is_missing", "neither"]
        kwargs = self._mostly(
            column_A=left, column_B=right, ignore_row_if=self.chance.choice(ignore)
        )
        if self.chance.random() < 0.5:
            return "column_pair_values_to_be_equal", kwargs
        kwargs["or_equal"] = self.chance.random() < 0.5
        return "column_pair_values_a_to_be_greater_than_b", kwargs

    def _several(self) -> Any:
        ignore = ["all_values_are_missing", "any_value_is_missing", "never"]
        kwargs = self._mostly(ignore_row_if=self.chance.choice(ignore))
        if self.chance.random() < 0.6:
            names = self.chance.sample(ALL, self.chance.randint(2, 3))
            return "compound_columns_to_be_unique", {"column_list": names, **kwargs}
        names = self.chance.sample(["i", "j", "g", "no_number"], 2)
        total = sum(self.rows[name][0].as_py() or 0 for name in names)
        return "multicolumn_sum_to_equal", {"column_list": names, "sum_total": total, **kwargs}

    def _order(self) -> Any:
        # Not "big": in Great Expectations the difference of two whole numbers wraps at 2^63.
        kwargs = self._mostly(column=self.chance.choice([*NUMBERS, *TIMES, "id"]))
        if self.chance.random() < 0.5:
            kwargs["strictly"] = self.chance.random() < 0.5
        return f"column_values_to_be_{self.chance.choice(['in', 'de'])}creasing", kwargs

    def _readable(self) -> Any:
        kwargs = self._mostly(column=self.chance.choice(TEXTS))
        if self.chance.random() < 0.5:
            return "column_values_to_be_json_parseable", kwargs
        form = self.chance.choice(["%Y-%m-%d", "%d", "%H:%M"])
        return "column_values_to_match_strftime_format", {**kwargs, "strftime_format": form}

    def _spread(self) -> Any:
        kwargs = self._mostly(column=self.chance.choice(["i", "f", "g", "id", *NUMBERS]))
        if self.chance.random() < 0.4:
            kwargs |= {
                "threshold": self.chance.choice([0.5, 1.1, 2.3, -1]),
                "double_sided": self.chance.random() < 0.5,
            }
            return "column_value_z_scores_to_be_less_than", kwargs
        if self.chance.random() < 0.8:
            kwargs["method"] = self.chance.choice(["iqr", "std"])
        if self.chance.random() < 0.8:
            kwargs["multiplier"] = self.chance.choice([0, 0.37, 1.13, 2.5])
        return "column_values_to_not_be_outliers", kwargs

    def _commonest(self) -> Any:
        # No times: Great Expectations loses their zone, and finds them in no set.
        name = self.chance.choice(["i", "g", "s", "b", "no_text", "no_number"])
        kwargs = {"column": name, "value_set": self._set(name, least=1)}
        if self.chance.random() < 0.6:
            kwargs["ties_okay"] = self.chance.random() < 0.7
        return "column_most_common_value_to_be_in_set", kwargs

    def _types(self) -> Any:
        names = ["int", "int64", "float", "float64", "str", "bool", "object"]
        kwargs = self._mostly(column=self.chance.choice(ALL))
        kwargs["type_list"] = self.chance.sample(names, self.chance.randint(1, 3))
        return "column_values_to_be_in_type_list", kwargs

    def _record(self) -> Any:
        ignore = ["all_values_are_missing", "any_value_is_missing", "never"]
        kwargs = self._mostly(ignore_row_if=self.chance.choice(ignore))
        groups = [["f", "g"], ["s", "u"], ["t", "t2"], ["i", "j", "id"], ["s", "u", "no_text"]]
        kwargs["column_list"] = self.chance.choice(groups)
        names = [
            "multicolumn_values_to_be_equal",
            "select_column_values_to_be_unique_within_record",
        ]
        return self.chance.choice(names), kwargs

    def _pair_in_set(self) -> Any:
        left, right = self.chance.choice([("i", "j"), ("f", "g"), ("s", "u"), ("s", "no_text")])
        ignore = ["both_values_are_missing", "either_value_is_missing", "neither"]
        pairs = [
            [
                self.rows[name][self.chance.randrange(len(self.rows))].as_py()
                for name in (left, right)
            ]
            for _ in range(4)
        ]
        kwargs = self._mostly(column_A=left, column_B=right, value_pairs_set=pairs)
        kwargs["ignore_row_if"] = self.chance.choice(ignore)
        return "column_pair_values_to_be_in_set", kwargs

    def _conditioned(self) -> Any:
        """An expectation about some of the rows, in one of the ways to write which."""
        kinds = [kind for kind in KINDS if kind not in ("of_type", "types", "table", "conditioned")]
        name, kwargs = getattr(self, f"_{self.chance.choice(kinds)}")()
        if self.chance.random() < 0.15:
            name, kwargs = "table_row_count_to_be_between", {"min_value": 1, "max_value": 100}
        way = self.chance.choice(["pandas", "great_expectations", "object"])
        if way == "object":
            return name, {**kwargs, "row_condition": self._object(depth=2)}
        condition = self._query() if way == "pandas" else self._own()
        return name, {**kwargs, "row_condition": condition, "condition_parser": way}

    def _test(self) -> tuple[str, str, Any]:
        name = self.chance.choice(["i", "j", "f", "g", "s", "b", "id", "no_number", "no_integer"])
        signs = ["==", "!="] if name in ("s", "b") else ["==", "!=", "<", "<=", ">", ">="]
        value = self._value(name)
        if name not in ("s", "b"):
            value = self.chance.choice([value, value, 0, 2.5])
        return name, self.chance.choice(signs), value

    def _own(self) -> str:
        if self.chance.random() < 0.2:
            return f'col("{self.chance.choice(ALL)}").notnull()'
        name, sign, value = self._test()
        simple = name != "b" and str(value).replace(".", "").replace("-", "").isalnum()
        simple = simple and str(value).isascii()
        return f'col("{name}") {sign} {value!r}' if simple else 'col("i") > 0'

    def _query(self) -> str:
        parts = []
        for _ in range(self.chance.randint(1, 3)):
            name, sign, value = self._test()
            part = f"{name} {sign} {value!r}"
            if self.chance.random() < 0.2:
                word = self.chance.choice(["in", "not in"])
                part = f"{name} {word} [{value!r}, {self._value(name)!r}]"
            elif self.chance.random() < 0.2:
                part = f"`{name}`.{self.chance.choice(['isnull', 'notna'])}()"
            elif sign in ("<", "<="):
                part = f"-1 {sign} {part}"
            parts.append(f"({part})" if self.chance.random() < 0.5 else part)
            if self.chance.random() < 0.3:
                parts[-1] = self.chance.choice(["not ({})", "~({})"]).format(parts[-1])
        joined = parts[0]
        for part in parts[1:]:
            joined += f" {self.chance.choice(['and', 'or', '&', '|'])} {part}"
        return joined

    def _object(self, depth: int) -> dict[str, Any]:
        if depth and self.chance.random() < 0.4:
            kind = self.chance.choice(["and", "or"] if depth == 2 else ["and"])
            return {"type": kind, "conditions": [self._object(depth - 1) for _ in range(2)]}
        name, sign, value = self._test()
        column = {"name": name}
        if self.chance.random() < 0.2:
            return {"type": "nullity", "column": column, "is_null": self.chance.random() < 0.5}
        if self.chance.random() < 0.2 and name != "b":
            sign, value = self.chance.choice(["IN", "NOT_IN"]), [value]
        return {"type": "comparison", "column": column, "operator": sign, "parameter": value}

    def _table(self) -> Any:
        names = self.rows.column_names
        return self.chance.choice(
            [
                ("table_row_count_to_be_between", {"min_value": 3, "max_value": 100}),
                ("table_row_count_to_equal", {"value": 7}),
                ("table_column_count_to_equal", {"value": len(names)}),
                ("table_column_count_to_be_between", {"min_value": 3, "max_value": 5}),
                ("table_columns_to_match_ordered_list", {"column_list": names}),
                ("table_columns_to_match_ordered_list", {"column_list": names[::-1]}),
                ("table_columns_to_match_set", {"column_set": names[::-1]}),
                ("table_columns_to_match_set", {"column_set": names[:2], "exact_match": False}),
                ("column_to_exist", {"column": "i"}),
                ("column_to_exist", {"column": "i", "column_index": 1}),
                ("column_to_exist", {"column": "elsewhere"}),
            ]
        )


KINDS = [
    "presence", "between", "in_set", "pattern", "length", "of_type", "figure", "quantiles",
    "distinct", "pair", "several", "table", "order", "readable", "record", "pair_in_set",
    "conditioned", "conditioned", "conditioned", "spread", "commonest", "types",
]  # fmt: skip
