"""`python -m penstock.serving`: serve one model until SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from penstock.serving import launch


def main(arguments: Sequence[str]) -> int:
    """Load the model and serve it; return the exit code."""
    parser = launch.parser("python -m penstock.serving", "Serve one model until it is stopped.")
    return launch.run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
