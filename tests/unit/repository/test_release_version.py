"""A release is prepared and checked: one version and one date wherever they stand."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest
from release_version import PLACES, check, main, notes, prepare

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that hold the version, and a changelog with one version to come."""
    for pattern in PLACES:
        for path in ROOT.glob(pattern):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 9.8.7 (unreleased)\n\n### Migration\n\nNothing.\n\n"
        "## 9.8.6 (2026-01-02)\n\nOld.\n"
    )
    return tmp_path


def test_what_was_prepared_may_be_released(checkout: Path) -> None:
    assert check("v9.8.7", root=checkout)
    changed = prepare("9.8.7", root=checkout, today=date(2026, 3, 4))
    assert {"CHANGELOG.md", "pyproject.toml", "penstock/__init__.py", "docs/images.md"} < set(
        changed
    )
    assert check("v9.8.7", root=checkout) == []
    assert "\n## 9.8.7 (2026-03-04)\n" in (checkout / "CHANGELOG.md").read_text()
    assert notes("9.8.7", root=checkout) == "### Migration\n\nNothing.\n"
    assert notes("9.8.6", root=checkout) == "Old.\n"


def test_each_place_that_has_another_version_is_named(checkout: Path) -> None:
    prepare("9.8.7", root=checkout)
    overlay = checkout / "manifests/overlays/kind/kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("newTag: 9.8.7", "newTag: 9.8.6", 1))
    assert check("v9.8.7", root=checkout) == [
        "manifests/overlays/kind/kustomization.yaml says 9.8.6, the tag v9.8.7."
    ]


@pytest.mark.parametrize(
    ("heading", "said"),
    [
        ("## 9.8.7 (unreleased)", "has no section `## 9.8.7 (YYYY-MM-DD)`"),
        (
            "## 9.8.7 (2026-03-04)\n\n## 9.8.6 (2026-01-02)",
            "section 9.8.7 of CHANGELOG.md is empty",
        ),
    ],
)
def test_a_changelog_without_notes_of_the_version_is_named(
    checkout: Path, heading: str, said: str
) -> None:
    prepare("9.8.7", root=checkout)
    (checkout / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\nOld.\n")
    (problem,) = check("v9.8.7", root=checkout)
    assert said in problem


@pytest.mark.parametrize("tag", ["9.8.7", "v9.8", "v9.8.7rc1", ""])
def test_another_tag_is_refused(tag: str) -> None:
    assert "is not a tag of the form vX.Y.Z" in check(tag)[0]


@pytest.mark.parametrize("version", ["v9.8.7", "9.8", ""])
def test_another_version_is_not_prepared(checkout: Path, version: str) -> None:
    with pytest.raises(SystemExit, match="not a version of the form"):
        prepare(version, root=checkout)


def test_what_is_released_is_not_prepared_again(checkout: Path) -> None:
    prepare("9.8.7", root=checkout)
    with pytest.raises(SystemExit, match="has no section"):
        prepare("9.8.8", root=checkout)


def test_a_check_that_fails_says_why_and_writes_no_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "notes.md"
    monkeypatch.setattr(
        "sys.argv", ["release_version.py", "check", "v9.8.7", "--notes", str(output)]
    )
    assert main() == 1
    assert "pyproject.toml says" in capsys.readouterr().err
    assert not output.exists()


def test_this_version_is_the_same_everywhere() -> None:
    import penstock

    problems = check(f"v{penstock.__version__}")
    assert [problem for problem in problems if " says " in problem] == []
