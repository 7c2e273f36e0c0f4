"""A run as one self-contained HTML page: its tiles on a map, figures and failures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import shapely

from cropmask.grid import AFRICA_10, Tile
from cropmask.operate.advice import advise, advise_run
from cropmask.operate.formats import (
    say_count,
    say_cpu_time,
    say_dollars,
    say_duration,
    say_moment,
    say_rate,
)
from cropmask.operate.summary import SHOWN, Standing, TileStanding
from cropmask.queue.protocol import Counts
from cropmask.site.commands import HERE, Commands
from cropmask.site.price import Price
from cropmask.stac.facts import mark_title

MEANINGS: Final = {
    "SUCCEEDED": "computed",
    "SKIPPED": "the same result was there",
    "PROCESSING": "being worked on",
    "STALE": "begun by a worker that died",
    "FAILED": "failed, tried again",
    "INVALID": "cannot succeed as it is",
    "PENDING": "not begun",
}
COLORS: Final = {
    "SUCCEEDED": "#009E73",
    "SKIPPED": "#85CDB5",
    "PROCESSING": "#3B82F6",
    "STALE": "#B279C4",
    "FAILED": "#E69F00",
    "INVALID": "#D1382C",
}
"""Fill of each state in light and dark alike; PENDING has the page's own gray."""
_MARKS: Final = {
    "SKIPPED": "M2.8 5.2 4.4 6.8 7.2 3.4",
    "PROCESSING": "M5 3.2a1.8 1.8 0 1 0 .01 0z",
    "STALE": "M2.8 5h4.4",
    "FAILED": "M3 7 7 3",
    "INVALID": "M3 3 7 7M3 7 7 3",
}
"""A sign in the tile for those who cannot tell the colors apart."""
_CELL: Final = 10
"""Units of the drawing that a tile is wide."""

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
svg .land { fill: var(--land); }
svg .shore { fill: none; stroke: var(--ink); stroke-width: .7; opacity: .55; pointer-events: none; }
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
    commands: Commands = HERE
    """How to write commands."""


