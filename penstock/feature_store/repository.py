"""A Feast repository: what a feature service consists of, and its values at some times.

The one module that imports Feast; it is in the image `feast` alone.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common.files import canonical_json, digest_of_text
from penstock.common.secrets import resolve
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.feature_store.spec import RetrievalSpec
from penstock.records.retrieval import RetrievedFeature
from penstock.redaction import redact

if TYPE_CHECKING:
    import pandas as pd

EVENT_TIME = "event_timestamp"
"""What Feast calls the time at which features are wanted."""

_OLDEST = (0, 67)
"""Earlier releases cannot leave late corrections out in every store."""

_NOT_INSTALLED = (
    "Run the component in the image `feast`, or install images/locks/feast.txt in an environment "
    "of its own: Feast does not go with the libraries of the other images."
)


@dataclass(frozen=True)
class Service:
    """A feature service of a repository.

    Attributes:
        name: Its name.
        project: The repository's.
        key_types: Columns that name an entity, and how they are declared.
        features: What it gives.
        undated: Its views whose source does not say when a value was written.
        definition: Digest of it and its views in the registry.
    """

    name: str
    project: str
    key_types: Mapping[str, str]
    features: tuple[RetrievedFeature, ...]
    undated: tuple[str, ...]
    definition: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that name an entity."""
        return tuple(self.key_types)

    @property
    def views(self) -> frozenset[str]:
        """Names of the views that its features are of."""
        return frozenset(feature.view for feature in self.features)


class Repository:
    """An opened Feast repository.

    Args:
        store: Feast's own object.
        where: What it is called in errors.
    """

    def __init__(self, store: Any, *, where: str) -> None:
        self._store = store
        self._where = where

    def service(self, name: str) -> Service:
        """Return what a feature service consists of.

        Raises:
            InputError: If there is none of that name, or it holds what cannot be joined here.
            ServiceError: If the registry does not answer.
        """
        with _errors(self._where, "the registry does not answer"):
            found = {one.name: one for one in self._store.list_feature_services()}
            if name not in found:
                raise self._absent(name, found)
            views = {
                one.name_to_use(): self._view(one.name)
                for one in found[name].feature_view_projections
            }
            return self._described(found[name], views)

    def values(self, service: Service, wanted: pd.DataFrame) -> pd.DataFrame:
        """Return the features of entities at times, as they were known at those times.

        Args:
            service: What `service` returned.
            wanted: Columns: the keys, `EVENT_TIME` and whatever else is to be returned.

        Returns:
            The same columns and the features. In which order, and whether of all rows, is as the
            offline store has it.

        Raises:
            ServiceError: If the offline store fails, or cannot leave late corrections out.
        """
        with _errors(self._where, "Feast could not join the features"):
            job = self._store.get_historical_features(
                entity_df=wanted,
                features=self._store.get_feature_service(service.name),
                filter_by_created_timestamp=True,
            )
            joined: pd.DataFrame = job.to_df()
            return joined

    def _view(self, name: str) -> Any:
        view = self._store.registry.get_any_feature_view(name, self._store.project)
        if getattr(view, "batch_source", None) is None:
            raise InputError(
                f"{name!r} is computed on demand and has no values of its own, which is not read",
                where=self._where,
                remedy="Name a FeatureService of stored feature views, and compute the rest from "
                "its columns.",
            )
        return view

    def _described(self, service: Any, views: Mapping[str, Any]) -> Service:
        keys: dict[str, str] = {}
        features = []
        for projection in service.feature_view_projections:
            view, called = views[projection.name_to_use()], projection.name_to_use()
            for column in view.entity_columns:
                keys[projection.join_key_map.get(column.name, column.name)] = str(column.dtype)
            features += [
                RetrievedFeature(name=field.name, view=called, type=str(field.dtype))
                for field in projection.features
            ]
        if not keys:
            raise InputError(
                f"no feature view of {service.name!r} has an entity, so nothing names a row of it",
                where=self._where,
                remedy="Name a FeatureService whose views have entities.",
            )
        return Service(
            name=service.name,
            project=self._store.project,
            key_types=keys,
            features=tuple(features),
            undated=tuple(
                name
                for name, view in views.items()
                if not view.batch_source.created_timestamp_column
            ),
            definition=_definition([service, *(views[name] for name in sorted(views))]),
        )

    def _absent(self, name: str, found: Mapping[str, Any]) -> InputError:
        known = f"There are: {', '.join(sorted(found))}" if found else "It has none"
        return InputError(
            f"the Feast project {self._store.project!r} has no FeatureService {name!r}",
            where=self._where,
            remedy=f"{known}. After its definitions were changed: feast apply.",
        )


