"""A circuit breaker: the same cause on many tiles in a row is hardly theirs: the run stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cropmask.contract import BREAKER_TILES, MAX_RECEIVES, ExitCode
from cropmask.errors import Reason
from cropmask.fleet.outcome import Outcome, Step, Verdict
from cropmask.fleet.records import State
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter

StopRun = Callable[[Reason, str], bool]
"""Stops the run of a tile for a reason, told in a line; whether it waits now."""


@dataclass(slots=True)
class _Row:
    """Different tiles in a row that failed for one reason."""

    reason: Reason | None = None
    tiles: dict[str, None] = field(default_factory=dict)

    def add(self, reason: Reason, tile: str) -> int:
        """One more; how many there are."""
        if reason is not self.reason:
            self.reason, self.tiles = reason, {}
        self.tiles[tile] = None
        return len(self.tiles)


class Breaker:
    """Counts different tiles that failed for one reason, until one is done or fails for another.

    Reasons that a tile may have by itself, or that pass, are not counted and change nothing: they
    tell nothing of the cause that others share (:attr:`~cropmask.errors.Reason.is_shared`).

    Tiles of one run stop that run, whatever becomes of others meanwhile. The worker itself ends
    where tiles of several runs fail alike without one that is done between them, or where the run
    cannot be stopped: the cause is then hardly the run's. It opens at ``most`` tiles; 0 for never.
    """

    def __init__(
        self,
        most: int = BREAKER_TILES,
        *,
        max_receives: int = MAX_RECEIVES,
        commands: CommandWriter = PLAIN_COMMANDS,
    ) -> None:
        self._most = most
        self._commands = commands
        self._max_receives = max_receives
        self._every = _Row()
        self._rows: dict[str, _Row] = {}
        self._stopped: set[str] = set()
        """Runs that were stopped since a tile was done."""
        self.opened: str | None = None
        """Why a run is stopped, or the worker, and what to do; of the last tile alone."""

    def look(
        self,
        tile: str | None,
        outcome: Outcome,
        verdict: Verdict,
        receives: int,
        *,
        run: str = "",
        stop: StopRun = lambda _reason, _why: False,
    ) -> Verdict:
        """What follows for the message of a tile of a run; ``tile`` is None if it was no task.

        When it opens, the task goes back as if the worker had never had it, unless this was its
        last receive: it is then parked, so that its reason is kept.
        """
        self.opened = None
        if outcome.error is None:
            self._rows.pop(run, None)
            self._every = _Row()
            self._stopped.clear()
            return verdict
        reason = Reason.of(outcome.error.reason)
        if tile is None or reason is None or not reason.is_shared:
            return verdict
        row = self._find_row(run, tile, reason)
        if row is None or verdict.exit_code is not None:
            return verdict
        opened, verdict = self._open(row, run, tile, verdict, stop)
        if verdict.step is Step.PARK:
            back = self._commands.line("redrive", "--where", f"reason={reason}")
            opened += f"; send back what was parked: {back}"
        self.opened = opened
        if verdict.step is Step.PARK and receives >= self._max_receives:
            return verdict
        note = f"the same on {len(row.tiles)} tiles in a row: the task goes back"
        return replace(verdict, state=State.FAILED, step=Step.RELEASE, delay_seconds=0.0, note=note)

    def take_opened(self) -> str | None:
        """Why it has opened, told once."""
        opened, self.opened = self.opened, None
        return opened

    def _find_row(self, run: str, tile: str, reason: Reason) -> _Row | None:
        """The row of a run, or else of all runs, if it is long enough with this tile."""
        own = self._rows.setdefault(run, _Row())
        is_own = 0 < self._most <= own.add(reason, tile)
        is_every = 0 < self._most <= self._every.add(reason, f"{run} {tile}")
        return own if is_own else self._every if is_every else None

    def _open(
        self, row: _Row, run: str, tile: str, verdict: Verdict, stop: StopRun
    ) -> tuple[str, Verdict]:
        """Stop the run, or else the worker: what is said, and what follows."""
        reason, first = row.reason, next(iter(row.tiles)).rpartition(" ")[2]
        assert reason is not None
        what = f"'{reason}' on {len(row.tiles)} tiles in a row, from {first} to {tile}"
        advice = self._commands.fill_in(str(reason.advice), tile)
        is_runs = row is not self._every and not self._stopped - {run}
        if is_runs and stop(reason, f"{what}; {advice}"):
            self._stopped.add(run)
            del self._rows[run]
            self._every = _Row()
            return f"{what}: run {run.rpartition('/')[2]} is stopped; {advice}", verdict
        opened = f"{what}: this is hardly their own fault, so the worker stops; {advice}"
        return opened, replace(verdict, exit_code=ExitCode.MISCONFIGURED)
