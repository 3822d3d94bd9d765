"""MLflow's registry in memory, for sequences of commands by the thousand.

A call of MLflow's own store takes 3 to 10 ms and a sequence makes a thousand of them. This keeps
the contract of the calls that Penstock makes of an `MlflowClient`; artifacts are folders. The same
sequences run over MLflow's store too, a few of them, so that the two do not drift apart.
"""

from __future__ import annotations

import copy
import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fresh_store import fresh_store
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST


class Page(list[Any]):
    """All of a search: there is no further page."""

    token: str | None = None


@dataclass
class Model:
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    versions: dict[int, Any] = field(default_factory=dict)


class RegistryEmulator:
    """One store; see the module."""

    def __init__(self, folder: Path) -> None:
        self.tracking_uri = f"memory://{folder}"
        self._folder = folder
        self._models: dict[str, Model] = {}
        self._runs: dict[str, Any] = {}
        self._ids = itertools.count(1)

    # -- experiments and runs
    def search_experiments(self, **_: Any) -> list[Any]:
        return []

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1", name=name)

    def create_run(self, experiment_id: str, **_: Any) -> Any:
        run = f"run{next(self._ids)}"
        info = SimpleNamespace(run_id=run, experiment_id=experiment_id)
        self._runs[run] = SimpleNamespace(info=info, data=SimpleNamespace(tags={}, metrics={}))
        return self._runs[run]

    def get_run(self, run: str) -> Any:
        if run not in self._runs:
            raise _absent(f"run {run}")
        return self._runs[run]

    def set_terminated(self, run: str, **_: Any) -> None:
        self.get_run(run)

    def log_inputs(self, run: str, **_: Any) -> None:
        self.get_run(run)

    def log_batch(self, run: str, *, metrics: Sequence[Any]) -> None:
        self.get_run(run).data.metrics |= {metric.key: metric.value for metric in metrics}

    # -- artifacts
    def artifacts(self, run: str) -> Path:
        return self._folder / "artifacts" / run

    def log_artifact(self, run: str, path: str, place: str = "") -> None:
        target = self.artifacts(run) / place
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / Path(path).name)

    def log_artifacts(self, run: str, folder: str, place: str = "") -> None:
        shutil.copytree(folder, self.artifacts(run) / place, dirs_exist_ok=True)

    def list_artifacts(self, run: str, place: str = "") -> list[Any]:
        root = self.artifacts(run)
        folder = root / place
        if not folder.is_dir():
            return []
        return [
            SimpleNamespace(path=path.relative_to(root).as_posix(), is_dir=path.is_dir())
            for path in sorted(folder.iterdir())
        ]

    def download_artifacts(self, run: str, place: str, into: str) -> str:
        source, target = self.artifacts(run) / place, Path(into) / place
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        else:
            raise _absent(place)
        return str(target)

    def download_version(self, uri: str, into: str) -> str:
        """What `mlflow.artifacts.download_artifacts` does of `models:/name/version`."""
        name, _, number = uri.removeprefix("models:/").partition("/")
        shutil.copytree(self.files_of(name, int(number)), into, dirs_exist_ok=True)
        return into

    def files_of(self, name: str, number: int) -> Path:
        """Where the artifact store has a version's folder."""
        return self.artifacts(self._version(name, str(number)).model_id)

    # -- logged models
    def create_logged_model(self, experiment_id: str, **_: Any) -> Any:
        return SimpleNamespace(model_id=f"m{next(self._ids)}")

    def log_model_artifacts(self, model_id: str, folder: str) -> None:
        shutil.copytree(folder, self.artifacts(model_id), dirs_exist_ok=True)

    def finalize_logged_model(self, model_id: str, status: str) -> None:
        pass

    def delete_logged_model(self, model_id: str) -> None:
        pass

    # -- registered models
    def create_registered_model(self, name: str) -> Any:
        if name in self._models:
            raise MlflowException(f"{name} is there", RESOURCE_ALREADY_EXISTS)
        self._models[name] = Model(name)
        return self.get_registered_model(name)

    def get_registered_model(self, name: str) -> Any:
        found = self._model(name)
        return SimpleNamespace(name=name, tags=dict(found.tags), aliases=dict(found.aliases))

    def search_registered_models(self, filter_string: str = "", **_: Any) -> list[Any]:
        return [self.get_registered_model(n) for n in self._models if f"'{n}'" in filter_string]

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        self._model(name).tags[key] = value

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._model(name).tags.pop(key, None)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self._version(name, version)
        self._model(name).aliases[alias] = version

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self._model(name).aliases.pop(alias, None)

    # -- versions
    def create_model_version(
        self, name: str, source: str, *, run_id: str, tags: dict[str, str], model_id: str
    ) -> Any:
        model = self._model(name)
        number = max(model.versions, default=0) + 1
        model.versions[number] = SimpleNamespace(
            name=name, version=str(number), run_id=run_id, tags=dict(tags), model_id=model_id
        )
        return self.get_model_version(name, str(number))

    def get_model_version(self, name: str, version: str) -> Any:
        return copy.deepcopy(self._version(name, version))

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        return self.files_of(name, int(version)).as_uri()

    def search_model_versions(self, filter_string: str, **_: Any) -> Page:
        name = filter_string.split("'")[1]
        model = self._models.get(name)
        numbers = sorted(model.versions, reverse=True) if model else []
        return Page(self.get_model_version(name, str(number)) for number in numbers)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self._version(name, version).tags[key] = value

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self._version(name, version).tags.pop(key, None)

    def _model(self, name: str) -> Model:
        if name not in self._models:
            raise _absent(f"registered model {name}")
        return self._models[name]

    def _version(self, name: str, version: str) -> Any:
        found = self._model(name).versions.get(int(version))
        if found is None:
            raise _absent(f"version {version} of {name}")
        return found


class MlflowRegistry:
    """MLflow's own store in a file, with what the world asks of the emulated one besides."""

    def __init__(self, folder: Path) -> None:
        import mlflow
        from mlflow import MlflowClient

        self.tracking_uri = fresh_store(folder)
        mlflow.set_tracking_uri(self.tracking_uri)
        mlflow.set_registry_uri(self.tracking_uri)
        self._client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def files_of(self, name: str, number: int) -> Path:
        uri: str = self._client.get_model_version_download_uri(name, str(number))
        if uri.startswith("models:/"):
            uri = self._client.get_logged_model(uri.removeprefix("models:/")).artifact_location
        return Path(uri.removeprefix("file://"))


def _absent(what: str) -> MlflowException:
    return MlflowException(f"{what} is not there", RESOURCE_DOES_NOT_EXIST)
