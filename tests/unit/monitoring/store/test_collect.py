"""What is to be watched of a local service, and a sentence for everything that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from monitored_rows import reference_to
from watched_shop import known, table

from penstock.errors import ServiceError
from penstock.monitoring.store.collect import figures_since, watched_here
from penstock.records.monitoring import Known
from penstock.records.rollout import ArmSummary, HistogramBuckets
from penstock.rollout.backends.local.state import LocalState, ServerArm

DIGEST = "sha256:0"


def serve(home: Path, *, version: int = 3) -> Path:
    """Leave the state of a service that served, and return its model's folder."""
    model = home / "serving" / "shop" / "models" / "1"
    model.mkdir(parents=True)
    arm = ServerArm(version=version, uri=f"models:/shop/{version}", model=DIGEST, folder=str(model))
    state = LocalState(service="shop", port=1, stable=arm)
    state.write(home / "serving" / "shop" / "state.json")
    return model


def nothing_known(version: int) -> Known | None:
    return None


def test_where_nothing_serves_it_is_said(tmp_path: Path) -> None:
    found = watched_here(tmp_path, "shop", known_of=nothing_known)
    assert (found.version, found.problem[:25]) == (None, "Nothing is being served. ")


def test_a_state_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    serve(tmp_path)
    (tmp_path / "serving" / "shop" / "state.json").write_text("{")
    found = watched_here(tmp_path, "shop", known_of=nothing_known)
    assert found.problem.startswith("What serves cannot be read: ")


def test_what_is_not_there_is_missed_and_the_rest_is_watched(tmp_path: Path) -> None:
    model = serve(tmp_path)
    made = reference_to(table(100, seed=1), tmp_path / "rows")
    made.write(model / "reference.json")
    found = watched_here(tmp_path, "shop", known_of=nothing_known)
    assert (found.version, found.problem) == (3, "")
    assert found.reference == made
    assert found.captures == str(tmp_path / "serving" / "shop" / "captures" / "version-3")
    assert [one.partition(":")[0] for one in found.missing] == [
        "It is not known what the model takes",
        "Nothing is kept of how version 3 scored the holdout",
    ]
    without = watched_here(tmp_path, "shop", known_of=nothing_known, require=False)
    assert len(without.missing) == 1


def test_the_registry_is_asked_once_and_may_be_down(tmp_path: Path) -> None:
    serve(tmp_path)
    asked: list[int] = []

    def down(version: int) -> Known | None:
        asked.append(version)
        raise ServiceError("MLflow does not answer")

    def up(version: int) -> Known | None:
        asked.append(version)
        return known()

    first = watched_here(tmp_path, "shop", known_of=down)
    assert first.known is None
    assert any("MLflow does not answer" in one for one in first.missing)
    assert watched_here(tmp_path, "shop", known_of=up).known == known()
    assert watched_here(tmp_path, "shop", known_of=down).known == known()
    assert asked == [3, 3]


def test_what_an_earlier_release_fetched_is_fetched_again(tmp_path: Path) -> None:
    serve(tmp_path)
    former = known().model_copy(update={"form": 1})
    former.write(tmp_path / "monitor" / "known-3.json")
    assert watched_here(tmp_path, "shop", known_of=nothing_known).known == former
    assert watched_here(tmp_path, "shop", known_of=lambda _: known()).known == known()


def test_what_was_kept_of_another_model_is_not_taken(tmp_path: Path) -> None:
    serve(tmp_path)
    other = known().model_copy(update={"model": "sha256:9"})
    other.write(tmp_path / "monitor" / "known-3.json")
    assert watched_here(tmp_path, "shop", known_of=nothing_known).known is None


@pytest.mark.parametrize("restarted", [False, True])
def test_figures_are_of_what_came_since(restarted: bool) -> None:
    def counted(epoch: str, requests: int, errors: int) -> dict:
        arm = ArmSummary(requests=requests, server_errors=errors, latency={100: requests - errors})
        grids = HistogramBuckets()
        return {
            "epoch": epoch,
            "arm": arm.model_dump(mode="json"),
            "grids": grids.model_dump(mode="json"),
        }

    before = counted("a", 100, 1)
    now = counted("b" if restarted else "a", 300, 11)
    found = figures_since(now, before)
    assert (found.requests, found.server_errors) == ((300, 11) if restarted else (200, 10))
    edges = HistogramBuckets().latency
    assert edges[99] < found.p99 <= edges[100]
    assert figures_since(None, before) is None
