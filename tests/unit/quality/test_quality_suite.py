"""Suites: Great Expectations' own files, and what Kubeflow makes of them on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.errors import InputError
from penstock.quality.spec import Contract, Expectation
from penstock.quality.suite import digest_of, from_parameter, load_suite, save_suite

SUITE = (
    Expectation(
        type="expect_column_values_to_be_between",
        kwargs={"column": "âge", "min_value": 17, "max_value": 90.5, "mostly": 0.99},
        meta={"notes": "Adults: all of them."},
        severity="warn",
    ),
    Expectation(
        type="expect_column_values_to_be_in_set",
        kwargs={"column": "flag", "value_set": ["yes", "no", "on", "1e3", "2020-01-01"]},
    ),
    Expectation(type="expect_table_row_count_to_be_between", kwargs={"min_value": 10}),
)


@pytest.mark.parametrize("name", ["suite.json", "suite.yaml", "suite.yml", "suite"])
def test_suite_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    save_suite(SUITE, tmp_path / name)
    assert load_suite(tmp_path / name) == SUITE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["suite.json", "suite.yaml"])
def test_great_expectations_loads_what_was_saved(tmp_path: Path, name: str) -> None:
    import great_expectations as gx
    import yaml
    from great_expectations.core.expectation_suite import expectationSuiteSchema

    save_suite(SUITE, tmp_path / name, name="census")
    raw = yaml.safe_load((tmp_path / name).read_text())  # JSON is YAML too
    suite = gx.ExpectationSuite(**expectationSuiteSchema.load(raw))
    assert suite.name == "census"
    # GX drops an expectation it cannot build with no more than a log line.
    assert len(suite.expectations) == len(SUITE)
    assert suite.expectations[0].column == "âge"
    assert suite.expectations[0].severity.value == "warning"
    assert suite.expectations[0].meta == {"notes": "Adults: all of them."}

    (tmp_path / "back.json").write_text(json.dumps(suite.to_json_dict()))
    assert load_suite(tmp_path / "back.json") == SUITE


def test_older_suite_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(
        json.dumps(
            {
                "expectation_suite_name": "old",
                "ge_cloud_id": None,
                "expectations": [
                    {
                        "expectation_type": "expect_column_to_exist",
                        "kwargs": {"column": "age", "result_format": "COMPLETE"},
                        "meta": {},
                    }
                ],
                "meta": {"great_expectations_version": "0.18.0"},
            }
        )
    )
    assert load_suite(path) == (
        Expectation(type="expect_column_to_exist", kwargs={"column": "age"}),
    )


def test_what_great_expectations_writes_beside_is_kept_or_dropped() -> None:
    (read,) = from_parameter(
        [
            {
                "type": "expect_column_to_exist",
                "kwargs": {"column": "age"},
                "id": "8d1d5e0e-0000-4000-8000-000000000000",
                "notes": "Because.",
                "meta": None,
                "severity": None,
                "rendered_content": [],
            }
        ]
    )
    assert read == Expectation(
        type="expect_column_to_exist", kwargs={"column": "age"}, meta={"notes": "Because."}
    )


def test_whole_floats_become_integers_again() -> None:
    kwargs = {"column": "n", "value_set": [1.0, 2.5, True], "deep": {"max_value": 3.0}}
    (read,) = from_parameter([{"type": "expect_x", "kwargs": kwargs}])
    assert read.kwargs == {"column": "n", "value_set": [1, 2.5, True], "deep": {"max_value": 3}}
    assert [type(value) for value in read.kwargs["value_set"]] == [int, float, bool]
    assert type(read.kwargs["deep"]["max_value"]) is int


def test_dates_in_yaml_become_text(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "expectations:\n"
        "- type: expect_column_values_to_be_between\n"
        "  kwargs: {column: day, min_value: 2024-01-31}\n"
    )
    assert load_suite(path)[0].kwargs["min_value"] == "2024-01-31"


def test_digest_does_not_depend_on_file_or_kubeflow(tmp_path: Path) -> None:
    save_suite(SUITE, tmp_path / "a.yaml", name="other")
    through_kubeflow = json.loads(
        json.dumps([item.model_dump(mode="json") for item in SUITE]), parse_int=float
    )
    assert digest_of(load_suite(tmp_path / "a.yaml")) == digest_of(SUITE)
    assert digest_of(from_parameter(through_kubeflow)) == digest_of(SUITE)
    assert digest_of(SUITE[:2]) != digest_of(SUITE)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (7, r"expectations\[1\]: an expectation is an object with type and kwargs, got 7"),
        ({"kwargs": {}}, r"expectations\[1\]: type: Field required"),
        ({"type": "be_nice"}, r"expectations\[1\]: type: .*'be_nice'"),
        ({"type": "expect_x", "kwargs": [1]}, r"expectations\[1\]: kwargs: .*dictionary"),
        ({"type": "expect_x", "meta": "x"}, r"expectations\[1\]: meta: .*dictionary"),
        (
            {"type": "expect_x", "severity": "fatal"},
            r"expectations\[1\]: severity: .*'block', 'warn' or 'info', got 'fatal'",
        ),
        (
            {"type": "expect_x", "kwarg": {}},
            r"expectations\[1\]: kwarg: Extra inputs .* Known fields here: type, kwargs, meta",
        ),
        (
            {"type": "expect_x", "kwargs": {"max_value": float("inf")}},
            r"expectations\[1\]\.kwargs\.max_value: inf is no number .*Leave an open end out\.",
        ),
    ],
)
def test_malformed_expectation_is_named_by_position_and_field(item: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_parameter([{"type": "expect_table_row_count_to_equal"}, item])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.json", b'{"expectations": [\n}', r"s\.json, line 2, column 1: not JSON"),
        ("s.yaml", b"expectations:\n- a: [1", r"s\.yaml, line 2, column \d+: not YAML"),
        ("s.json", b"[]", r"a list called `expectations`.*penstock init"),
        ("s.json", b'{"expectations": {}}', r"a list called `expectations`"),
        ("s.yaml", b"", r"a list called `expectations`"),
        ("s.json", b"\xff\xfe", r"not UTF-8"),
        ("s.txt", b"{}", r"ends in \.json, \.yaml or \.yml, not '\.txt'.*Rename"),
    ],
)
def test_unreadable_suite_says_where(tmp_path: Path, name: str, content: bytes, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_suite(tmp_path / name)


def test_missing_suite_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: .*cannot be read: No such file"):
        load_suite(tmp_path / "none.json")


def test_suite_is_not_half_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.json"):
        save_suite(SUITE, tmp_path / "suite.toml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("theirs", "ours"), [("critical", "block"), ("warning", "warn")])
def test_the_words_of_great_expectations_are_read(theirs: str, ours: str) -> None:
    given = {"type": "expect_table_row_count_to_be_between", "severity": theirs}
    assert from_parameter([given])[0].severity == ours
    assert Contract.parse({"extra": "error"}, where="contract").extra == "block"
