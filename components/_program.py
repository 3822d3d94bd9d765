"""What a task runs: a component of this Penstock, by kfp's executor of Python components.

python3 -m penstock.components --code=DIGEST --version=VERSION --executor=MODULE ARGUMENTS
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROGRAM = ("python3", "-m", "penstock.components")
"""How a task starts it, followed by the options and by what kfp's executor is given."""

_SOURCE = """\
from penstock.components._component import load
{name} = load("{name}", code="{code}", version="{version}")
"""


def run(arguments: Sequence[str]) -> None:
    """Run a component as a task does.

    Args:
        arguments: The three options, and what kfp's executor is given.

    Raises:
        InputError: If the component is not the one that the pipeline was compiled with.
        ServiceError: If there was not enough memory.
    """
    parser = argparse.ArgumentParser(prog="python3 -m penstock.components", allow_abbrev=False)
    for option in ("--code", "--version", "--executor", "--function_to_execute"):
        parser.add_argument(option, required=True)
    options, rest = parser.parse_known_args(arguments)
    name = options.function_to_execute
    # kfp then leaves out what compiles pipelines: it is not in the images.
    os.environ["_KFP_RUNTIME"] = "true"
    # kfp's executor logs from INFO on, and there this client has a line for every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        # Its executor imports a file, and the folder of it would stand first in the search path.
        program = Path(folder) / "ephemeral_component.py"
        program.write_text(
            _SOURCE.format(name=name, code=options.code, version=options.version),
            encoding="utf-8",
        )
        given = ["--component_module_path", str(program), "--function_to_execute", name, *rest]
        sys.argv = [options.executor, *given]
        try:
            importlib.import_module(options.executor).executor_main()
        except MemoryError as error:
            from penstock.components._memory import out_of_memory

            raise out_of_memory(name, rest) from error
