"""What a step made in an earlier run on this machine, reused where nothing that it reads changed.

The key of a step is the digest of all that decides its outputs: its source, Penstock's code, the
installed libraries, its parameters, the content of its input artifacts, and the variables of its
environment that Penstock and MLflow read. kfp's own local cache takes the address of an artifact
for its content, and another run has other addresses.

Only steps whose tasks allow caching are reused: the rule is the component's, and the same on
Kubeflow (`penstock.components._caching`). What reads the world outside (the source, the champion,
people's approval) does not allow it. Whatever goes wrong with what was kept, a full disk for
example, costs no more than running the step.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import penstock
from penstock.common import files
from penstock.common.secrets import PREFIX, refers, resolve
from penstock.errors import PenstockError
from penstock.gate.policy import Policy
from penstock.gate.rules import business_value
from penstock.records.dataset import FILE_NAME, RECORD_NAME, Dataset
from penstock.redaction import redact, redact_address
from penstock.rollout.run_ended import CALLER_NOTIFIES

_FORMAT = 1
_BLOCK = 1 << 20
_OUTPUTS = "executor_output.json"

_IGNORED = frozenset({"PENSTOCK_PIPELINE_RUN", "PENSTOCK_HOME", CALLER_NOTIFIES})
"""Variables that say where a run is and who began it, and not what a step does."""


@dataclass(frozen=True)
class StepCall:
    """One step as kfp.local is about to start it.

    Args:
        function: The component's function.
        source: The component's source, as compiled, or the command that names it.
        arguments: The executor's arguments.
        inputs: `inputs` of the executor's input: parameters, and artifacts with their addresses.
        folder: Where its outputs go.
    """

    function: str
    source: str
    arguments: tuple[str, ...]
    inputs: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Kept:
    """What is known of a step that ran.

    Args:
        run: Name of the run that computed the outputs.
        folder: Where they are.
        digest: Of all files in it.
        lines: The figures that the step printed.
    """

    run: str
    folder: str
    digest: str
    lines: tuple[str, ...] = field(default=())


class StepCache:
    """The steps of one project's runs on this machine.

    Args:
        home: Where the project keeps its runs.
        run: The run's name.
        steps: Functions of the components that may be taken again.
        fresh: Take nothing again; what runs is kept all the same.
    """

    def __init__(
        self,
        home: Path,
        *,
        run: str,
        steps: Collection[str],
        fresh: bool = False,
    ) -> None:
        self._folder = home / "steps"
        self._run = run
        self._steps = frozenset(steps)
        self._fresh = fresh

    def note_of(self, call: StepCall, environment: Mapping[str, str]) -> Path | None:
        """Return where a note of such a step is kept; None if it is never reused.

        Ask before the step runs: what it reads is digested now.
        """
        places = [Path(one["uri"]) for one in _artifacts(call)]
        # What is not on this machine may change behind its address.
        if call.function not in self._steps or not all(place.exists() for place in places):
            return None
        try:
            return self._folder / f"{call.function}-{_key(call, environment)}.json"
        except OSError as error:
            _report(call, "is run, for what it reads cannot be digested", error)
            return None

    def take(self, call: StepCall, note: Path) -> Kept | None:
        """Put an earlier run's outputs where this step's belong, if there are any that hold.

        Returns:
            Where they come from; None if the step has to run.
        """
        kept = None if self._fresh else self._read(note)
        if kept is None:
            return None
        try:
            _copy(Path(kept.folder), call.folder)
            # Digested after the copy: what was read is what is used.
            same = _digest_of_outputs(call.folder) == kept.digest
        except (OSError, ValueError) as error:
            _report(call, "is run again, for what was kept of it cannot be reused", error)
            same = False
        if not same:
            _empty(call.folder)
            return None
        try:
            self._write(note, kept, folder=call.folder)
        except (OSError, PenstockError) as error:
            _report(call, "is reused, and the place of this copy cannot be noted", error)
        return kept

    def keep(self, call: StepCall, note: Path, *, lines: Collection[str]) -> None:
        """Remember what a step wrote; it has ended well, whether it can be remembered or not."""
        try:
            kept = Kept(self._run, str(call.folder), _digest_of_outputs(call.folder), tuple(lines))
            self._write(note, kept, folder=call.folder)
        except (OSError, PenstockError) as error:
            _report(call, "cannot be reused by a later run, for it cannot be kept", error)

    def _read(self, path: Path) -> Kept | None:
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            kept = Kept(**{**raw, "lines": tuple(raw["lines"])})
        except (OSError, ValueError, TypeError, KeyError):
            # Not there, or not written by this version: the step runs.
            return None
        return kept if Path(kept.folder).is_dir() else None

    def _write(self, path: Path, kept: Kept, *, folder: Path) -> None:
        """Keep the newest copy's place: older runs are deleted first."""
        raw = {**asdict(kept), "folder": str(folder)}
        files.write_text(path, json.dumps(raw, indent=2) + "\n")


def _report(call: StepCall, what: str, error: Exception) -> None:
    """Leave a line in the run's log."""
    print(f"The step {call.function} {what}: {error}")


