"""A library that is not installed: one sentence from Penstock, nothing new from anybody else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from penstock.errors import MissingLibraryError
from penstock.pipelines import cli


def run(code: str, *, module: str) -> dict[str, object]:
    """Run code as if it stood in a module of that name."""
    names: dict[str, object] = {"__name__": module}
    exec(code, names)
    return names


@pytest.mark.parametrize(
    "code",
    [
        "import no_such_library.part",
        "from importlib import import_module\nimport_module('no_such_library')",
    ],
)
def test_what_penstock_imports_names_its_extra(code: str) -> None:
    with pytest.raises(MissingLibraryError) as caught:
        run(code, module="penstock.somewhere")
    assert str(caught.value) == (
        "no_such_library is not installed. Install it with: pip install 'penstock[laptop]'"
    )
    assert caught.value.name == "no_such_library"


@pytest.mark.parametrize(
    ("library", "extra"),
    [("deltalake", "delta"), ("pyiceberg", "iceberg"), ("dvc", "dvc"), ("xgboost", "boosting")],
)
def test_a_library_of_one_kind_of_work_has_an_extra_of_its_own(library: str, extra: str) -> None:
    code = f"from penstock.common.missing import MissingLibraries as m\nm.find_spec({library!r})"
    with pytest.raises(MissingLibraryError, match=rf"penstock\[{extra}\]"):
        run(code, module="penstock.somewhere")


def test_others_hear_what_they_always_did() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        run("import no_such_library", module="elsewhere")
    assert type(caught.value) is ModuleNotFoundError
    with pytest.raises(ModuleNotFoundError) as caught:
        run("import penstock.no_such_part", module="penstock.somewhere")
    assert type(caught.value) is ModuleNotFoundError
    # Whoever asks whether there is a library is told that there is none.
    assert importlib.util.find_spec("no_such_library") is None
    asked = run(
        "import importlib.util\nfound = importlib.util.find_spec('no_such_library')",
        module="penstock.somewhere",
    )
    assert asked["found"] is None


def test_a_command_names_the_extra_of_all_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def missing(options: object) -> int:
        raise MissingLibraryError("rich", extra="pipelines")

    # Without an environment that lacks it; `make package` has one.
    monkeypatch.setattr(cli, "_run", missing)
    assert cli.main(["run"]) == 1
    assert capsys.readouterr().err == (
        "penstock: penstock run: rich is not installed. "
        "Install it with: pip install 'penstock[laptop]'\n"
    )


def test_a_command_names_the_extra_that_no_other_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(options: object) -> int:
        raise MissingLibraryError("deltalake", extra="delta")

    monkeypatch.setattr(cli, "_run", missing)
    assert cli.main(["run"]) == 1
    assert "pip install 'penstock[delta]'" in capsys.readouterr().err
