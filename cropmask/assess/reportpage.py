"""A report as one HTML page that needs no other file: on a screen, and on two sheets of paper."""

from __future__ import annotations

import csv
import io
import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from cropmask.assess.area import POST_STRATIFIED, REGRESSION, STRATIFIED
from cropmask.assess.language import Language, digits_of
from cropmask.assess.report import DistrictLine, Ranged, Report
from cropmask.assess.reportmap import (
    ReportMap,
    class_style,
    district_legend,
    draw_districts,
    draw_legend,
    draw_map,
)
from cropmask.results.html import Html, join, make_page, make_table, tag
from cropmask.stac.facts import mark_title
from cropmask.task import Period

MARK: Final = tag("meta", name="generator", content="cropmask report")
"""Stands in every page, and so tells it from files of others."""
MOST_PRINTED: Final = 20
"""Districts that a sheet of paper has room for; the others are on the screen and in the CSV."""
_ESTIMATORS: Final = {
    STRATIFIED: "districts.stratified",
    POST_STRATIFIED: "districts.post_stratified",
    REGRESSION: "districts.regression",
}

_STYLE: Final = (Path(__file__).parent / "reportpage.css").read_text(encoding="utf-8")
_SCRIPT: Final = (Path(__file__).parent / "reportpage.js").read_text(encoding="utf-8")


def make_report_page(report: Report, drawn: ReportMap, language: Language, data_file: str) -> str:
    """HTML of a report, with its maps and in a language; ``data_file`` is the JSON beside it."""
    words = _Words(report, language)
    title = words.say("title.page")
    main = (
        _header(words),
        _answer(words),
        tag(
            "div",
            _map(words, drawn),
            tag("div", _accuracy(words), _land(words), class_="facts"),
            class_="two first",
        ),
        _districts(words, drawn),
        tag("div", _method(words), _limits(words), class_="two even page"),
        tag("div", _again(words, data_file), _credits(words), class_="two even"),
    )
    return make_page(
        mark_title(title, synthetic=report.is_synthetic),
        _STYLE + class_style(drawn.band),
        tag("main", *main),
        heading=MARK,
        lang=language.code,
        script=_SCRIPT,
        pictures="data:",
    )


