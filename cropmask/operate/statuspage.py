"""A run as one self-contained HTML page: its tiles on a map, figures and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import shapely

from cropmask.errors import CropmaskError
from cropmask.grid import AFRICA_10, Tile, tiles_within
from cropmask.operate.advice import advise_group, advise_run
from cropmask.operate.formats import (
    format_count,
    format_cpu_time,
    format_dollars,
    format_duration,
    format_moment,
    format_rate,
)
from cropmask.operate.status import TILE_STATES, RunStatus, TileStatus
from cropmask.product import name_maker
from cropmask.queue.protocol import Counts
from cropmask.region.region import load_region
from cropmask.results.html import Html, join, make_page, make_table, tag
from cropmask.results.outline import outline_path
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter
from cropmask.site.price import Price
from cropmask.site.site import Site
from cropmask.sources.boundary import load_boundary
from cropmask.stac.facts import mark_title

MARK: Final = tag("meta", name="generator", content="cropmask status")
"""Stands in every page, and so tells it from files of others."""
MEANINGS: Final = {
    "SUCCEEDED": "computed",
    "SKIPPED": "the same result was there",
    "PROCESSING": "being worked on",
    "FAILED": "failed, tried again",
    "INVALID": "cannot succeed as it is",
    "HELD": "its run waits; resuming it sends it again",
    "CANCELED": "its run was canceled",
    "PENDING": "not begun",
}
COLORS: Final = {
    "SUCCEEDED": "#009E73",
    "SKIPPED": "#85CDB5",
    "PROCESSING": "#3B82F6",
    "FAILED": "#E69F00",
    "INVALID": "#D1382C",
    "HELD": "#B07CC6",
    "CANCELED": "#7A7A7A",
}
"""Fill of each state in light and dark alike; PENDING has the page's own gray."""
_MARKS: Final = {
    "SKIPPED": "M2.8 5.2 4.4 6.8 7.2 3.4",
    "PROCESSING": "M5 3.2a1.8 1.8 0 1 0 .01 0z",
    "FAILED": "M3 7 7 3",
    "INVALID": "M3 3 7 7M3 7 7 3",
    "HELD": "M4 3V7M6 3V7",
    "CANCELED": "M3 5H7",
}
"""A sign in the tile for those who cannot tell the colors apart."""
_CELL: Final = 10
"""Units of the drawing that a tile is wide."""
_COARSENESS: Final = 1 / 800
"""Of the outline, as a share of the map's longer edge: about a pixel."""
_FEW: Final = 4
"""Tiles an edge up to which a map is drawn small."""
_REST: Final = tag("rect", class_="rest", x=".8", y=".8", width="8.4", height="8.4", rx="1")
"""A tile that is not in the run."""

_STYLE: Final = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #ffffff; --ink: #1c2330;
  --soft: #5b6576; --line: #d9dee6; --PENDING: #c5ccd6; --land: #e9edf2; --mark: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ground: #12161d; --card: #1b212b; --ink: #e8ecf2;
  --soft: #9aa5b5; --line: #323b49; --PENDING: #465062; --land: #222a35; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 16px; margin: 0 0 10px; }
p { margin: 4px 0; } .soft { color: var(--soft); }
.bar { display: flex; height: 14px; border-radius: 7px; overflow: hidden; margin: 16px 0;
  background: var(--PENDING); }
.bar i { display: block; height: 100%; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 14px; min-width: 0; }
.card b { display: block; font-size: 22px; font-weight: 600; line-height: 1.3; }
.card span { color: var(--soft); font-size: 13px; }
.two { display: grid; grid-template-columns: minmax(0, 1fr) 300px; gap: 12px; margin: 12px 0;
  align-items: start; }
@media (max-width: 800px) { .two { grid-template-columns: minmax(0, 1fr); } }
svg.map { display: block; width: 100%; max-height: 760px; }
svg.few { max-height: 360px; }
svg .land { fill: var(--land); }
svg .shore { fill: none; stroke: var(--ink); stroke-width: 1.3px; opacity: .55;
  vector-effect: non-scaling-stroke; pointer-events: none; }
svg .rest { fill: none; stroke: var(--line); stroke-width: .6; }
svg .mark { fill: none; stroke: var(--mark); stroke-width: 1.1; stroke-linecap: round; }
svg .SKIPPED + .mark { stroke: #0b4f3c; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 6px 10px 6px 0;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { border-top: 0; white-space: nowrap; color: var(--soft); font-weight: 500;
  font-size: 13px; }
