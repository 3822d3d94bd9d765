"""The command of a task: `python3 -m penstock.components` and what `run` takes."""

import sys

from penstock.components._program import run

if __name__ == "__main__":
    run(sys.argv[1:])
