"""Clusters to release to, and what MLflow says of a model's files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster_emulator import running
from kserve_site import Site, site_in
from kserve_world import Driver, look_often, storage_by_name
from rollout_world import World

from penstock.rollout.backends.kserve.choice import ROUTERS


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[Site]:
    """A cluster whose model servers are real processes, and a registry; nothing is released yet."""
    with site_in(world) as made:
        yield made


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models lie where their names say: no registry is asked."""
    storage_by_name(monkeypatch)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """Of our own route."""
    look_often(monkeypatch)
    with running() as cluster:
        yield Driver(cluster)


EACH = [
    pytest.param(name, marks=pytest.mark.long if name == "kserve-native" else ())
    for name in sorted(ROUTERS)
]
"""KServe's own canary is a route by weights like ours: the long tests have it."""


@pytest.fixture(params=EACH)
def each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """Of each router, or of those that a test names."""
    look_often(monkeypatch)
    with running() as cluster:
        cluster.install_knative()
        yield Driver(cluster, ROUTERS[request.param])
