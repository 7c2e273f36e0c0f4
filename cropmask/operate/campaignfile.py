"""What a campaign writes beside the records of its run: how far it is, and a report for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from cropmask.errors import Reason, Rejected
from cropmask.fleet.records import run_folder
from cropmask.fleet.strictjson import check_fields, describe_fault, read_object
from cropmask.operate.formats import format_count, format_dollars
from cropmask.operate.status import RunStatus
from cropmask.operate.statuspage import describe_surroundings, make_status_page
from cropmask.product import Product
from cropmask.results.finder import find_collection, is_synthetic
from cropmask.results.itemcache import load_items
from cropmask.site.site import Site
from cropmask.stac.facts import Document, mark_title
from cropmask.stac.statistics import sum_areas
from cropmask.store.protocol import Absent, Store
from cropmask.task import Period

CAMPAIGN_FORMAT: Final = 1
"""Format of the document."""
_REPORT: Final = "report"
"""Name of both files for people in the folder of the run."""


class CampaignStep(StrEnum):
    """What a campaign does, in this order."""

    DOCTOR = "doctor"
    PLAN = "plan"
    CANARY = "canary"
    SUBMIT = "submit"
    WAIT = "wait"
    RECONCILE = "reconcile"
    CATALOG = "catalog"
    INDEX = "index"
    REPORT = "report"


class StepState(StrEnum):
    """How a step ended."""

    DONE = "done"
    WAITING = "waiting"
    """What it needs is not there yet; nothing is wrong."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What became of a step, the last time."""

    step: str
    state: str
    began: str
    """UTC, RFC 3339."""
    ended: str
    detail: str
    """One line."""
    reason: str | None = None
    """Of an error."""


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A region and period from preflight to report, done once."""

    run: str
    """Name of its run, and its own."""
    region: str
    """As it was asked for."""
    product: str
    version: str
    period: str
    asked: str
    """How tiles are to be made, and which; it stays what it was."""
    steps: tuple[StepRecord, ...] = ()
    """Steps that ended, each once."""
    told: tuple[str, ...] = ()
    """What people were told."""

    @property
    def key(self) -> str:
        """Key of the document in the store."""
        return campaign_key(self.product, self.period, self.run)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(self.has_done(step) for step in CampaignStep)

    def has_done(self, step: CampaignStep) -> bool:
        """Whether a step need not be done again."""
        return any(one.step == step and one.state == StepState.DONE for one in self.steps)

    def with_step(self, record: StepRecord) -> CampaignRecord:
        """The same with what became of a step."""
        others = [one for one in self.steps if one.step != record.step]
        steps = sorted((*others, record), key=lambda one: [*CampaignStep].index(one.step))
        return replace(self, steps=tuple(steps))

    def to_json(self) -> str:
        """The document."""
        return json.dumps({"campaign": CAMPAIGN_FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> CampaignRecord:
        """Campaign of a document; Rejected if it is none of this format, naming the field."""
        try:
            found = read_object(text)
            if found.pop("campaign", None) != CAMPAIGN_FORMAT:
                raise ValueError(f"it does not say that its format is {CAMPAIGN_FORMAT}")
            found["steps"] = tuple(map(_parse_step, found["steps"]))
            found["told"] = tuple(found["told"])
            return check_fields(cls, found)
        except (ValueError, TypeError, KeyError) as error:
            raise Rejected(
                f"the document is no campaign ({describe_fault(error)}): remove it, and the "
                "campaign begins anew",
                reason=Reason.BAD_RECORD,
            ) from None


def _parse_step(found: Any) -> StepRecord:  # noqa: ANN401 (any JSON value)
    record = check_fields(StepRecord, found)
    CampaignStep(record.step), StepState(record.state)
    return record


def campaign_key(product: str, period: str, run: str) -> str:
    """Key of the document of a campaign."""
    return f"{run_folder(product, period, run)}campaign.json"


def find_campaign(store: Store, product: str, period: str, run: str) -> CampaignRecord | None:
    """Document of a campaign; None if it has not begun, Rejected if the document is none."""
    key = campaign_key(product, period, run)
    try:
        return CampaignRecord.from_json(store.get(key))
    except Absent:
        return None
    except Rejected as error:
        raise Rejected(f"{store.uri(key)}: {error}", reason=error.reason) from None


def put_report(
    store: Store, site: Site, product: Product, campaign: CampaignRecord, status: RunStatus
) -> str:
    """Write ``report.json`` and ``report.html`` beside the records of the run; the same in a line.

    Areas are counted from the maps of this year and the one before, and therefore biased.
    """
    synthetic = is_synthetic(find_collection(store, product.name))
    areas = _sum_years(store, product, Period.parse(campaign.period))
    document = {
        "synthetic": synthetic,
        **asdict(campaign),
        **_describe(status, site),
        "areas_counted": areas,
    }
    folder = run_folder(campaign.product, campaign.period, campaign.run)
    text = json.dumps(document, indent=1) + "\n"
    store.put(f"{folder}{_REPORT}.json", text.encode(), "application/json")
    page = make_status_page(status, describe_surroundings(site, campaign.region, synthetic))
    store.put(f"{folder}{_REPORT}.html", page.encode(), "text/html")
    return mark_title(
        f"{_describe_areas(areas, campaign.period)}; {format_count(status.done, 'tile')} at "
        f"{format_dollars(status.dollars(site.price))}; {store.uri(f'{folder}{_REPORT}.html')}",
        synthetic=synthetic,
    )


def _describe(status: RunStatus, site: Site) -> Document:
    found: dict[str, Any] = {
        "tiles": len(status.tiles),
        "counts": status.counts,
        "dollars": status.dollars(site.price),
        "dollars_per_cpu_hour": site.price.dollars,
        "failures": [
            {"reason": group.reason, "tiles": [*map(str, group.tiles)], "error": group.error}
            for group in status.failures
        ],
    }
    return found


def _sum_years(store: Store, product: Product, period: Period) -> Document:
    """Areas of all tiles with a result, by period: this one and the one before, if it is there."""
    items = [
        item
        for item in load_items(store).products.get(product.name, ())
        if item.version == product.version and item.period in (str(period), str(period.before))
    ]
    return sum_areas(items)


def _describe_areas(areas: Document, period: str) -> str:
    found = areas.get(period)
    if found is None or found["crop_percent"] is None:
        return "no land is mapped"
    said = f"{found['crop_filtered_hectares']:,.0f} ha of crop counted ({found['crop_percent']} %)"
    before = areas.get(str(Period.parse(period).before))
    if before is None or before["crop_percent"] is None:
        return said
    return f"{said}, {before['crop_percent']} % the year before"
