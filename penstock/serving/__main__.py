"""`python -m penstock.serving`: serve one model folder until told to stop."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from penstock.errors import InputError, PenstockError


def main(arguments: list[str]) -> int:
    """Load the model and serve it; return the exit code."""
    options = _parser().parse_args(arguments)
    # One row is predicted up to five times faster by one OpenMP thread than by a team of them; the
    # libraries read this once, when they are loaded.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # kserve reads the command line on its own when it is imported, and would take ours for its.
    del sys.argv[1:]
    try:
        _skip_cluster_client()
        from penstock.model import load

        loaded = load(options.model, expected_digest=options.digest)
    except PenstockError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    from penstock.serving.server import Limits, ModelServer, ServedModel

    limits = Limits(rows=options.max_rows, body=options.max_body)
    model = ServedModel(loaded, name=options.name, version=options.version, limits=limits)
    ModelServer(host=options.host, port=options.port).serve(model)
    return 0


def _skip_cluster_client() -> None:
    """Let `kserve.model_server` be imported without kserve's own `__init__`.

    That loads its Kubernetes client and 200 generated classes: 1.8 of the 8 s of CPU that a cold
    start takes, for nothing that a server uses. Only for a process that is a server and no more.
    """
    spec = importlib.util.find_spec("kserve")
    if spec is None:
        raise InputError(
            "kserve is not installed", remedy="Install it with: pip install penstock[serving]"
        )
    sys.modules["kserve"] = importlib.util.module_from_spec(spec)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m penstock.serving", description="Serve one model folder."
    )
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--name", required=True, help="the model's name in requests")
    parser.add_argument("--version", required=True, help="its version in the registry")
    parser.add_argument("--digest", required=True, help="sha256:... that the folder must have")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--max-rows", type=int, default=10_000, help="rows in a request")
    parser.add_argument("--max-body", type=int, default=16 << 20, help="bytes in a request")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