def make_status_page(standing: Standing, around: Surroundings) -> str:
    """HTML of a run; it needs no other file and no network."""
    record = standing.record
    title = mark_title(f"{record.product} {record.period}", synthetic=around.synthetic)
    goes_on = around.reload_seconds is not None and standing.remaining > 0
    refresh = f'<meta http-equiv="refresh" content="{around.reload_seconds}">' if goes_on else ""
    fills = "".join(f".{name} {{ fill: {color}; background: {color} }}\n"
                    for name, color in COLORS.items())  # fmt: skip
    fills += ".PENDING { fill: var(--PENDING); background: var(--PENDING) }\n"
    sections = (
        _header(standing, title),
        _bar(standing),
        _cards(standing, around),
        f'<div class="two"><section class="card">{make_map(standing, around)}</section>'
        f'<section class="card"><h2>Tiles</h2>{_legend(standing, around)}</section></div>',
        _failures(standing, around),
        _advice(standing, around),
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{refresh}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{standing.share:.0%} {escape(title)}</title>"
        f"<style>{_STYLE}{fills}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def _header(standing: Standing, title: str) -> str:
    record = standing.record
    return (
        f"<header><h1>{escape(title)}</h1>"
        f'<p class="soft">run <code>{escape(record.run)}</code>, submitted '
        f"{escape(record.submitted)}, model {escape(record.recipe)}, {record.resolution} m; "
        f'as of <time id="moment">{say_moment(standing.moment)}</time></p></header>'
    )


def _bar(standing: Standing) -> str:
    total = max(len(standing.tiles), 1)
    parts = "".join(
        f'<i class="{name}" style="width:{100 * number / total:.3f}%" title="{name} {number}"></i>'
        for name, number in standing.counts.items()
        if number
    )
    return f'<div class="bar" role="img" aria-label="{standing.share:.0%} done">{parts}</div>'


def _cards(standing: Standing, around: Surroundings) -> str:
    spent = standing.spent
    speed = say_rate(standing.per_hour) if standing.per_hour else "not known yet"
    usual = f"{say_duration(spent.tile_seconds)} a tile" if spent.tile_seconds else "no tile timed"
    cards = [
        ("done", f"{standing.done:,} of {len(standing.tiles):,}", f"{standing.share:.0%} done"),
        ("speed", speed, f"{usual}, {_say_retries(standing.retried)}"),
        ("ends", *_ends(standing)),
        ("cost", say_dollars(standing.dollars(around.price)),
         f"so far: {say_cpu_time(spent.cpu_seconds)} at {around.price.short}"),
    ]  # fmt: skip
    if around.queue is not None:
        queue = around.queue
        dead = say_count(queue.dead, "dead letter")
        waits = f"{queue.visible:,} waiting, {queue.delayed:,} delayed, {dead}"
        cards.append(("queue", f"{queue.in_flight:,} in flight", waits))
    return '<div class="cards">{}</div>'.format(
        "".join(
            f'<div class="card" id="{name}"><b>{escape(value)}</b><span>{escape(note)}</span></div>'
            for name, value, note in cards
        )
    )


def _say_retries(number: int) -> str:
    return "1 retry" if number == 1 else f"{number:,} retries"


def _ends(standing: Standing) -> tuple[str, str]:
    if standing.remaining == 0:
        return "over", f"last tile begun {say_moment(standing.last)}" if standing.last else ""
    if standing.ends is None or standing.seconds_left is None:
        return "not known yet", "needs two finished tiles"
    return f"in {say_duration(standing.seconds_left)}", f"about {say_moment(standing.ends)}"


def make_map(standing: Standing, around: Surroundings) -> str:
    """SVG of the tiles, north up: a square for each, with its state as color, sign and title."""
    shown = {found.tile: found for found in standing.tiles}
    rest = [tile for tile in around.region_tiles if tile not in shown]
    every = [*shown, *rest]
    if not every:
        return "<p>no tiles</p>"
    west, east = min(tile.x for tile in every), max(tile.x for tile in every) + 1
    south, north = min(tile.y for tile in every), max(tile.y for tile in every) + 1
    width, height = _CELL * (east - west), _CELL * (north - south)

    def place(tile: Tile) -> str:
        return f"translate({_CELL * (tile.x - west)} {_CELL * (north - 1 - tile.y)})"

    drawn = [_square(found, place(found.tile)) for found in standing.tiles]
    empty = [
        f'<g transform="{place(tile)}"><title>{tile} is not in this run</title>'
        f'<rect class="rest" x=".8" y=".8" width="8.4" height="8.4" rx="1"/></g>'
        for tile in rest
    ]
    return (
        f'<svg class="map" role="img" aria-label="Map of the tiles" '
        f'viewBox="-4 -4 {width + 8} {height + 8}">'
        + _land(around.outline, west, north, "land")
        + "\n".join([*empty, *drawn])
        + _land(around.outline, west, north, "shore")
        + "</svg>"
    )


def _square(found: TileStanding, transform: str) -> str:
    words = f"{found.tile} {found.shown}: {MEANINGS[found.shown]}"
    if found.latest is not None:
        words += (
            f"; {say_count(found.attempts, 'attempt')}, begun {say_moment(found.latest.started)}"
        )
    mark = _MARKS.get(found.shown)
    return (
        f'<g transform="{transform}" data-tile="{found.tile}" data-state="{found.shown}">'
        f'<title>{words}</title><rect class="{found.shown}" x=".5" y=".5" width="9" height="9" '
        f'rx="1"/>{f"<path class=mark d={chr(34)}{mark}{chr(34)}/>" if mark else ""}</g>'
    )


def _land(outline: shapely.Geometry | None, west: int, north: int, kind: str) -> str:
    """The region itself, as coarse as it is drawn."""
    if outline is None:
        return ""
    coarse = shapely.simplify(outline, AFRICA_10.size / 20)
    left = AFRICA_10.left + AFRICA_10.size * west
    top = AFRICA_10.bottom + AFRICA_10.size * north
    scale = _CELL / AFRICA_10.size
    rings = (
        "M" + " ".join(f"{(x - left) * scale:.1f},{(top - y) * scale:.1f}" for x, y in ring) + "z"
        for ring in _rings(coarse)
    )
    return f'<path class="{kind}" fill-rule="evenodd" d="{"".join(rings)}"/>\n'


def _rings(shape: shapely.Geometry) -> Iterable[Sequence[tuple[float, float]]]:
    for part in shapely.get_parts(shape):
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            for ring in (part.exterior, *part.interiors):
                yield ring.coords


def _legend(standing: Standing, around: Surroundings) -> str:
    rows = [
        f'<tr data-count="{name}"><td>{_key(name)}</td><td>{name}<br><span class="soft">'
        f'{MEANINGS[name]}</span></td><td class="n">{standing.counts[name]:,}</td></tr>'
        for name in SHOWN
    ]
    known = {found.tile for found in standing.tiles}
    rest = sum(tile not in known for tile in around.region_tiles)
    if rest:
        rows.append(
            '<tr data-count="REST"><td><svg class="key" viewBox="0 0 10 10"><rect class="rest" '
            'x=".8" y=".8" width="8.4" height="8.4" rx="1"/></svg></td><td>not in this run<br>'
            f'<span class="soft">{standing.record.unchanged:,} were unchanged</span></td>'
            f'<td class="n">{rest:,}</td></tr>'
        )
    return f'<table id="legend"><tbody>{"".join(rows)}</tbody></table>'


def _key(name: str) -> str:
    mark = f'<path class="mark" d="{_MARKS[name]}"/>' if name in _MARKS else ""
    return (
        f'<svg class="key" viewBox="0 0 10 10" role="img" aria-label="{name}">'
        f'<rect class="{name}" width="10" height="10" rx="1"/>{mark}</svg>'
    )


def _failures(standing: Standing, around: Surroundings) -> str:
    if not standing.failures:
        return ""
    rows = "".join(
        f'<tr><td>{_key(group.state)}</td><td class="n">{len(group.tiles):,}</td>'
        f'<td class="word">{escape(group.reason)}</td>'
        f"<td><code>{group.example}</code> {escape(group.error)}"
        f"</td><td>{escape(advise(group, around.commands))}</td></tr>"
        for group in standing.failures
    )
    head = "".join(f"<th>{name}</th>" for name in ("", "tiles", "reason", "example", "what to do"))
    return (
        f'<section class="card" id="failures"><h2>Failures</h2><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></section>"
    )


def _advice(standing: Standing, around: Surroundings) -> str:
    lines = advise_run(standing, around.queue, around.commands)
    if not lines:
        return ""
    items = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        f'<section class="card" id="advice" style="margin-top:12px"><h2>Next</h2>{items}</section>'
    )
