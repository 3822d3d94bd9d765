"""A real PostgreSQL server on a port and in a folder of its own, where one is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from running_process import LOOPBACK, RunningProcess, free_port

PASSWORD = "a pass/word:of@its own"


def programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`; Debian puts none of them on the PATH."""
    known = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    known += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in known if (folder / "postgres").exists()), None)


@contextlib.contextmanager
def server(bin_folder: Path) -> Iterator[int]:
    """Run a server for the time of a block; yield its port on the loopback interface."""
    # It refuses to run as root, and pytest's own folders are open to their owner alone.
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
    if user:
        shutil.chown(folder, user)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if user:
        shutil.chown(secret, user)
    port, data = free_port(), folder / "data"
    subprocess.run(
        [bin_folder / "initdb", "-D", data, "-U", "me", "-A", "scram-sha-256", "-E", "UTF8",
         "--locale=C", "--no-sync", f"--pwfile={secret}"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user,
    )  # fmt: skip
    command = [
        bin_folder / "postgres", "-D", data, "-p", port, "-k", folder, "-F", "-h", LOOPBACK
    ]  # fmt: skip
    process = RunningProcess(command, log=folder / "log", cwd=folder, user=user)
    try:
        process.wait_until(lambda: _answers(port), seconds=30)
        yield port
    finally:
        process.stop(signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)


def connect(port: int) -> psycopg2.extensions.connection:
    """Connect as the owner of everything."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user="me", password=PASSWORD, dbname="postgres"
    )
    connection.autocommit = True
    return connection


def _answers(port: int) -> bool:
    with contextlib.suppress(psycopg2.OperationalError):
        connect(port).close()
        return True
    return False
