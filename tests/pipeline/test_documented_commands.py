"""Every command of the documents is run as it is written, or taken by the parser and named here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from documented import (
    EVERY,
    NOT_RUN,
    OURS,
    PAGES,
    ROOT,
    WALKED,
    Command,
    blocks,
    table,
)

from penstock import project
from penstock.common.yaml_file import read_value
from penstock.pipelines import cli
from penstock.project import Project
from penstock.serving import launch


def test_the_documents_hold_commands() -> None:
    pages = {command.page for command in EVERY}
    assert {"README.md", "docs/evidence.md", "docs/submission.md", "docs/canary.md"} <= pages
    assert len(OURS) > 30


@pytest.mark.parametrize("command", OURS, ids=str)
def test_the_parser_takes_it(command: Command) -> None:
    cli.parser().parse_args(command.words[1:])


@pytest.mark.parametrize(
    "command", [c for c in EVERY if c.words[:3] == ("python", "-m", "penstock.serving")], ids=str
)
def test_the_server_takes_its_options(command: Command) -> None:
    launch.parser("serving", "").parse_args(command.words[3:])


def test_make_has_its_targets() -> None:
    made = [(ROOT / name).read_text() for name in ("Makefile", "images/images.mk")]
    known = set(re.findall(r"^([a-z-]+):", "\n".join(made), re.MULTILINE))
    stages = re.findall(r"^FROM .* AS ([a-z-]+)$", (ROOT / "images/Dockerfile").read_text(), re.M)
    known |= {f"image-{stage}" for stage in stages}
    words = [word for c in EVERY if c.words[0] == "make" for word in c.words[1:]]
    called = {word for word in words if "=" not in word}
    assert len(called) > 10
    assert called <= known


def test_the_table_of_what_is_not_run_is_current() -> None:
    for pattern in NOT_RUN:
        assert any(re.search(pattern, f"{command} ") for command in EVERY), pattern
    assert all(command.words[0] == "penstock" for command in EVERY if not command.reason)


def test_a_page_that_is_walked_has_its_walk() -> None:
    for page, test in WALKED.items():
        assert f'Walk("{page}"' in (ROOT / test).read_text(), page


def test_what_is_named_between_the_lines_is_there() -> None:
    """`penstock schedule pause` in a sentence: the command, and the options behind it."""
    seen, whole = 0, cli.parser()
    for page in PAGES:
        for said in re.findall(r"`penstock ([^`]+)`", page.read_text(encoding="utf-8")):
            parser, words = whole, said.split()
            while (choices := subcommands(parser)) and words:
                assert words[0] in choices, f"{page.name}: penstock {said}"
                parser = choices[words.pop(0)]
            options = parser._option_string_actions
            for word in words:
                assert not word.startswith("-") or word in options, f"{page.name}: penstock {said}"
            seen += 1
    assert seen > 20


def subcommands(parser) -> dict:
    return next((a.choices for a in parser._actions if hasattr(a, "add_parser")), {})


def test_the_pipeline_of_the_readme_compiles(tmp_path: Path) -> None:
    found = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert found
    (tmp_path / "mine.py").write_text(found[1])
    subprocess.run(
        [sys.executable, "-W", "ignore", "mine.py"], cwd=tmp_path, check=True, timeout=60
    )
    assert "exec-validate" in (tmp_path / "check.yaml").read_text()


def test_the_sections_in_the_documents_are_ones_of_a_project_file() -> None:
    seen = set()
    for page in PAGES:
        for block in [*blocks(page.read_text(encoding="utf-8")), *yaml_of(page)]:
            if (found := re.match(r"(\w+):", block)) and found[1] in Project.model_fields:
                minimal = {"name": "x", "target": "y", "source": {"uri": "z"}}
                Project.parse(minimal | read_value(block, where=page.name), where=page.name)
                seen.add(page.name)
    assert {"canary.md", "evidence.md", "health.md", "submission.md"} <= seen


def yaml_of(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```ya?ml\n(.*?)^```$", text, re.M | re.S)


TABLES = {
    "sales.csv": "zip,price,sold\n"
    + "".join(f"0{n},{n if n % 9 else '-'},{n % 2}\n" for n in range(1_000, 1_200))
    + "total,220000,\n"
}
"""What stands in the folder of a reader of another page than the README."""

OTHER_TABLES = [c for c in OURS if c.words[1] == "init" and c.words[2] in TABLES]

QUICK = {
    "#port: 8080": "port: 0",
    "#trials: 20": "trials: 2",
    "#candidates: [linear, hist_gradient_boosting, random_forest]": "candidates: [linear]",
    "#steps: [{weight: 10}, {weight: 50}]": """\
steps: [{weight: 40, min_samples: 150}]
    interval: 0.5
    shadow: {min_pairs: 200}
    rules: {latency_ratio: 1000000}
    traffic: {rate: 100}""",
}
"""What a reader in a hurry changes in the file that `init` wrote, on a machine that is busy."""


@pytest.mark.parametrize("command", OTHER_TABLES, ids=str)
def test_init_reads_the_other_tables_of_the_documents(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / command.words[2]).write_text(TABLES[command.words[2]])
    assert cli.main(command.words[1:]) == 0, capsys.readouterr().err
    assert project.load(tmp_path / "project.yaml").name == Path(command.words[2]).stem


@pytest.mark.long
@pytest.mark.xdist_group("walk")
def test_the_way_of_the_readme_in_the_folder_of_its_reader(shell, monkeypatch, capfd) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    folder: Path = shell.folder
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "PENSTOCK_HOME"):
        monkeypatch.delenv(name, raising=False)
    (folder / "loans.csv").write_text(table(5_000))
    (folder / "later.csv").write_text(table(200, start=5_000))
    pyarrow.parquet.write_table(pyarrow.csv.read_csv("later.csv"), "holdout.parquet")
    (folder / "policy.yaml").write_text("baseline: {margin: 0.0}\n")

    way = [command for command in OURS if not command.reason and command not in OTHER_TABLES]
    assert [c.words[1] for c in way[:5]] == ["init", "run", "run", "status", "rollback"]
    ended = [command for command in way if command.words[1] == "stop"]
    back = False
    for command in [command for command in way if command not in ended] + ended[:1]:
        capfd.readouterr()
        if command.words[1] == "run":
            done = shell(*command.words[1:])
            code, said = done.returncode, done.stdout + done.stderr
        else:
            code = cli.main(command.words[1:])
            after = capfd.readouterr()
            said = after.out + after.err
        expected = (0, 3) if command.words[1] == "gate" else (0,)
        if command.words[1] == "rollback":
            # Of two versions there is no way back but one: not to what was rolled back.
            expected, back = ((1,) if back else (0,)), True
        assert code in expected, f"{command}: {said}"
        if command.words[1] == "init":
            edit(folder / "project.yaml")
    assert (folder / "decision.html").is_file()
    assert "Nothing is being served" in (folder / ".penstock" / "index.html").read_text()


def edit(path: Path) -> None:
    text = path.read_text()
    for line, instead in QUICK.items():
        assert f"\n  {line}\n" in text or f"\n    {line}\n" in text, line
        text = re.sub(rf"^( +){re.escape(line)}$", rf"\1{instead}", text, flags=re.M)
    path.write_text(text)