def encode_districts(lines: Sequence[DistrictLine]) -> str:
    """Districts as CSV: names of columns in English, numbers with a point, for programs."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(
        "district crop_ha crop_ha_low crop_ha_high crop_share crop_share_low crop_share_high "
        "mapped_ha not_mapped_ha points effective_points estimator "
        "pixel_count_ha_biased".split()
    )
    for line in lines:
        figures = (line.hectares, line.share)
        writer.writerow(
            [
                _defuse(line.name),
                *(
                    _plain(value, digits)
                    for found, digits in zip(figures, (2, 6), strict=True)
                    for value in (found.estimate, found.low, found.high)
                ),
                _plain(line.mapped_hectares, 2),
                _plain(line.unmapped_hectares, 2),
                str(line.points),
                _plain(line.effective_points, 1),
                line.estimator,
                _plain(line.pixel_hectares, 2),
            ]
        )
    return out.getvalue()


def _defuse(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


def _plain(value: float, digits: int) -> str:
    return "" if value != value else f"{value:.{digits}f}"


class _Words:
    """Texts of a page, with what they all need."""

    def __init__(self, report: Report, language: Language) -> None:
        self.report = report
        self.language = language
        source = report.origin
        region = language.find(f"regions.{report.region}", report.region_title)
        self._known = {
            "region": region,
            "year": Period.parse(source.period).span,
            "level": language.percent(report.level, 0),
            "band": source.band,
            "version": source.version,
            "meters": source.meters,
            "points": language.number(report.labels.labeled),
            "seed": source.seed,
        }

    @property
    def region(self) -> str:
        return str(self._known["region"])

    def say(self, name: str, **values: object) -> str:
        return self.language.say(name, **{**self._known, **values})

    def hectares(self, value: float, digits: int = 0) -> str:
        return self.language.number(value, digits)

    def interval(self, found: Ranged, *, as_percent: bool, between: bool = False) -> str:
        if not found.is_known:
            return self.language.say("number.none")
        digits = digits_of(found.low, found.high)
        low, high = (self.language.number(value, digits) for value in (found.low, found.high))
        if as_percent:  # one sign is enough
            low = self.language.number(100 * found.low, 1)
            high = self.language.percent(found.high)
        return self.language.say(
            f"number.{'between' if between else 'interval'}", low=low, high=high
        )

    def estimate(self, found: Ranged) -> str:
        return self.language.number(found.estimate, digits_of(found.low, found.high))


def _header(words: _Words) -> Html:
    report = words.report
    warning = (
        (tag("p", words.say("title.synthetic"), class_="warning"),) if report.is_synthetic else ()
    )
    subtitle = tag("p", words.say("title.subtitle"), class_="soft")
    return tag("header", tag("h1", words.say("title.page")), subtitle, *warning)


def _answer(words: _Words) -> Html:
    report = words.report
    found = report.hectares
    digits = digits_of(found.low, found.high)
    area = words.say(
        "answer.area",
        area=words.estimate(found),
        between=words.interval(found, as_percent=False, between=True),
    )
    share = words.say(
        "answer.share",
        share=words.language.percent(report.share.estimate),
        interval=words.interval(report.share, as_percent=True),
        total=words.hectares(report.mapped_hectares),
    )
    off = report.pixel_hectares / found.estimate - 1 if found.estimate else math.nan
    is_inside = found.low <= report.pixel_hectares <= found.high
    pixels = words.say(
        "answer.pixels",
        pixels=words.hectares(report.pixel_hectares, digits),
        difference=words.language.percent(abs(off)),
        direction=words.say(f"answer.{'below' if off < 0 else 'above'}"),
    )
    where = words.say(f"answer.{'inside' if is_inside else 'outside'}")
    return tag(
        "section",
        tag("p", area, class_="area", id="area"),
        tag("p", share),
        tag("p", f"{pixels} {where}", class_="biased", id="pixels"),
        class_="card answer",
    )


def _map(words: _Words, drawn: ReportMap) -> Html:
    keys = [
        ("class1", words.say("map.crop")),
        ("class0", words.say("map.other")),
        ("none", words.say("map.nodata")),
        *([("line", words.say("map.boundary"))] if drawn.outline is not None else []),
    ]
    return tag(
        "section",
        tag("h2", words.say("map.title")),
        draw_map(drawn, words.language, words.region),
        draw_legend(keys),
        class_="card",
        id="map",
    )


def _number(text: str, value: float | None = None, **more: object) -> Html:
    """A cell of a number; its value is what the column is sorted by."""
    data = {} if value is None or value != value else {"data_v": repr(float(value))}
    return tag("td", text, class_="n", **data, **more)


def _accuracy(words: _Words) -> Html:
    found = words.report.accuracy
    figures = {
        "overall": found.overall,
        "producers": found.producers,
        "users": found.users,
        "f1": found.f1,
    }
    rows = [
        (
            words.say(f"accuracy.{name}"),
            _number(words.language.percent(figure.estimate)),
            _number(words.interval(figure, as_percent=True)),
        )
        for name, figure in figures.items()
    ]
    heads = [words.say(f"accuracy.{name}") for name in ("figure", "estimate", "interval")]
    return tag(
        "section",
        tag("h2", words.say("accuracy.title")),
        make_table(rows, heads),
        _matrix(words),
        class_="card",
        id="accuracy",
    )


def _matrix(words: _Words) -> Html:
    found = words.report.accuracy
    names = [words.language.find(f"accuracy.{name}", name) for name in found.classes]
    rows = [
        (
            name,
            *(
                _number(f"{words.language.number(count)} ({words.language.percent(share)})")
                for count, share in zip(counts, shares, strict=True)
            ),
        )
        for name, counts, shares in zip(names, found.counts, found.area_shares, strict=True)
    ]
    table = make_table(rows, [words.say("accuracy.mapped"), *names])
    return tag("div", tag("h3", words.say("accuracy.matrix")), table)


def _land(words: _Words) -> Html:
    rows = [
        (words.say(f"land.{part.kind}"), _number(words.hectares(part.hectares)))
        for part in words.report.land
    ]
    heads = [words.say("land.kind"), words.say("land.hectares")]
    return tag(
        "section",
        tag("h2", words.say("land.title")),
        make_table(rows, heads),
        class_="card",
        id="land",
    )


_COLUMNS: Final = (
    *("name", "area", "interval", "share", "points", "effective"),
    *("estimator", "pixels", "unmapped"),
)


def _districts(words: _Words, drawn: ReportMap) -> Html:
    report = words.report
    if not report.districts:
        return Html()
    content = b64encode(b"\xef\xbb\xbf" + encode_districts(report.districts).encode()).decode()
    link = tag(
        "a",
        words.say("districts.download"),
        href=f"data:text/csv;charset=utf-8;base64,{content}",
        download=f"{report.origin.product}_{report.origin.period}_districts.csv",
        class_="button",
    )
    heads = join(
        tag("th", tag("button", words.say(f"districts.{name}"), type="button"), aria_sort="none")
        for name in _COLUMNS
    )
    body = tag("tbody", *(_district_row(words, number) for number in range(len(report.districts))))
    table = tag("table", tag("thead", tag("tr", heads)), body, class_="sortable")
    more = len(report.districts) - MOST_PRINTED
    rest = (
        (tag("p", words.say("districts.rest", count=more), class_="soft paper"),)
        if more > 0
        else ()
    )
    note = words.say("districts.note", least=report.min_cell_points, minimum=report.min_points)
    return tag(
        "section",
        tag("h2", words.say("districts.title")),
        tag(
            "div",
            tag(
                "div",
                draw_districts(drawn, report.districts, words.language),
                tag("p", words.say("districts.legend"), class_="soft"),
                district_legend(words.language),
                class_="sketch",
            ),
            tag(
                "div",
                tag(
                    "p",
                    link,
                    " ",
                    tag("span", words.say("districts.sort"), class_="soft"),
                    class_="tools",
                ),
                tag("div", table, class_="wide"),
                *rest,
                tag("p", note, class_="soft"),
            ),
            class_="two sketched",
        ),
        class_="card page",
        id="districts",
    )


def _district_row(words: _Words, number: int) -> Html:
    line = words.report.districts[number]
    found = line.hectares
    digits = digits_of(found.low, found.high) if found.is_known else 0
    area = words.estimate(found) if found.is_known else words.say("districts.too_few")
    interval = words.interval(found, as_percent=False) if found.is_known else ""
    share = words.language.percent(line.share.estimate) if found.is_known else ""
    cells = (
        tag("td", line.name),
        _number(area, found.estimate),
        _number(interval, found.low),
        _number(share, line.share.estimate),
        _number(words.language.number(line.points), line.points),
        _number(words.language.number(line.effective_points), line.effective_points)
        if found.is_known
        else _number(""),
        tag("td", words.say(_ESTIMATORS[line.estimator]) if found.is_known else ""),
        tag("td", words.hectares(line.pixel_hectares, digits), class_="n biased",
            data_v=repr(line.pixel_hectares)),
        _number(words.hectares(line.unmapped_hectares), line.unmapped_hectares),
    )  # fmt: skip
    return tag("tr", *cells, class_="more" if number >= MOST_PRINTED else None)


def _method(words: _Words) -> Html:
    return tag(
        "section",
        tag("h2", words.say("method.title")),
        tag("ol", *(tag("li", line) for line in _method_lines(words))),
        class_="card",
        id="method",
    )


def _method_lines(words: _Words) -> Iterator[str]:
    """Ten lines at most."""
    report, source, labels = words.report, words.report.origin, words.report.labels
    number = words.language.number
    yield words.say("method.map")
    yield words.say("method.frame")
    by = ", ".join(words.language.find(f"strata.{name}", name) for name in source.stratified_by)
    yield words.say("method.strata", stratified_by=by)
    allocation = words.language.find(f"allocation.{source.allocation}", source.allocation)
    yield words.say("method.draw", allocation=allocation)
    yield words.say(
        "method.labels",
        labelers=number(math.nan if labels.labelers is None else labels.labelers),
        drawn=number(labels.drawn),
        labeled=number(labels.labeled),
        unlabeled=number(labels.drawn - labels.labeled),
    )
    if labels.percent_agreed is None:
        yield words.say("method.alone")
    else:
        kappa = math.nan if labels.kappa is None else labels.kappa
        percent = words.language.percent(labels.percent_agreed / 100)
        yield words.say("method.agreement", percent=percent, kappa=number(kappa, 2))
    if report.has_plots:
        yield words.say("method.plots")
    yield words.say("method.estimator")
    yield words.say(f"method.{report.method}")
    yield words.say("method.pixels")


def _limits(words: _Words) -> Html:
    places = words.report.training_places
    leak = (
        words.say("limits.leak_unknown")
        if places is None
        else words.say("limits.leak", training=words.language.number(places))
    )
    lines = [words.say(f"limits.{name}") for name in ("labels", "missing", "scope", "pixel")]
    return tag(
        "section",
        tag("h2", words.say("limits.title")),
        tag("ul", *(tag("li", line) for line in (*lines, leak))),
        class_="card",
        id="limits",
    )


def digest_keys(run_keys: dict[str, str]) -> str:
    """SHA-256 of tiles and their run keys, sorted: equal for equal maps."""
    text = "".join(f"{tile} {key}\n" for tile, key in sorted(run_keys.items()))
    return sha256(text.encode()).hexdigest()


def _again(words: _Words, data_file: str) -> Html:
    source, labels = words.report.origin, words.report.labels
    number = words.language.number
    rows = {
        "product": f"{source.product} {source.version}, {source.period}, {source.band}, "
        f"{source.meters} m",
        "run": words.say(
            "again.run_value",
            tiles=number(len(source.run_keys)),
            digest=digest_keys(dict(source.run_keys))[:16],
        ),
        "model": ", ".join(source.models),
        "sample": words.say(
            "again.sample_value",
            points=number(labels.drawn),
            digest=source.sample_digest[:16],
        ),
        "labels": words.say("again.labels_value", digest=labels.digest[:16]),
        "software": f"cropmask {source.software}",
    }
    table = make_table(
        (words.say(f"again.{name}"), tag("td", tag("code", text))) for name, text in rows.items()
    )
    keys = "\n".join(f"{tile} {key}" for tile, key in sorted(source.run_keys.items()))
    return tag(
        "section",
        tag("h2", words.say("again.title")),
        table,
        tag("details", tag("summary", words.say("again.keys")), tag("pre", keys)),
        tag("p", words.say("again.data", file=data_file), class_="soft"),
        class_="card",
        id="again",
    )


def _credits(words: _Words) -> Html:
    report = words.report
    is_said = not report.license or report.license in report.credit
    terms = () if is_said else (tag("p", words.say("credits.terms", license=report.license)),)
    return tag(
        "section",
        tag("h2", words.say("credits.title")),
        tag("p", report.credit),
        *terms,
        class_="card",
        id="credits",
    )
