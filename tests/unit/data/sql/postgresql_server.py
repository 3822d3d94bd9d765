"""A real PostgreSQL server on a port and in a folder of its own, where one is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2

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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, quiet = folder / "data", {"stdout": subprocess.DEVNULL, "cwd": folder, "user": user}
    subprocess.run(
        [bin_folder / "initdb", "-D", data, "-U", "me", "-A", "scram-sha-256", "-E", "UTF8",
         "--locale=C", "--no-sync", f"--pwfile={secret}"],
        check=True, **quiet,
    )  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [bin_folder / "postgres", "-D", data, "-p", str(port), "-k", folder, "-F",
             "-h", "127.0.0.1"],
            stderr=log, **quiet,
        )  # fmt: skip
    try:
        _wait(port, process, folder / "log")
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def connect(port: int) -> psycopg2.extensions.connection:
    """Connect as the owner of everything."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user="me", password=PASSWORD, dbname="postgres"
    )
    connection.autocommit = True
    return connection


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(psycopg2.OperationalError):
            connect(port).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"the server does not answer: {log.read_text()}")
