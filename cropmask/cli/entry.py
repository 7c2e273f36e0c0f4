"""Where the programs begin: whoever stops one while it loads reads one line, too."""

from __future__ import annotations

import sys
from importlib import import_module

from cropmask.contract import ExitCode


def cropmask() -> None:
    """Run ``cropmask``."""
    _run("cropmask.cli.main")


def cropmask_job() -> None:
    """Run ``cropmask-job``."""
    _run("cropmask.cli.job")


def _run(module: str) -> None:
    try:
        main = import_module(module).main
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped by a signal\n")
        sys.exit(ExitCode.DRAINED)
    main()
