"""Make the picture of the dashboard: the widgets of the template, evaluated over what was recorded.

Run ``.venv/bin/python docs/make_dashboard_figure.py`` after ``make infra-synth``; it needs
Chromium. What is drawn was recorded by ``docs/record_dashboard.py``. Its tiles take seconds, so its
clock is slowed: an hour of the picture is a minute of the recording, and so are the durations.
"""

from __future__ import annotations

import html
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from infra.standins.dashboards import (
    Line,
    Recorded,
    evaluate_log_widget,
    evaluate_widget,
    find_sounded,
    widgets_of,
)
from infra.standins.logqueries import Row
from tests.browser import browse

RECORDED: Final = Path(__file__).parent / "figures" / "dashboard.json"
FIGURE: Final = RECORDED.with_suffix(".png")
ENVIRONMENT: Final = "dev"
WIDTH: Final = 1280
COLUMN: Final = WIDTH / 24
ROW: Final = 38
COLORS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")
_STYLE: Final = """
body { margin: 0; background: #f2f3f3; font: 12px sans-serif; color: #16191f; }
section { position: absolute; box-sizing: border-box; padding: 4px; }
section > div { background: #fff; border: 1px solid #d5dbdb; height: 100%; box-sizing: border-box;
  padding: 6px 8px; overflow: hidden; }
h2 { font-size: 13px; margin: 0 0 4px; }
.alarm { display: inline-block; margin: 2px 6px 2px 0; padding: 4px 8px; border-radius: 3px;
  background: #e9f5ec; border-left: 4px solid #1d8102; }
.alarm.on { background: #fdecea; border-color: #d13212; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: 3px 8px;
  border-bottom: 1px solid #eaeded; }
"""


def make_page(recorded: Recorded) -> str:
    """The dashboard as HTML."""
    parts = [f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>"]
    for widget in widgets_of(ENVIRONMENT):
        given = widget["properties"]
        style = (
            f"left:{widget['x'] * COLUMN}px;top:{widget['y'] * ROW}px;"
            f"width:{widget['width'] * COLUMN}px;height:{widget['height'] * ROW}px"
        )
        title = html.escape(given["title"])
        parts.append(f"<section style='{style}'><div><h2>{title}</h2>")
        if widget["type"] == "alarm":
            parts += [
                f"<span class='alarm{' on' if on else ''}'>{name}{': sounded' if on else ''}</span>"
                for name, on in find_sounded(ENVIRONMENT, recorded).items()
            ]
        elif widget["type"] == "log":
            parts.append(_table(evaluate_log_widget(given, recorded)))
        else:
            size = (widget["width"] * COLUMN - 26, widget["height"] * ROW - 44)
            parts.append(_graph(evaluate_widget(given, recorded), recorded.end, size))
        parts.append("</div></section>")
    return "".join(parts)


def _table(rows: list[Row]) -> str:
    names = list(rows[0])
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_number(row[name])}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _number(value: object) -> str:
    if not isinstance(value, float):
        return html.escape(str(value))
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _graph(lines: list[Line], end: int, size: tuple[float, float]) -> str:
    width, height = size
    left, right, low = 44.0, width - 40, height - 34
    parts = [f"<svg width={width:.0f} height={height:.0f}>"]
    for is_right in (False, True):
        shown = [line for line in lines if line.is_right is is_right and line.series]
        top = _round_up(max((v for line in shown for v in line.series.values()), default=1.0))
        if is_right and not shown:
            continue
        at, anchor = (right + 4, "start") if is_right else (left - 4, "end")
        for part in range(5):
            y = low - (low - 6) * part / 4
            if not is_right:
                parts.append(f"<line x1={left} x2={right} y1={y:.1f} y2={y:.1f} stroke='#eaeded'/>")
            text = _number(top * part / 4)
            parts.append(
                f"<text x={at:.1f} y={y + 4:.1f} text-anchor={anchor} font-size=10>{text}</text>"
            )
        for line in shown:
            color = COLORS[lines.index(line) % len(COLORS)]
            points = [
                (
                    left + (right - left) * (moment + line.period / 2) / end,
                    low - (low - 6) * v / top,
                )
                for moment, v in sorted(line.series.items())
            ]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(
                f"<polyline points='{path}' fill=none stroke='{color}' stroke-width=1.5 />"
            )
            parts += [
                f"<circle cx={x:.1f} cy={y:.1f} r=1.6 fill='{color}'/>"
                for x, y in points
                if line.period >= 300
            ]
    for hour in range(end // 3600 + 1):
        x = left + (right - left) * hour * 3600 / end
        label = f"<text x={x:.1f} y={low + 13:.1f} text-anchor=middle font-size=10>"
        parts.append(f"{label}{hour}:00</text>")
    x = left
    for number, line in enumerate(lines):
        label = line.label + ("" if line.series else ": none")
        parts.append(f"<rect x={x} y={height - 12} width=9 height=9 fill='{COLORS[number]}'/>")
        parts.append(f"<text x={x + 13} y={height - 4} font-size=11>{html.escape(label)}</text>")
        x += 26 + 6.4 * len(label)
    return "".join((*parts, "</svg>"))


def _round_up(value: float) -> float:
    """The next number with one digit, and 1 for nothing."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** len(str(int(value))[1:]) if value >= 1 else 1.0
    while value < scale:
        scale /= 10
    return scale * -(-value // scale)


def main() -> None:
    """Draw it."""
    widgets = widgets_of(ENVIRONMENT)
    height = max(widget["y"] + widget["height"] for widget in widgets) * ROW
    with TemporaryDirectory() as folder:
        page = Path(folder) / "dashboard.html"
        page.write_text(make_page(Recorded.load(RECORDED)), encoding="utf-8")
        browse(page.as_uri(), FIGURE, size=(WIDTH, height))
    click.echo(f"wrote {FIGURE}")


if __name__ == "__main__":
    main()
