"""A former champion is fetched as a candidate: its very files, and what it has to beat."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kfp import dsl

from penstock import model as models
from penstock.components.fetch_version import fetch_version
from penstock.errors import InputError, NotApprovedError
from penstock.records.model import FILE_NAME, Model


@pytest.fixture
def trained(registry, tmp_path: Path):
    """The registry, with models that say of how many rows of each class they learned."""
    plain = registry.models

    def models(depth: int) -> Path:
        folder = tmp_path / f"model-{depth}"
        if not folder.exists():
            shutil.copytree(plain(depth=depth), folder)
            record = Model.read(folder / FILE_NAME)
            record.model_copy(update={"class_rows": (120, 80)}).write(folder / FILE_NAME)
        return folder

    registry.models = models
    return registry


def fetched(uri: str, version: int, out: Path) -> tuple[Path, Path]:
    """Run the component as Kubeflow does."""
    model, baselines = out / "model", out / "baselines"
    fetch_version.python_func(
        name="adult",
        version=version,
        model=dsl.Model(uri=str(model)),
        baselines=dsl.Model(uri=str(baselines)),
        tracking_uri=uri,
    )
    return model, baselines


def test_its_files_are_those_that_were_registered_and_it_gets_a_new_version(
    trained, tmp_path: Path
) -> None:
    registry = trained
    first, _ = registry.registered(depth=2)
    registry.promote(first.version)
    second, _ = registry.registered(depth=3)
    registry.promote(second.version)
    model, baselines = fetched(registry.uri, first.version, tmp_path / "out")
    assert models.digest_of(model) == first.model
    assert [path.name for path in baselines.iterdir()] == ["majority"]
    # Decided on again, beside another champion: the same model, another version.
    third, decision = registry.registered(depth=2)
    assert (third.version, third.model) == (3, first.model)
    assert decision.champion == second.uri
    assert registry.registered(depth=2)[0] == third


def test_one_that_never_was_champion_or_says_too_little_is_refused(
    registry, tmp_path: Path
) -> None:
    first, _ = registry.registered(depth=2)
    registry.promote(first.version)
    registry.registered(depth=3)
    with pytest.raises(InputError, match="no baseline can be made"):
        fetched(registry.uri, first.version, tmp_path / "first")
    with pytest.raises(NotApprovedError, match="was never the champion"):
        fetched(registry.uri, 2, tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()
