"""What a maintainer does by hand for a release, and what the workflow asks before it builds.

    python scripts/release_version.py prepare X.Y.Z     write version and date wherever they stand
    python scripts/release_version.py check vX.Y.Z      say what does not fit the tag

Needs nothing but Python, so it runs before anything is set up.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PLACES = {
    "pyproject.toml": r'^(version = ")([^"]*)',
    "penstock/__init__.py": r'^(__version__ = ")([^"]*)',
    "docs/images.md": r"(penstock/serving:)(\S+)",
    "manifests/**/kustomization.yaml": r"(- name: penstock/\w+\n +newTag: )(\S+)",
}
"""Where the version stands: files, and a pattern with what comes before it and the version."""

UNRELEASED = re.compile(r"^## \S+ \(unreleased\)$", re.MULTILINE)
"""The heading of the changelog's section that `prepare` gives a version and a date."""


def main() -> int:
    """Prepare or check; exit with 1 if something does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare").add_argument("version", help="X.Y.Z")
    checking = commands.add_parser("check")
    checking.add_argument("tag", help="vX.Y.Z")
    checking.add_argument("--notes", type=Path, help="write the changelog's section here")
    options = parser.parse_args()
    if options.command == "prepare":
        for path in prepare(options.version):
            print(f"wrote {path}")
        return 0
    problems = check(options.tag)
    for problem in problems:
        print(problem, file=sys.stderr)
    if options.notes and not problems:
        options.notes.write_text(notes(options.tag.removeprefix("v")), encoding="utf-8")
    return int(bool(problems))


def prepare(version: str, *, root: Path = ROOT, today: date | None = None) -> list[str]:
    """Write the version and the date of today wherever they stand, and return the changed files.

    Args:
        version: X.Y.Z.
        root: The checkout.
        today: The date of the changelog's section; none: today's in UTC.

    Raises:
        SystemExit: The version is not of that form, or the changelog has no section `(unreleased)`.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise SystemExit(f"{version!r} is not a version of the form X.Y.Z")
    changelog = _changelog(root)
    if not UNRELEASED.search(changelog):
        raise SystemExit("CHANGELOG.md has no section `## X.Y.Z (unreleased)`: write one first")
    day = today or datetime.now(UTC).date()
    dated = UNRELEASED.sub(f"## {version} ({day.isoformat()})", changelog, count=1)
    texts = {root / "CHANGELOG.md": dated}
    for path, pattern in _places(root):
        text = path.read_text(encoding="utf-8")
        texts[path] = re.sub(pattern, rf"\g<1>{version}", text, flags=re.MULTILINE)
    changed = {path: text for path, text in texts.items() if path.read_text("utf-8") != text}
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
    return [str(path.relative_to(root)) for path in changed]


def check(tag: str, *, root: Path = ROOT) -> list[str]:
    """Return what does not fit the tag, each in a sentence; empty: it may be released.

    Args:
        tag: vX.Y.Z.
        root: The checkout.
    """
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        return [f"{tag!r} is not a tag of the form vX.Y.Z."]
    version = tag.removeprefix("v")
    problems = [
        f"{path.relative_to(root)} says {found}, the tag {tag}."
        for path, pattern in _places(root)
        for _, found in re.findall(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if found != version
    ]
    dated = rf"^## {re.escape(version)} \(\d{{4}}-\d{{2}}-\d{{2}}\)$"
    if not re.search(dated, _changelog(root), flags=re.MULTILINE):
        problems.append(f"CHANGELOG.md has no section `## {version} (YYYY-MM-DD)`.")
    elif not notes(version, root=root).strip():
        problems.append(f"The section {version} of CHANGELOG.md is empty.")
    return problems


def notes(version: str, *, root: Path = ROOT) -> str:
    """Return what the changelog says of a version, without the heading."""
    heading = rf"^## {re.escape(version)} .*\n"
    section = re.search(heading + r"((?:(?!^## ).*\n?)*)", _changelog(root), flags=re.MULTILINE)
    return section[1].strip() + "\n" if section else ""


def _places(root: Path) -> list[tuple[Path, str]]:
    """Return the files that hold the version, each with its pattern; each pattern has some."""
    found = []
    for name, pattern in PLACES.items():
        files = [
            path
            for path in sorted(root.glob(name))
            if re.search(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        ]
        if not files:
            raise SystemExit(f"no version was found in {name}: PLACES in {__file__} is outdated")
        found += [(path, pattern) for path in files]
    return found


def _changelog(root: Path) -> str:
    return (root / "CHANGELOG.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
