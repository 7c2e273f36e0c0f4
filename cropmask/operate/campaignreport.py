"""What a campaign leaves for people: its figures as JSON, and a page with a map of its tiles."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from cropmask.fleet.records import run_folder
from cropmask.operate.campaignfile import CampaignRecord
from cropmask.operate.formats import format_count, format_dollars
from cropmask.operate.status import RunStatus
from cropmask.operate.statuspage import describe_surroundings, make_status_page
from cropmask.product import Product
from cropmask.results.finder import find_collection, is_synthetic
from cropmask.results.itemcache import load_items
from cropmask.site.site import Site
from cropmask.stac.facts import Document, mark_title
from cropmask.stac.statistics import sum_areas
from cropmask.store.protocol import Store
from cropmask.task import Period

REPORT: Final = "report"
"""Name of both files in the folder of the run."""


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
    store.put(f"{folder}{REPORT}.json", text.encode(), "application/json")
    page = make_status_page(status, describe_surroundings(site, campaign.region, synthetic))
    store.put(f"{folder}{REPORT}.html", page.encode(), "text/html")
    return mark_title(
        f"{_describe_areas(areas, campaign.period)}; {format_count(status.done, 'tile')} at "
        f"{format_dollars(status.dollars(site.price))}; {store.uri(f'{folder}{REPORT}.html')}",
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
