"""Where the commands begin: the rest takes a second to load, and may be interrupted meanwhile."""

from __future__ import annotations

import sys

from cropmask.contract import ExitCode


def cropmask() -> None:
    """Run ``cropmask``."""
    try:
        from cropmask.cli.main import main
    except KeyboardInterrupt:
        _leave()
    main()


def cropmask_job() -> None:
    """Run ``cropmask-job``."""
    try:
        from cropmask.cli.job import main
    except KeyboardInterrupt:
        _leave()
    main()


def _leave() -> None:
    sys.stderr.write("error: stopped by a signal\n")
    sys.exit(ExitCode.DRAINED)
