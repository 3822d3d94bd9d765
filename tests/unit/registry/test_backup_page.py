"""docs/backup.md: its commands in their order, with MLflow's own servers on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from documented import Walk
from needs import missing
from postgresql_server import PASSWORD, connect, programs, server
from running_process import mlflow_server

NAMES = ("mlflow", "restored")


@pytest.fixture
def databases() -> Iterator[dict[str, str]]:
    """Addresses of two empty databases, by name."""
    found = programs()
    if found is None:
        missing("PostgreSQL is not here.", remedy="On Debian or Ubuntu: apt install postgresql")
    with server(found) as port:
        connection = connect(port)
        with connection.cursor() as cursor:
            for name in NAMES:
                cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        yield {name: f"me:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/{name}" for name in NAMES}


def mlflow(folder: Path, database: str, artifacts: str) -> Any:
    """MLflow's server, as manifests/ has it: clients get the artifacts through it."""
    options = ("--artifacts-destination", folder / artifacts)
    return mlflow_server(folder, store=f"postgresql+psycopg2://{database}", options=options)


@pytest.mark.long
def test_a_registry_is_copied_and_restored_by_the_commands_of_the_page(
    registry: Any,
    databases: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = ("--model loans", "--model adult")
    with Walk("docs/backup.md", tmp_path) as walk:
        with mlflow(tmp_path, databases["mlflow"], "artifacts") as address:
            registry.uri = address
            for depth in (2, 3):
                registration, _ = registry.registered(depth)
                registry.promote(registration.version)
            walk.run("export MLFLOW_TRACKING_URI", ("https://mlflow.example.com", address))
            there = ("mlflow@postgres.example.com/mlflow", databases["mlflow"])
            walk.run("export MLFLOW_DATABASE", there)
            walk.run("mkdir")
            walk.run("pg_dump")
            walk.run("cp")
            walk.run("python")
            walk.run("xargs")
        walk.run("cp")
        walk.run(
            "export RESTORED_DATABASE",
            ("mlflow@other.example.com/mlflow", databases["restored"]),
        )
        walk.run("pg_restore")
        with mlflow(tmp_path, databases["restored"], "restored-artifacts") as address:
            walk.run("export MLFLOW_TRACKING_URI", ("https://mlflow-restored.example.com", address))
            walk.run("xargs")
            assert walk.run("diff") == ""
            assert "Champion: models:/adult/2" in walk.run("penstock audit", ours)
    verified = (tmp_path / "backup/verified").read_text().splitlines()
    assert len(verified) == 2
    assert all(line.endswith(" hold.") and ": all " in line for line in verified), verified