def version() -> str:
    """Return the version of Feast that is installed.

    Raises:
        InputError: If none is, or one that leaks late corrections.
    """
    try:
        found = metadata.version("feast")
    except metadata.PackageNotFoundError as error:
        raise InputError(
            "Feast is not installed here", where="retrieve_features", remedy=_NOT_INSTALLED
        ) from error
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if numbers < _OLDEST:
        raise InputError(
            f"Feast {found} is installed, and {'.'.join(map(str, _OLDEST))} is the oldest that "
            "leaves late corrections out",
            where="retrieve_features",
            remedy=f"{_NOT_INSTALLED} Asked for without a version, pip takes 0.1.2 where a newer "
            "one does not fit.",
        )
    return found


def opened(spec: RetrievalSpec) -> Repository:
    """Open the repository that settings name.

    Raises:
        InputError: If there is none, its settings are wrong, or Feast is not installed as needed.
        ServiceError: If its registry does not answer.
    """
    version()
    where = spec.repository or "options.store"
    with _errors(where, "the repository cannot be opened"):
        store = _store(spec)
        taken = inspect.signature(store.get_historical_features).parameters
        if "filter_by_created_timestamp" not in taken:
            raise InputError(
                "this release of Feast cannot leave late corrections out",
                where=where,
                remedy=_NOT_INSTALLED,
            )
        return Repository(store, where=where)


def _store(spec: RetrievalSpec) -> Any:
    from feast import FeatureStore, RepoConfig

    if spec.store:
        store = _resolved(spec.store, where="options.store")
        return FeatureStore(config=RepoConfig(**store, repo_path=str(Path.cwd())))
    if not (Path(spec.repository) / "feature_store.yaml").is_file():
        raise InputError(
            "there is no feature_store.yaml",
            where=spec.repository,
            remedy="Name the folder of the Feast repository, or give what the file holds as store.",
        )
    return FeatureStore(repo_path=spec.repository)


def _resolved(value: Any, *, where: str) -> Any:
    """Return settings with the secrets that they refer to."""
    if isinstance(value, dict):
        return {name: _resolved(one, where=f"{where}.{name}") for name, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one, where=where) for one in value]
    return resolve(value, where=where) if isinstance(value, str) else value


def _definition(objects: Sequence[Any]) -> str:
    """Return a digest of definitions that does not move when the same ones are applied again."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

    return digest_of_text(
        canonical_json([_timeless(MessageToDict(one.to_proto().spec)) for one in objects])
    )


def _timeless(value: Any) -> Any:
    """Return a definition without `meta`, the times at which it was made and changed."""
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key != "meta"}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


@contextlib.contextmanager
def _errors(where: str, what: str) -> Iterator[None]:
    """Turn whatever Feast and its stores raise into an error that says where."""
    try:
        yield
    except PenstockError:
        raise
    # Each offline store and registry raises what its own driver does.
    except Exception as error:
        said = " ".join(redact(str(error)).split())
        raise ServiceError(
            f"{what}: {type(error).__name__}: {said:.300}",
            where=where,
            remedy="Try it with Feast alone: feast feature-services list.",
        ) from error
