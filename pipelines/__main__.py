"""`python -m penstock.pipelines`: the command line, for a process that runs it in itself."""

import sys

from penstock.pipelines.cli import main

if __name__ == "__main__":
    sys.exit(main())
