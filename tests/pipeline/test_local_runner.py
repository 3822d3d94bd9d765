"""kfp.local's own processes and ours: the same pipeline ends the same way, whatever a step does."""

import contextlib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.pipelines.local_runner import LocalSteps, import_kfp, started_by
from penstock.pipelines.warm import WarmSteps

import_kfp()

from kfp import dsl, local  # noqa: E402

IMPORTED = ("penstock.pipelines.local_runner", "kfp.dsl.executor_main")
STEPS = {"ours": dict.fromkeys(("risky", "after", "tell", "note"), IMPORTED)}


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def risky(how: str, size: int) -> str:
    import os
    import resource
    import signal
    import sys

    print("it began")
    sys.stdout.flush()
    if how == "crash":
        raise ValueError("it broke")
    if how == "exit":
        sys.exit(5)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        bytearray(4 * size)
    return f"{how} {os.environ['OURS']}"


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def after(text: str, page: dsl.Output[dsl.HTML]) -> bool:
    from pathlib import Path

    Path(page.path).write_text(text)
    page.metadata["length"] = len(text)
    return text.startswith("nothing")


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def tell(file: str, status: dsl.PipelineTaskFinalStatus) -> None:
    from pathlib import Path

    Path(file).write_text(status.state)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def note(options: dict, file: str) -> None:
    import json
    from pathlib import Path

    Path(file).write_text(json.dumps(options))


@dsl.pipeline(name="notes")
def notes(options: dict, file: str) -> None:
    note(options=options, file=file)


@dsl.pipeline(name="risk")
def risk(how: str, size: int, file: str) -> None:
    with dsl.ExitHandler(tell(file=file)):
        done = risky(how=how, size=size).set_env_variable("OURS", "ours")
        checked = after(text=done.output)
        with dsl.If(checked.outputs["Output"] == True):  # noqa: E712
            after(text="within")
        with dsl.If(checked.outputs["Output"] == False):  # noqa: E712
            after(text="without")


class Ended:
    """What can be seen of a run from outside."""

    def __init__(self, how: str, folder: Path, *, warm: WarmSteps | None) -> None:
        out = io.StringIO()
        steps = LocalSteps(warm)
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "kfp"))
        self.error = ""
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            warnings.catch_warnings(),
            started_by(steps),
        ):
            warnings.simplefilter("ignore")
            try:
                risk(how=how, size=1 << 30, file=str(folder / "told"))
            except RuntimeError as error:
                self.error = str(error)
        text = re.sub(r"\x1b\[\d+m", "", out.getvalue())
        self.log = re.sub(r"^\d\d:\S+ - ", "", text, flags=re.M)
        self.told = (folder / "told").read_text()
        self.how = {time.how for time in steps.times}
        (run,) = (folder / "kfp").iterdir()
        self.files = {
            str(path.relative_to(run)): path.read_text().replace(str(run), "RUN")
            for path in sorted(run.rglob("*"))
            if path.is_file()
        }

    def tasks(self) -> list[str]:
        return re.findall(
            r"Executing task '(\S+)'|Task '(\S+)' finished with status (\S+)", self.log
        )


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmSteps]:
    log = tmp_path_factory.mktemp("warm") / "imports.log"
    with WarmSteps(log=log, servers=STEPS) as made:
        yield made


@pytest.mark.parametrize("how", ["nothing", "crash", "exit", "kill", "memory"])
def test_a_pipeline_ends_as_with_the_processes_of_kfp(
    how: str, tmp_path: Path, warm: WarmSteps
) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours = Ended(how, tmp_path / "ours", warm=warm)
    theirs = Ended(how, tmp_path / "theirs", warm=None)
    assert (ours.how, theirs.how) == ({"warm"}, {"cold"})
    assert ours.tasks() == theirs.tasks()
    assert ours.error == theirs.error
    assert bool(ours.error) is (how != "nothing")
    assert ours.told == theirs.told == ("SUCCEEDED" if how == "nothing" else "FAILED")
    assert ours.files == theirs.files
    assert "it began" in ours.log
    for word in {"crash": ["ValueError: it broke"], "memory": ["MemoryError"]}.get(how, []):
        assert word in ours.log
        assert word in theirs.log
    assert ("ServiceError: risky: its process was killed" in ours.log) is (how == "kill")


def test_a_branch_runs_or_does_not(tmp_path: Path, warm: WarmSteps) -> None:
    ended = Ended("nothing", tmp_path, warm=warm)
    assert [text for name, text in ended.files.items() if name.endswith("page")] == [
        "nothing ours",
        "within",
    ]


@pytest.mark.long
def test_a_component_that_installs_something_runs_as_kfp_runs_it(
    tmp_path: Path, warm: WarmSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dsl.component(base_image="python:3.11", packages_to_install=["pip"])
    def risky() -> int:
        return 3

    steps = LocalSteps(warm)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
    with started_by(steps), contextlib.suppress(RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        risky()
    assert [time.how for time in steps.times] == ["cold"]


def test_a_step_is_given_what_is_null(tmp_path: Path, warm: WarmSteps) -> None:
    """A rule that is null in the project file is off, and kfp by itself takes no null."""
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    given = {"rule": None, "another": {"bound": None, "rows": [None, "all"]}}
    with warnings.catch_warnings(), started_by(LocalSteps(warm)):
        warnings.simplefilter("ignore")
        notes(options=given, file=str(tmp_path / "told"))
    assert json.loads((tmp_path / "told").read_text()) == given


def test_kfp_gets_its_own_handler_back(warm: WarmSteps) -> None:
    from kfp.local import subprocess_task_handler as module

    theirs = module.SubprocessTaskHandler
    with contextlib.suppress(KeyError), started_by(LocalSteps(warm)):
        assert module.SubprocessTaskHandler is not theirs
        raise KeyError
    assert module.SubprocessTaskHandler is theirs


def test_what_is_left_in_the_temporary_folder_is_nothing(
    tmp_path: Path, warm: WarmSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    Ended("nothing", tmp_path, warm=warm)
    assert [path for path in scratch.iterdir() if not path.name.startswith("kfp-")] == []
