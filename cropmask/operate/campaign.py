"""A region and year from preflight to report: each step once, whatever interrupts it.

Steps that are done are written down and not done again; one that was interrupted begins anew and
finds what it left, as each of them does by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final

from cropmask.catalog.build import build_results
from cropmask.catalog.index import IndexOptions, index_results
from cropmask.errors import CropmaskError, Reason, Rejected, list_some
from cropmask.fleet.recordfiles import find_runs, load_run, put_run
from cropmask.fleet.records import Canary, RunRecord
from cropmask.grid import Tile
from cropmask.machine.notices import NoNotices, Notices
from cropmask.operate.campaignfile import (
    CampaignRecord,
    CampaignStep,
    StepRecord,
    StepState,
    find_campaign,
    put_report,
)
from cropmask.operate.canary import CanaryState, find_stop
from cropmask.operate.doctor import examine
from cropmask.operate.findrun import load_run_status
from cropmask.operate.formats import format_count, format_dollars, format_duration
from cropmask.operate.localworkers import LocalWorkers
from cropmask.operate.plan import make_plan
from cropmask.operate.planfile import Need, Plan
from cropmask.operate.reconcile import Finding, expected_tiles, reconcile
from cropmask.operate.runcontrol import RunLimits, check_estimate, put_limits
from cropmask.operate.status import RunStatus
from cropmask.operate.submit import make_run, send
from cropmask.operate.waiting import (
    Calendar,
    Emptiness,
    Silence,
    pause_between_looks,
    wait_for_canary,
)
from cropmask.product import Product, Recipe, format_bands
from cropmask.region.region import Region, is_region_file
from cropmask.site.commands import absolute, write_made
from cropmask.site.site import Site
from cropmask.store.protocol import Store
from cropmask.task import Period, parse_run_id

LONG_SILENCE: Final = timedelta(hours=1)
"""Time without any change of a run after which people are told."""
_NAMED_TILES: Final = 5
NEEDED: Final = ("rustac",)
"""Optional packages that some step needs, which the first one asks for."""
START: Final = "start"
END: Final = "end"
"""Of what people are told, beside each trouble."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CampaignRequest:
    """What a campaign is asked to do."""

    region: str
    """Name, or path of a region file."""
    period: Period
    recipe: Recipe = "forest"
    tiles: tuple[Tile, ...] | None = None
    """None for all of the region."""
    overwrite: bool = False
    """Whether to compute changed tiles anew."""
    canary: Canary | None = None
    missing: int = 0
    """Tiles that may stay without a result: without GeoMAD, or failed for good."""
    limits: RunLimits = field(default_factory=dict)
    """What its run may need; :func:`~cropmask.operate.runcontrol.resume_run` changes it later."""
    index: IndexOptions | None = None
    """None to index nothing."""
    run: str | None = None
    """Its name; None for that of region, year and version."""
    workers: int = 0
    """Workers to start on this machine."""
    program: Sequence[str] = ("cropmask",)
    """How they are started."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What came of a step that did not break off."""

    detail: str
    """One line."""
    state: StepState = StepState.DONE


def last_year(today: date) -> Period:
    """The calendar year before a day's."""
    return Period(date(today.year - 1, 1, 1), 12)


def last_season(today: date) -> Period:
    """The newest season from July to June that is over on a day."""
    return Period(date(today.year - (1 if today.month > 6 else 2), 7, 1), 12)


def name_campaign(region: Region, period: Period) -> str:
    """The usual name of the campaign of a region and year: one for each version of the product."""
    begin = period.short
    words = (region.name, begin, region.product.version.replace(".", "-"))
    return parse_run_id("-".join(words).replace("_", "-"))


