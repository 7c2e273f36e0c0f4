"""A circuit breaker: the same cause on many tiles in a row is hardly theirs: the worker stops."""

from __future__ import annotations

from dataclasses import replace

from cropmask.contract import BREAKER_TILES, MAX_RECEIVES, ExitCode
from cropmask.errors import Reason
from cropmask.fleet.outcome import Outcome, Step, Verdict
from cropmask.fleet.records import State
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter


class Breaker:
    """Counts different tiles that failed for one reason, until one is done or fails for another.

    Reasons that a tile may have by itself, or that pass, are not counted and change nothing: they
    tell nothing of the cause that others share (:attr:`~cropmask.errors.Reason.is_shared`).

    Parameters
    ----------
    most
        Tiles at which it opens; 0 for never.
    commands
        How to write commands.
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
        self._reason: Reason | None = None
        self._tiles: dict[str, None] = {}
        self.opened: str | None = None
        """Why the worker stops, and what to do; None while it works."""

    def look(self, tile: str | None, outcome: Outcome, verdict: Verdict, receives: int) -> Verdict:
        """What follows for the message of a tile; ``tile`` is None if it was no task.

        When it opens, the task goes back as if the worker had never had it, unless this was its
        last receive: it is then parked, so that its reason is kept.
        """
        if outcome.error is None:
            self._reason, self._tiles = None, {}
            return verdict
        reason = Reason.of(outcome.error.reason)
        if tile is None or reason is None or not reason.is_shared:
            return verdict
        if reason is not self._reason:
            self._reason, self._tiles = reason, {}
        self._tiles[tile] = None
        if not 0 < self._most <= len(self._tiles) or verdict.exit_code is not None:
            return verdict
        self.opened = self._describe(reason, tile)
        if verdict.step is Step.PARK:
            back = self._commands.line("redrive", "--where", f"reason={reason}")
            self.opened += f"; send back what was parked: {back}"
        verdict = replace(verdict, exit_code=ExitCode.MISCONFIGURED)
        if verdict.step is Step.PARK and receives >= self._max_receives:
            return verdict
        note = f"the same on {len(self._tiles)} tiles in a row: the task goes back"
        return replace(verdict, state=State.FAILED, step=Step.RELEASE, delay_seconds=0.0, note=note)

    def _describe(self, reason: Reason, tile: str) -> str:
        advice = self._commands.fill_in(str(reason.advice), tile)
        return (
            f"'{reason}' on {len(self._tiles)} tiles in a row, from {next(iter(self._tiles))} to "
            f"{tile}: this is hardly their own fault, so the worker stops; {advice}"
        )