def cacheable(spec: Any) -> frozenset[str]:
    """Return the functions of the components of which every task allows caching.

    Args:
        spec: A pipeline's `PipelineSpec`.
    """
    allowed: dict[str, bool] = {}
    for component in (spec.root, *spec.components.values()):
        for task in component.dag.tasks.values():
            label = spec.components[task.component_ref.name].executor_label
            if label:
                container = spec.deployment_spec["executors"][label]["container"]
                function = str(container["args"][-1])
                allowed[function] = (
                    allowed.get(function, True) and task.caching_options.enable_cache
                )
    return frozenset(function for function, good in allowed.items() if good)


def _key(call: StepCall, environment: Mapping[str, str]) -> str:
    """Return the digest of all that decides what a step writes."""
    parameters = dict(call.inputs.get("parameterValues", {}))
    parts = {
        "format": _FORMAT,
        "source": call.source,
        "parameters": {
            name: _address(_read_part(call, name, parameters[name]), environment)
            for name in parameters
        },
        "artifacts": {
            name: [_artifact(one) for one in entry["artifacts"]]
            for name, entry in call.inputs.get("artifacts", {}).items()
        },
        "environment": {
            name: redact(value)
            for name, value in environment.items()
            if name.startswith(("PENSTOCK_", "MLFLOW_"))
            and name not in _IGNORED
            and not name.startswith(PREFIX)
        },
        "code": _code(),
        "libraries": _libraries(),
    }
    return files.digest_of_text(files.canonical_json(parts)).removeprefix("sha256:")


def _address(value: Any, environment: Mapping[str, str]) -> Any:
    """Return a parameter, where a reference leads instead of it: the address, and no secret."""
    if not isinstance(value, str) or not refers(value):
        return value
    try:
        return redact_address(resolve(value, environment=environment))
    except PenstockError:
        return value  # The step says that it leads nowhere.


def _read_part(call: StepCall, name: str, value: Any) -> Any:
    """Return the part of a parameter that the step reads."""
    if call.function == "train" and name == "policy":
        try:
            settings = business_value.RULE.of(Policy.parse(value, where="gate"))
        except PenstockError:
            # The step says what is wrong with it.
            return value
        return settings.model_dump(mode="json") if settings else None
    return value


def _artifacts(call: StepCall) -> Iterator[Mapping[str, Any]]:
    for entry in call.inputs.get("artifacts", {}).values():
        yield from entry["artifacts"]


def _artifact(artifact: Mapping[str, Any]) -> Any:
    metadata = artifact.get("metadata", {})
    return [artifact.get("type"), metadata, _digest(Path(artifact["uri"]))]


def _digest(path: Path) -> list[tuple[str, str]]:
    """Return the relative name and digest of every file below a path, or of the file itself."""
    found = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return [(str(one.relative_to(path)), _digest_of_file(one)) for one in found if one.is_file()]


def _digest_of_file(path: Path) -> str:
    import xxhash

    if path.name in (RECORD_NAME, FILE_NAME):
        # A record that cannot be read counts by its bytes.
        with contextlib.suppress(PenstockError):
            return _digest_of_dataset(path)
    state = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def _digest_of_dataset(path: Path) -> str:
    """Return the digest of a dataset's record, whenever it was written."""
    raw = Dataset.read(path).payload()
    del raw["created"]
    return files.digest_of_text(files.canonical_json(raw))


def _digest_of_outputs(folder: Path) -> str:
    listing = [pair for pair in _digest(folder) if pair[0] != _OUTPUTS]
    return files.digest_of_text(files.canonical_json(listing))


def _copy(kept: Path, folder: Path) -> None:
    _empty(folder)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    outputs = folder / _OUTPUTS
    if outputs.exists():
        text = outputs.read_text(encoding="utf-8")
        before, after = json.dumps(str(kept))[1:-1], json.dumps(str(folder))[1:-1]
        files.write_text(outputs, text.replace(before, after))


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    # Where not even this is possible, the step says so itself.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)


@functools.cache
def _code() -> str:
    """Return the digest of Penstock's own source files."""
    state = hashlib.sha256(penstock.__version__.encode())
    for root in _roots():
        for path in sorted(root.rglob("*.py")):
            state.update(path.relative_to(root).as_posix().encode())
            state.update(path.read_bytes())
    return state.hexdigest()


def _roots() -> Iterator[Path]:
    """Yield the folders of the package: a checkout has its components and pipelines beside it."""
    yield Path(penstock.__file__).parent
    here = Path(__file__).parent
    if not here.is_relative_to(Path(penstock.__file__).parent):
        yield here
        yield here.parent / "components"


@functools.cache
def _libraries() -> str:
    # Each of the fields `name` and `version` would read the file again.
    read = [one.metadata for one in importlib.metadata.distributions()]
    found = sorted(f"{one['Name']}=={one['Version']}" for one in read if one["Name"])
    return files.digest_of_text("\n".join([platform.python_version(), platform.machine(), *found]))