@dataclass(slots=True)
class Campaign:
    """Does the steps of one campaign; :func:`open_campaign` makes it.

    Attributes
    ----------
    record
        How far it is, as it is written down.
    """

    site: Site
    request: CampaignRequest
    region: Region
    record: CampaignRecord
    store: Store
    notices: Notices = field(default_factory=NoNotices)
    calendar: Calendar = field(default_factory=Calendar)
    tell: Callable[[StepRecord], None] = lambda _record: None
    """Is told of each step that ends."""

    def run(self, until: CampaignStep = CampaignStep.REPORT) -> StepState:
        """Do the steps that are not done, up to one of them.

        Returns
        -------
        StepState
            DONE; or how the step ended that it could not go beyond, which the record says.

        Raises
        ------
        CropmaskError
            If a step broke off; it is written down and told, and done anew the next time.
        """
        for step in CampaignStep:
            if not self._is_settled(step):
                state = self._do(step)
                if state is not StepState.DONE:
                    return state
            if step is until:
                break
        if self.record.is_done:
            lines = [f"{one.step}: {one.detail}" for one in self.record.steps]
            self._tell_people(END, "is done", lines)
        return StepState.DONE

    def _is_settled(self, step: CampaignStep) -> bool:
        """Whether a step is done; the preflight is looked at anew until there is a plan."""
        if step is CampaignStep.DOCTOR:
            return self.record.has_done(CampaignStep.PLAN)
        return self.record.has_done(step)

    def _do(self, step: CampaignStep) -> StepState:
        began = self.calendar.now()
        if step not in (CampaignStep.DOCTOR, CampaignStep.PLAN):
            plan = [one.detail for one in self.record.steps if one.step == CampaignStep.PLAN]
            self._tell_people(START, "begins", plan, must=True)
        try:
            outcome = _ACTS[step](self)
        except CropmaskError as error:
            self._end(step, began, StepOutcome(str(error), StepState.FAILED), error.reason)
            raise
        self._end(step, began, outcome)
        return outcome.state

    def _end(
        self,
        step: CampaignStep,
        began: datetime,
        outcome: StepOutcome,
        reason: Reason | None = None,
    ) -> None:
        """Write down how a step ended, and tell people if it failed."""
        ended = self.calendar.now()
        moments = (_text(began), _text(ended))
        record = StepRecord(step, outcome.state, *moments, outcome.detail, reason)
        self._keep(self.record.with_step(record))
        self.tell(record)
        if outcome.state is StepState.FAILED:
            self._tell_trouble(step, outcome.detail)

    def _keep(self, record: CampaignRecord) -> None:
        """Write the document, but where the very place of results is the trouble."""
        self.record = record
        try:
            self.store.put(record.key, record.to_json().encode(), "application/json")
        except CropmaskError as error:
            log.warning("how far the campaign is was not written down: %s", error)

    def _tell_trouble(self, step: CampaignStep, detail: str) -> None:
        line = self._line()
        self._tell_people(
            f"{step}: {detail}",
            f"needs somebody: {step} failed",
            [detail, f"Once that is mended, it goes on by itself the next time, or by: {line}"],
        )

    def _tell_people(
        self, what: str, subject: str, lines: Sequence[str], *, must: bool = False
    ) -> None:
        """Tell people something, once; what cannot be told is tried again the next time.

        With ``must`` it raises where they cannot be told: nobody would hear of trouble either.
        """
        if what in self.record.told:
            return
        record = self.record
        heading = f"cropmask {record.run} {subject}"
        place = f"{record.product} {record.version}, {record.period}, in {self.site.output}"
        try:
            self.notices.tell(heading, "\n\n".join([place, *lines]))
        except CropmaskError as error:
            if must:
                raise
            log.warning("people were not told that it %s: %s", subject, error)
            return
        self._keep(replace(record, told=(*record.told, what)))

    def _line(self) -> str:
        """The command that goes on with it."""
        request = self.request
        bands = format_bands(self.site.bands) if self.site.bands else None
        words = ["--run", self.record.run]
        words += write_made(
            request.period, request.recipe, self.site.resolution, bands, seamless=self.site.seamless
        )
        words += ["--tiles", ",".join(map(str, request.tiles))] if request.tiles else []
        words += ["--overwrite"] if request.overwrite else []
        words += ["--missing", str(request.missing)] if request.missing else []
        words += ["--index"] if request.index else []
        words += _canary_words(request.canary)
        for name, limit in request.limits.items():
            words += [f"--{name.replace('_', '-')}", f"{limit:g}"]
        return self.site.commands.line_for("campaign", request.region, request.period, *words)

    def _examine(self) -> StepOutcome:
        checks = list(examine(self.site, self.request.region, NEEDED))
        failed = [check for check in checks if check.state == "failed"]
        if failed:
            said = "; ".join(f"{check.name}: {check.detail}" for check in failed)
            return StepOutcome(said, StepState.FAILED)
        warnings = [check.name for check in checks if check.state == "warning"]
        also = f", {list_some(warnings, _NAMED_TILES)} with a warning" if warnings else ""
        return StepOutcome(f"{format_count(len(checks), 'check')}{also}")

    def _plan(self) -> StepOutcome:
        """Plan, if GeoMAD is complete, and write the run down."""
        request, record = self.request, self.record
        if record.run in find_runs(self.store, record.product, record.period):
            return StepOutcome(f"{format_count(len(self._load_run().tiles), 'tile')} as planned")
        now = self.calendar.now()
        where = (request.region, request.period, self.site)
        plan = make_plan(*where, now=now, recipe=request.recipe, only=request.tiles)
        hindrance = self._find_hindrance(plan)
        if hindrance is not None:
            return hindrance
        run = make_run(
            plan,
            record.run,
            now,
            overwrite=request.overwrite,
            models=self.site.models,
            canary=request.canary,
        )
        check_estimate(run, plan, self.site.price, request.limits)
        put_limits(self.store, run, request.limits, self.site.price, now)
        put_run(self.store, run)
        guess, left = plan.estimate, len(plan.of(Need.CHANGED))
        kept = f", {left:,} changed but left as they are" if left and not request.overwrite else ""
        return StepOutcome(
            f"{format_count(len(run.tiles), 'tile')} to compute, {run.unchanged:,} unchanged"
            f"{kept}; about {format_duration(guess.worker_seconds)} of one worker, "
            f"{format_dollars(guess.dollars(self.site.price))} at {self.site.price}"
        )

    def _find_hindrance(self, plan: Plan) -> StepOutcome | None:
        """Why a plan is not begun; None if it is."""
        absent, invalid = plan.of(Need.NO_INPUT), plan.of(Need.INVALID)
        every = format_count(len(plan.tiles) - len(plan.of(Need.ORPHAN)), "tile")
        if len(absent) + len(invalid) <= self.request.missing:
            return None
        if invalid:
            names = list_some([str(planned.tile) for planned in invalid], _NAMED_TILES)
            said = f"inputs of {len(invalid)} of {every} cannot be used ({names})"
            return StepOutcome(f"{said}: {invalid[0].detail}", StepState.FAILED)
        names = list_some([str(planned.tile) for planned in absent], _NAMED_TILES)
        return StepOutcome(
            f"GeoMAD of {len(absent)} of {every} is not there yet ({names})", StepState.WAITING
        )

    def _load_run(self) -> RunRecord:
        record = self.record
        return load_run(self.store, record.product, record.period, record.run)

    @property
    def _product(self) -> Product:
        return Product(self.region.name, self.record.version)

    def _judge_canary(self) -> StepOutcome:
        run, queue = self._load_run(), self.site.queue()
        if not run.awaits_canary:
            return StepOutcome("none" if run.canary is None else "the rest was sent already")
        run = send(run, self.store, queue, commands=self.site.commands, canary_only=True)
        with self._working(run) as calendar:
            silence = self._warn_of_silence()
            verdict = wait_for_canary(
                self.store,
                queue,
                self._product,
                run,
                lambda found: silence([tile.state for tile in found.tiles]),
                calendar,
            )
        if verdict.state is CanaryState.FAILED:
            line = self.site.commands.line_for(
                "submit", run.region, run.period, "--resume", run.run, "--canary", "0"
            )
            said = "; ".join(verdict.problems)
            return StepOutcome(f"{said}; to send the rest all the same: {line}", StepState.FAILED)
        return StepOutcome(f"{format_count(len(verdict.tiles), 'tile')} passed")

    def _submit(self) -> StepOutcome:
        run = send(self._load_run(), self.store, self.site.queue(), commands=self.site.commands)
        return StepOutcome(f"{format_count(run.sent, 'tile')} sent to {self.site.queue_address}")

    def _wait(self) -> StepOutcome:
        """Wait until every tile is done, or nobody will do it; also while the run is paused."""
        run, queue = self._load_run(), self.site.queue()
        with self._working(run) as calendar:
            emptiness, silence = Emptiness(queue, calendar), self._warn_of_silence()
            while True:
                is_empty = emptiness.look()
                status = load_run_status(self.store, run, calendar.now())
                silence(status.counts)
                end = find_stop(self.store, run)
                if end is not None:
                    return StepOutcome(end, StepState.FAILED)
                is_left = status.counts["PROCESSING"] or status.counts["HELD"]
                if status.remaining == 0 or (is_empty and not is_left):
                    return self._judge(status)
                calendar.sleep(pause_between_looks(queue))

    def _judge(self, status: RunStatus) -> StepOutcome:
        left = len(status.tiles) - status.done
        spent = format_dollars(status.dollars(self.site.price))
        said = f"{status.done:,} of {format_count(len(status.tiles), 'tile')} done, {spent}"
        if left <= self.request.missing:
            return StepOutcome(said)
        reasons = ", ".join(
            f"{format_count(len(group.tiles), 'tile')} {group.reason}, such as {group.example}"
            for group in status.failures
        )
        look = self.site.commands.line("status", "--run", self.record.run)
        return StepOutcome(f"{said}: {reasons or 'tasks are gone'}; see {look}", StepState.FAILED)

    def _reconcile(self) -> StepOutcome:
        wanted = self.request.tiles or expected_tiles(self.site, self.region)
        found = reconcile(self.store, self._product, self.request.period, wanted)
        asked = self.request.tiles
        checks = [check for check in found.checks if asked is None or check.tile in asked]
        absent = [c for c in checks if c.finding in (Finding.MISSING, Finding.PARTIAL)]
        wrong = [c for c in checks if c.finding in (Finding.ORPHAN, Finding.MISMATCH)]
        said = f"{len(wanted) - len(absent):,} of {format_count(len(wanted), 'result')} are there"
        if not wrong and len(absent) <= self.request.missing:
            return StepOutcome(said)
        first = (wrong or absent)[0]
        line = self.site.commands.line_for("reconcile", self.request.region, self.request.period)
        problem = f"{len(wrong)} are not as they must be, such as {first.tile}" if wrong else ""
        problem = problem or f"{first.tile} is {first.finding}"
        return StepOutcome(f"{said}; {problem}; see {line}", StepState.FAILED)

    def _build(self) -> StepOutcome:
        built = build_results(self.store, self.site.models, limits=self.site.read.limits)
        number = built.collections.get(self.record.product, 0)
        return StepOutcome(f"{format_count(number, 'item')} of {self.record.product} linked")

    def _index(self) -> StepOutcome:
        if self.request.index is None:
            return StepOutcome("not asked for")
        found = index_results(self.store, self.request.index)
        said = f"{found.expected - len(found.missing):,} of {found.expected:,} items in the index"
        if found.missing:
            return StepOutcome(f"{said}; the program said: {found.said}", StepState.FAILED)
        return StepOutcome(said)

    def _report(self) -> StepOutcome:
        run = self._load_run()
        status = load_run_status(self.store, run, self.calendar.now())
        return StepOutcome(put_report(self.store, self.site, self._product, self.record, status))

    @contextmanager
    def _working(self, run: RunRecord) -> Iterator[Calendar]:
        """Workers on this machine, if they are asked for; a calendar that looks after them."""
        if not self.request.workers:
            yield self.calendar
            return
        with LocalWorkers(self.site, run, self.request.workers, self.request.program) as workers:

            def sleep(seconds: float) -> None:
                workers.keep()
                self.calendar.sleep(seconds)

            yield replace(self.calendar, sleep=sleep)

    def _warn_of_silence(self) -> Callable[[object], None]:
        """Tells people once if the states of a run stay the same for an hour."""
        silence = Silence(LONG_SILENCE)

        def look(signs: object) -> None:
            if silence.hears(signs, self.calendar.now()):
                line = self.site.commands.line("status", "--run", self.record.run)
                said = f"for {format_duration(LONG_SILENCE.total_seconds())} no tile has ended"
                subject = "stands still"
                self._tell_people(f"silence: {signs}", subject, [f"{said}; see {line}"])

        return look


