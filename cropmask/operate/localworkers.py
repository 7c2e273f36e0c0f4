"""Workers on this machine for as long as a run needs them."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from typing import Final, Self

from cropmask.contract import ExitCode
from cropmask.errors import Misconfigured
from cropmask.fleet.records import RunRecord
from cropmask.operate.advice import region_words
from cropmask.site.site import Site

_STOP_SECONDS: Final = 60.0
"""How long workers have to return their tasks."""


class LocalWorkers:
    """So many ``cropmask worker`` of a run, started again while tasks wait for them.

    They share the processors, and are stopped at the end of the ``with`` block: each returns its
    task. ``program`` is how ``cropmask`` is started.
    """

    def __init__(self, site: Site, record: RunRecord, number: int, program: Sequence[str]) -> None:
        words = shlex.split(site.commands.line("worker", *region_words(record)))
        threads = max(1, site.threads // max(number, 1))
        self._command = [*program, *words[1:], "--threads", str(threads)]
        self._number = number
        self._queue = site.queue()
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def keep(self) -> None:
        """Start workers where tasks wait and one is missing.

        Raises Misconfigured if one ended because of its configuration.
        """
        ended = [process for process in self._processes if process.poll() is not None]
        self._processes = [process for process in self._processes if process not in ended]
        for process in ended:
            if process.returncode in (ExitCode.USAGE, ExitCode.MISCONFIGURED):
                raise Misconfigured(
                    f"a worker on this machine ended with {process.returncode}: its last line says "
                    "why; once that is mended, run the same command again"
                )
        missing = self._number - len(self._processes)
        for _ in range(min(missing, self._queue.counts().visible) if missing > 0 else 0):
            self._processes.append(subprocess.Popen(self._command, stdin=subprocess.DEVNULL))