td.word { overflow-wrap: break-word; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.key { width: 20px; height: 20px; display: block; border-radius: 3px; }
#advice { margin-top: 12px; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; }
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a page shows beside the run itself."""

    price: Price
    queue: Counts | None = None
    outline: shapely.Geometry | None = None
    """Boundary of the region, EPSG:6933."""
    region_tiles: Sequence[Tile] = ()
    """All tiles of the region; those that are not the run's are drawn empty."""
    reload_seconds: int | None = None
    """Interval at which the page loads itself anew while the run goes on."""
    synthetic: bool = False
    """Whether results show the made-up world."""
    commands: CommandWriter = PLAIN_COMMANDS
    """How to write commands."""


def describe_surroundings(
    site: Site, region: str, synthetic: bool = False, *, reload_seconds: int | None = None
) -> Surroundings:
    """What a page shows beside a run of a region, as far as that is known here.

    ``synthetic`` says whether results show the made-up world, ``reload_seconds`` how often the page
    loads itself anew; None for never.
    """
    around = Surroundings(
        site.price, reload_seconds=reload_seconds, synthetic=synthetic, commands=site.commands
    )
    if site.synthetic:
        return around  # the made-up world is not where its region is
    try:
        outline = load_boundary(load_region(region, site.models).boundary, site.read.limits)
    except CropmaskError:  # submitted with a region file that is not here
        return around
    return replace(around, outline=outline, region_tiles=tiles_within(outline))


def make_status_page(standing: RunStatus, around: Surroundings) -> str:
    """HTML of a run; it needs no other file and no network."""
    record = standing.record
    title = mark_title(f"{record.product} {record.period}", synthetic=around.synthetic)
    heading = MARK
    if around.reload_seconds is not None and standing.remaining > 0:
        reload = tag("meta", http_equiv="refresh", content=around.reload_seconds)
        heading = join((MARK, reload))
    colors = {**COLORS, "PENDING": "var(--PENDING)"}
    fills = "".join(f".{name} {{ fill: {c}; background: {c} }}\n" for name, c in colors.items())
    fills += _bar_widths(standing)
    main = (
        _header(standing, title),
        _bar(standing),
        _cards(standing, around),
        tag(
            "div",
            tag("section", _map(standing, around), class_="card"),
            tag("section", tag("h2", "Tiles"), _legend(standing, around), class_="card"),
            class_="two",
        ),
        _failures(standing, around),
        _advice(standing, around),
    )
    return make_page(
        f"{standing.share:.0%} {title}", _STYLE + fills, tag("main", *main), heading=heading
    )


def _header(standing: RunStatus, title: str) -> Html:
    record = standing.record
    moment = tag("time", format_moment(standing.moment), id="moment")
    maker = name_maker(record.product, record.recipe)
    made = f", submitted {record.submitted}, model {maker}, {record.resolution} m; as of "
    about = tag("p", "run ", tag("code", record.run), made, moment, class_="soft")
    return tag("header", tag("h1", title), about)


def _bar(standing: RunStatus) -> Html:
    parts = (
        tag("i", class_=name, title=f"{name} {count}")
        for name, count in standing.counts.items()
        if count
    )
    return tag("div", *parts, class_="bar", role="img", aria_label=f"{standing.share:.0%} done")


def _bar_widths(standing: RunStatus) -> str:
    """Rules of the bar's parts; the page's policy allows no style but the page's own."""
    total = max(len(standing.tiles), 1)
    shares = {name: 100 * count / total for name, count in standing.counts.items()}
    return "".join(f".bar .{name} {{ width: {share:.3f}% }}\n" for name, share in shares.items())


def _cards(standing: RunStatus, around: Surroundings) -> Html:
    spent = standing.spent
    speed = format_rate(standing.per_hour) if standing.per_hour else "not known yet"
    usual = (
        f"{format_duration(spent.tile_seconds)} a tile" if spent.tile_seconds else "no tile timed"
    )
    retries = "1 retry" if standing.retried == 1 else f"{standing.retried:,} retries"
    cards = [
        ("done", f"{standing.done:,} of {len(standing.tiles):,}", f"{standing.share:.0%} done"),
        ("speed", speed, f"{usual}, {retries}"),
        ("ends", *_ends(standing)),
        ("cost", format_dollars(standing.dollars(around.price)),
         f"so far: {format_cpu_time(spent.cpu_seconds)} at {around.price.short}"),
    ]  # fmt: skip
    if around.queue is not None:
        queue = around.queue
        dead = format_count(queue.dead, "dead letter")
        waits = f"{queue.visible:,} waiting, {queue.delayed:,} delayed, {dead}"
        cards.append(("queue", f"{queue.in_flight:,} in flight", waits))
    drawn = (
        tag("div", tag("b", value), tag("span", note), class_="card", id=name)
        for name, value, note in cards
    )
    return tag("div", *drawn, class_="cards")


def _ends(standing: RunStatus) -> tuple[str, str]:
    if standing.remaining == 0:
        return "over", f"last tile begun {format_moment(standing.last)}" if standing.last else ""
    if standing.ends is None or standing.seconds_left is None:
        return "not known yet", "needs two computed tiles"
    return f"in {format_duration(standing.seconds_left)}", f"about {format_moment(standing.ends)}"


def _map(standing: RunStatus, around: Surroundings) -> Html:
    """SVG of the tiles, north up: a square for each, with its state as color, sign and title."""
    shown = {found.tile for found in standing.tiles}
    rest = [tile for tile in around.region_tiles if tile not in shown]
    every = [*shown, *rest]
    if not every:
        return tag("p", "no tiles")
    west, east = min(tile.x for tile in every), max(tile.x for tile in every) + 1
    south, north = min(tile.y for tile in every), max(tile.y for tile in every) + 1

    def place(tile: Tile) -> str:
        return f"translate({_CELL * (tile.x - west)} {_CELL * (north - 1 - tile.y)})"

    def unused(tile: Tile) -> Html:
        return tag("g", tag("title", f"{tile} is not in this run"), _REST, transform=place(tile))

    edge = max(east - west, north - south)
    land = partial(_land, around.outline, west, north, edge)
    return tag(
        "svg",
        land("land"),
        *map(unused, rest),
        *(_square(found, place(found.tile)) for found in standing.tiles),
        land("shore"),
        class_="map few" if edge <= _FEW else "map",
        role="img",
        aria_label="Map of the tiles",
        viewBox=f"-4 -4 {_CELL * (east - west) + 8} {_CELL * (north - south) + 8}",
    )


def _square(found: TileStatus, transform: str) -> Html:
    words = f"{found.tile} {found.state}: {MEANINGS[found.state]}"
    if found.latest is not None:
        begun = format_moment(found.latest.started)
        words += f"; {format_count(found.attempts, 'attempt')}, begun {begun}"
    box = tag("rect", class_=found.state, x=".5", y=".5", width="9", height="9", rx="1")
    place = {"transform": transform, "data-tile": found.tile, "data-state": found.state}
    return tag("g", tag("title", words), box, _mark(found.state), **place)


def _mark(state: str) -> Html:
    return tag("path", class_="mark", d=_MARKS[state]) if state in _MARKS else Html()


def _land(outline: shapely.Geometry | None, west: int, north: int, edge: int, kind: str) -> Html:
    """The region itself, as coarse as it is drawn on a map of so many tiles an edge."""
    if outline is None:
        return Html()
    coarse = shapely.simplify(outline, AFRICA_10.size * edge * _COARSENESS)
    left = AFRICA_10.left + AFRICA_10.size * west
    top = AFRICA_10.bottom + AFRICA_10.size * north
    scale = _CELL / AFRICA_10.size
    path = outline_path(coarse, left, top, (scale, scale))
    return tag("path", class_=kind, fill_rule="evenodd", d=path)


def _legend(standing: RunStatus, around: Surroundings) -> Html:
    def row(name: str, sign: Html, title: str, note: str, count: int) -> Html:
        words = tag("td", title, tag("br"), tag("span", note, class_="soft"))
        number = tag("td", f"{count:,}", class_="n")
        return tag("tr", tag("td", sign), words, number, data_count=name)

    rows = [
        row(name, _key(name), name, MEANINGS[name], standing.counts[name]) for name in TILE_STATES
    ]
    known = {found.tile for found in standing.tiles}
    rest = sum(tile not in known for tile in around.region_tiles)
    if rest:
        sign = tag("svg", _REST, class_="key", viewBox="0 0 10 10")
        note = f"{standing.record.unchanged:,} were unchanged"
        rows.append(row("REST", sign, "not in this run", note, rest))
    return tag("table", tag("tbody", *rows), id="legend")


def _key(name: str) -> Html:
    box = tag("rect", class_=name, width="10", height="10", rx="1")
    about = {"role": "img", "aria-label": name}
    return tag("svg", box, _mark(name), class_="key", viewBox="0 0 10 10", **about)


def _failures(standing: RunStatus, around: Surroundings) -> Html:
    if not standing.failures:
        return Html()
    rows = (
        (
            _key(group.state),
            tag("td", f"{len(group.tiles):,}", class_="n"),
            tag("td", group.reason, class_="word"),
            join((tag("code", str(group.example)), " ", group.error)),
            advise_group(group, around.commands, standing.record.region),
        )
        for group in standing.failures
    )
    table = make_table(rows, ("", "tiles", "reason", "example", "what to do"))
    return tag("section", tag("h2", "Failures"), table, class_="card", id="failures")


def _advice(standing: RunStatus, around: Surroundings) -> Html:
    lines = advise_run(standing, around.queue, around.commands)
    if not lines:
        return Html()
    items = (tag("p", line) for line in lines)
    return tag("section", tag("h2", "Next"), *items, class_="card", id="advice")