_ACTS: Final[dict[CampaignStep, Callable[[Campaign], StepOutcome]]] = {
    CampaignStep.DOCTOR: Campaign._examine,
    CampaignStep.PLAN: Campaign._plan,
    CampaignStep.CANARY: Campaign._judge_canary,
    CampaignStep.SUBMIT: Campaign._submit,
    CampaignStep.WAIT: Campaign._wait,
    CampaignStep.RECONCILE: Campaign._reconcile,
    CampaignStep.CATALOG: Campaign._build,
    CampaignStep.INDEX: Campaign._index,
    CampaignStep.REPORT: Campaign._report,
}


def open_campaign(
    site: Site,
    request: CampaignRequest,
    notices: Notices | None = None,
    *,
    calendar: Calendar | None = None,
    tell: Callable[[StepRecord], None] = lambda _record: None,
) -> Campaign:
    """A campaign as it stands, begun or not; nothing is written.

    Raises Rejected if its region is unknown, or it was begun and asked for something else, or
    another run has its name.
    """
    region = site.region(request.region)
    store, period = site.store(), str(request.period)
    run = parse_run_id(request.run) if request.run else name_campaign(region, request.period)
    asked = _describe_request(site, request)
    product = region.product
    record = find_campaign(store, product.name, period, run)
    if record is None:
        name = absolute(request.region) if is_region_file(request.region) else request.region
        record = CampaignRecord(run, name, product.name, product.version, period, asked)
        _check_run(store, record)
    for what, was, now in (
        ("request", record.asked, asked),
        ("version", record.version, product.version),
    ):
        if was != now:
            raise Rejected(
                f"campaign {run} was begun with another {what}: {was}, not {now}: ask for the "
                "same, or begin another one with --run",
                reason=Reason.BAD_RUN,
            )
    return Campaign(
        site,
        request,
        region,
        record,
        store,
        notices or NoNotices(),
        calendar or Calendar(),
        tell,
    )


