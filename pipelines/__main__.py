"""`python -m penstock.pipelines`: the command `penstock`, where no script of it is installed."""

import sys

from penstock.pipelines.cli import main

if __name__ == "__main__":
    sys.exit(main())
