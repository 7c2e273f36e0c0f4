"""One call in one process that can be killed, so that its memory and its time are ours to end.

Children are forked from a process that has loaded everything and started no thread
(:mod:`multiprocessing.forkserver`), so that a child begins within hundredths of a second.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pkgutil
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from cropmask.errors import Interrupted, LeaseLost, Reason

STOP_SECONDS: Final = 5.0
"""How long a child that is told to stop may take before it is killed."""
_LONGEST_FOLDER: Final = 70
"""Characters: a socket's path has at most 107, in which a folder and two names must fit."""
_LOST: Final = (EOFError, OSError)
_STARTS: Final = 3
"""How often a first child is asked for before we give up."""
_START_SECONDS: Final = 0.5
"""Wait between: a process that has died takes a moment to be gone."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Ended:
    """What :meth:`Child.receive` returns when the child will say no more."""


ENDED: Final = Ended()


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What a child has taken so far, as the system counts it; zeros where it does not."""

    cpu_seconds: float = 0.0
    memory: int = 0
    """Bytes that no file backs."""
    peak_memory: int = 0
    """Largest resident size so far, bytes."""


def start_forkserver(preload: Sequence[str], folder: Path | None = None) -> None:
    """Start the process that children are forked from; it loads the modules meanwhile.

    Its socket lies in ``folder``, if that path is short enough, which must stay as long as
    children are wanted; else in a folder of its own.
    """
    # A pool of threads for linear algebra, which no tile needs, would be forked half.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    multiprocessing.set_forkserver_preload(list(preload))
    if folder is not None and len(str(folder)) <= _LONGEST_FOLDER:
        # Where multiprocessing looks for its folder before it makes one that a kill would leave.
        multiprocessing.current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined]
    usual = tempfile.tempdir
    if len(tempfile.gettempdir()) > _LONGEST_FOLDER:
        tempfile.tempdir = "/tmp"  # noqa: S108
    try:
        forkserver.ensure_running()
    finally:
        tempfile.tempdir = usual


def wait_for_forkserver() -> None:
    """Return when children can be had at once, so that what is timed later is their work.

    Raises Interrupted if the process that they are forked from dies again and again while it loads.
    """
    for start in range(_STARTS):
        if start:
            time.sleep(_START_SECONDS)
        try:
            Child(f"{__name__}:_greet").end(seconds=600)
        except _LOST as error:  # it died: whoever asks for a child next starts it anew
            why = str(error) or "it was killed"
        else:
            return
    raise Interrupted(
        f"the process that tiles are forked from died while it loaded ({why}): give the "
        "container more memory",
        reason=Reason.SYSTEM,
    )


def _greet(parent: Parent) -> None:
    """Nothing to do."""


class Child:
    """A process that runs one function and talks with us.

    The function is named ``module:name`` and looked up in the child, so that we need not load its
    module; it is given a :class:`Parent`, then ``args``.
    """

    def __init__(self, target: str, *args: Any) -> None:  # noqa: ANN401 (any picklable values)
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=_begin, args=(theirs, target, args), daemon=True)
        self._pipe = ours
        self._last = ProcessUse()
        try:
            self._process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            # Else we would hold the child's end, and its death would not close the pipe.
            theirs.close()
        _die_first(self._process.pid)

    def receive(self, timeout: float) -> Any:  # noqa: ANN401 (whatever the child says)
        """What the child says next, :data:`ENDED` if it will say no more, None if it is silent."""
        if not pipes.wait([self._pipe], timeout):
            return None
        try:
            return self._pipe.recv()
        except _LOST:
            return ENDED

    def answer(self, value: Any) -> None:  # noqa: ANN401 (any picklable value)
        """Answer the child's question; one that has died meanwhile is no error."""
        with contextlib.suppress(*_LOST):
            self._pipe.send(value)

    def use(self) -> ProcessUse:
        """What the child takes; of one that has ended, what was seen last."""
        now = _use_of(self._process.pid)
        if now is not None:
            peak = max(self._last.peak_memory, now.peak_memory)
            self._last = ProcessUse(now.cpu_seconds, now.memory, peak)
        return self._last

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the child to end by SIGTERM, then kill it; returns when it is gone."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the child if it is still there; returns when it is gone."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._pipe.close()

    def end(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for a child that has nothing more to do; its exit code, negative for a signal."""
        self._process.join(seconds)
        self.use()
        self.kill()
        return self._process.exitcode or 0


class Parent:
    """The child's side of the talk; a child whose parent has died stops by itself."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._answers: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def tell(self, message: Any) -> None:  # noqa: ANN401 (any picklable value)
        """Say something to the parent."""
        try:
            self._pipe.send(message)
        except _LOST:
            raise LeaseLost("the worker of this attempt has died") from None

    def ask(self, question: Any) -> Any:  # noqa: ANN401 (any picklable values)
        """Say something to the parent and wait for its answer."""
        self.tell(question)
        answer = self._answers.get()
        if answer is ENDED:
            raise LeaseLost("the worker of this attempt has died")
        return answer

    def _listen(self) -> None:
        with contextlib.suppress(*_LOST):
            while True:
                self._answers.put(self._pipe.recv())
        self._answers.put(ENDED)
        # Nobody would stop us, and nobody holds a lease for us.
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(STOP_SECONDS)
        os._exit(1)


class _Terminated(BaseException):
    """SIGTERM: no Exception, so that nothing catches it on the way and all clean up."""


def _terminate(_number: int, _frame: object) -> None:
    # A second SIGTERM must not interrupt the cleaning up that the first has begun.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


def _begin(pipe: Connection, target: str, args: Sequence[Any]) -> None:
    """Run the function; where it is that SIGTERM arrives, what is open is cleaned up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent decides
    signal.signal(signal.SIGTERM, _terminate)
    with contextlib.suppress(_Terminated):
        pkgutil.resolve_name(target)(Parent(pipe), *args)


def _die_first(pid: int | None) -> None:
    """Have the kernel kill this process, not us, when memory runs out."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000", encoding="ascii")


def _use_of(pid: int | None) -> ProcessUse | None:
    if sys.platform != "linux":
        return None
    try:
        times = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    sizes = dict(re.findall(r"^(VmHWM|RssAnon|RssShmem):\s*(\d+) kB", status, re.MULTILINE))
    if len(sizes) < 3:  # it has ended, and nobody has asked for its exit code yet
        return None
    cpu = (int(times[11]) + int(times[12])) / _TICKS
    memory = int(sizes["RssAnon"]) + int(sizes["RssShmem"])
    return ProcessUse(cpu, memory * 1024, int(sizes["VmHWM"]) * 1024)