def _check_run(store: Store, record: CampaignRecord) -> None:
    """Raise Rejected if there is a run of its name that makes other maps."""
    if record.run not in find_runs(store, record.product, record.period):
        return
    run = load_run(store, record.product, record.period, record.run)
    made = _describe_way(run.recipe, run.resolution, run.bands, run.seamless, run.overwrite)
    if not record.asked.startswith(made):
        raise Rejected(
            f"run {run.run} is there, and makes other maps: {made}; name the campaign otherwise, "
            "with --run",
            reason=Reason.BAD_RUN,
        )


def _describe_request(site: Site, request: CampaignRequest) -> str:
    """How tiles are to be made, and which."""
    bands = format_bands(site.bands) if site.bands else None
    way = _describe_way(request.recipe, site.resolution, bands, site.seamless, request.overwrite)
    tiles = " ".join(map(str, sorted(request.tiles or ())))
    return f"{way}, only {tiles}" if tiles else way


def _describe_way(
    recipe: str, resolution: int, bands: str | None, seamless: bool, overwrite: bool
) -> str:
    words = [recipe, f"{resolution} m", bands, "seamless" if seamless else None]
    return ", ".join(filter(None, [*words, "overwrite" if overwrite else None]))


def _canary_words(canary: Canary | None) -> list[str]:
    """Options that ask for a canary."""
    if canary is None:
        return []
    words = ["--canary", str(canary.tiles)]
    for name, bounds in (("crop", canary.crop), ("nodata", canary.nodata)):
        words += [f"--canary-{name}", "{:g},{:g}".format(*bounds)] if bounds else []
    return words


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
