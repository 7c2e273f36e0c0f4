"""Why a tile is as it is: its attempts, its result, and the result asked for now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from cropmask.errors import CropmaskError, Misconfigured, Reason, Rejected
from cropmask.fleet.recordfiles import find_tile_attempts, load_attempts, load_runs
from cropmask.fleet.records import AttemptKey, AttemptRecord, State
from cropmask.grid import Tile
from cropmask.operate.advice import advise_failure
from cropmask.operate.findrun import find_product
from cropmask.product import RECIPES, Product, Recipe, format_bands, name_maker, parse_bands
from cropmask.results.finder import find_datasets, find_item, make_place
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter, write_made
from cropmask.site.site import Site
from cropmask.stac.item import ResultItem
from cropmask.store.protocol import Store
from cropmask.task import Period, Task, name_product
from cropmask.tile.job import Job, open_basis, prepare
from cropmask.tile.runkey import list_changes
from cropmask.tile.series import SeriesJob, prepare_series, require_series


class Presence(StrEnum):
    """What the store holds of a tile."""

    NOTHING = "nothing"
    PARTIAL = "files without an item"
    OURS = "an item"
    FOREIGN = "an item that is not ours"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt; its document may be gone or damaged."""

    key: AttemptKey
    record: AttemptRecord | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known of one tile."""

    task: Task
    attempts: tuple[Attempt, ...]
    """By start, of all runs."""
    presence: Presence
    item: str
    """Address of the item, there or not."""
    recipe: Recipe
    resolution: int
    """How it would be made now: as in its last attempt, if nothing else is asked for."""
    old_key: str | None
    """Run key of the result that is there."""
    new_key: str | None
    """Run key of the result asked for; None if its inputs are not as they must be."""
    changes: tuple[str, ...]
    """How the two differ."""
    trouble: CropmaskError | None
    """Why there is no new key."""
    run: str | None = None
    """The newest run that has the tile."""
    commands: CommandWriter = PLAIN_COMMANDS
    """How to write commands."""
    bands: tuple[str, ...] = ()
    """Names of the extra bands that it would have."""
    seamless: bool = False
    """Whether its objects would go across its edges."""

    @property
    def made_with(self) -> str:
        """Recipe and pixels of the result asked for, in words."""
        product = name_product("", self.task.period)
        return f"{name_maker(product, self.recipe)}, {self.resolution} m"

    @property
    def verdict(self) -> str:
        """One sentence: why it is as it is, and what to do."""
        if self.presence is Presence.FOREIGN:
            return f"something that is no item of ours is in the way: look at {self.item}"
        if self.presence is Presence.OURS:
            return self._verdict_of_result()
        if self.trouble is not None and isinstance(self.trouble, Rejected | Misconfigured):
            return f"there can be no result: {self.trouble}"
        left = "an interrupted attempt left files; " if self.presence is Presence.PARTIAL else ""
        return left + self._verdict_of_attempts()

    def _verdict_of_result(self) -> str:
        if self.new_key is None:
            return "the result is there; whether it would be the same now cannot be told"
        if self.old_key == self.new_key:
            return "the result is there, and the same would be made now: new attempts skip it"
        return (
            f"changed: the result that is there was made with {', '.join(self.changes)}; new "
            "attempts are refused unless submitted with --overwrite"
        )

    def _verdict_of_attempts(self) -> str:
        if not self.attempts:
            state, again = "no attempt was made", ""
            if self.run is not None:
                look = self.commands.line("status", "--run", self.run)
                state += f" yet, run {self.run} has it: {look}"
                again = " again, should no worker take it"
            return f"{state}; to send it{again}: {self._submit()}"
        last = self.attempts[-1]
        if last.key.state is State.PROCESSING:
            return "an attempt is running"
        if last.key.state.is_done:
            return f"it was done and its item is gone since; to make it anew: {self._submit()}"
        if last.key.state is State.HELD:
            back = self.commands.line("run resume", last.key.run)
            return f"it is held, as its run waits ({_why(last)}); to have that go on: {back}"
        if last.key.state is State.CANCELED:
            return f"its run was canceled ({_why(last)}); to send it all the same: {self._submit()}"
        reason = (last.record and last.record.reason) or Reason.UNKNOWN
        advice = advise_failure(
            last.key.state, reason, last.key.tile, self.commands, self.task.region
        )
        return f"the last attempt failed: {advice}"

    def _submit(self) -> str:
        task, bands = self.task, format_bands(self.bands) if self.bands else None
        made = write_made(task.period, self.recipe, self.resolution, bands, seamless=self.seamless)
        words = ("--tiles", str(task.tile), *made)
        return self.commands.line_for("submit", task.region, task.period, *words)


def _why(attempt: Attempt) -> str:
    return (attempt.record and attempt.record.error) or "nobody said why"


def find_task(
    store: Store, site: Site, tile: Tile, region: str | None, period: Period | None
) -> Task:
    """Task that a tile belongs to: as asked for, else that of the newest run that has it.

    Raises Rejected if neither is known.
    """
    if region is not None and period is not None:
        return Task(tile, region, period)
    product = find_product(site, region, period).name if region else None
    for record in reversed(load_runs(store, product, str(period) if period else None)):
        if str(tile) in record.tiles:
            return Task(tile, record.region, Period.of_task(record.period))
    raise Rejected(
        f"no run has tile {tile}: name its --region and --period", reason=Reason.UNKNOWN_RUN
    )


def find_task_attempts(store: Store, site: Site, task: Task) -> tuple[Attempt, ...]:
    """Attempts of a task with their documents, by start."""
    product = find_product(site, task.region, task.period)
    keys = find_tile_attempts(store, product.name, str(task.period), task.tile)
    loaded = load_attempts(store, keys)
    attempts = (_attempt_of(key, loaded.get(key)) for key in keys)
    return tuple(sorted(attempts, key=lambda attempt: attempt.key.started))


def _attempt_of(key: AttemptKey, record: AttemptRecord | None) -> Attempt:
    lost = record and record.end_if_lost(datetime.now(UTC))
    return Attempt(lost.key, lost) if lost else Attempt(key, record)


def explain(
    task: Task, site: Site, *, recipe: Recipe | None = None, resolution: int | None = None
) -> Explanation:
    """Find out why a tile is as it is; nothing is written.

    What is wrong with the inputs is part of the answer; only a region that is unknown and a store
    that fails are errors. Recipe and resolution asked for are by default those of the last attempt,
    else as the site says.
    """
    store = site.store()
    product = find_product(site, task.region, task.period)
    attempts = find_task_attempts(store, site, task)
    last = next((a.record for a in reversed(attempts) if a.record), None)
    made_with = next((name for name in RECIPES if last and name == last.recipe), RECIPES[0])
    asked_recipe = recipe or made_with
    asked = replace(
        site,
        resolution=resolution or (last and last.resolution) or site.resolution,
        bands=site.bands or parse_bands((last and last.bands) or ""),
        seamless=site.seamless or bool(last and last.seamless),
    )
    place = make_place(product, task)
    presence, item = _look(store, product, task)
    old_key = item.run_key if item is not None else None
    new_key: str | None = None
    changes: tuple[str, ...] = ()
    trouble: CropmaskError | None = None
    try:
        job = _prepare(task, asked, asked_recipe)
        new_key = str(job.run_key)
        if item is not None:
            found = list_changes(item.properties, job.parts, job.words)
            changes = tuple(map(str, found))
    except CropmaskError as error:
        trouble = error
    runs = reversed(load_runs(store, product.name, str(task.period)))
    return Explanation(
        task=task,
        attempts=attempts,
        presence=presence,
        item=store.uri(place.item),
        recipe=asked_recipe,
        resolution=asked.resolution,
        old_key=old_key,
        new_key=new_key,
        changes=changes,
        trouble=trouble,
        run=next((run.run for run in runs if str(task.tile) in run.tiles), None),
        commands=site.commands,
        bands=asked.bands,
        seamless=asked.seamless,
    )


def _prepare(task: Task, site: Site, recipe: Recipe) -> Job | SeriesJob:
    """What the result asked for is made of."""
    if not task.period.is_series:
        return prepare(task, site, recipe=recipe)
    basis = open_basis(task.region, site)
    fitted = require_series(site, basis.region, task.period)
    return prepare_series(task, basis, fitted, site.store())


def _look(store: Store, product: Product, task: Task) -> tuple[Presence, ResultItem | None]:
    try:
        item = find_item(store, make_place(product, task))
    except Rejected as error:
        if error.reason is not Reason.BAD_ITEM:
            raise
        return Presence.FOREIGN, None
    if item is not None:
        return Presence.OURS, item
    there = find_datasets(store, product, str(task.period), [task.tile])
    return (Presence.PARTIAL if any(d.entries for d in there) else Presence.NOTHING), None
