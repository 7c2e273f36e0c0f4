"""Options that several commands share, the kinds of their values, and files that users name."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from cropmask.cli.console import (
    CONFIG,
    LOG_FORMATS,
    Command,
    context_config,
    make_config_option,
)
from cropmask.contract import ENV_LOG_FORMAT, ENV_MODELS, ENVIRONMENTS
from cropmask.errors import CropmaskError, Misconfigured, Reason, Rejected
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.product import (
    ALL_BANDS,
    EXTRA_BANDS,
    FAMILY,
    RECIPES,
    SERIES_BANDS,
    SERIES_FAMILY,
    Band,
    Recipe,
    format_bands,
    list_bands,
    parse_bands,
)
from cropmask.site.variables import check_variables
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.site.site import Site


class _Number(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions
    """A finite number within bounds; what is wrong with another is said in one line."""

    name = "number"
    kind = "number"

    def convert(
        self,
        value: Any,  # noqa: ANN401 (as click has it)
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Parse a number."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"'{value}' is no {self.kind} {_describe_bounds(self)}", param, ctx)
        return number


class WholeNumber(_Number, click.IntRange):
    """A whole number within bounds."""

    kind = "whole number"


class FiniteNumber(_Number, click.FloatRange):
    """A finite number within bounds."""


class Seconds(FiniteNumber):
    """A number of seconds."""

    name = "seconds"


def _describe_bounds(bounds: Any) -> str:  # noqa: ANN401 (an IntRange or FloatRange)
    least, most, is_open = bounds.min, bounds.max, bounds.min_open
    if least is None:
        return "" if most is None else f"up to {most:,}"
    if most is None:
        return f"{'above' if is_open else 'of at least'} {least:,}"
    return f"{'above' if is_open else 'from'} {least:,} to {most:,}"


def read_tiles(text: str) -> list[Tile]:
    """Tiles of ``--tiles``: named on the command line, or in a file with one on each line."""
    try:
        # The path of nothing is this folder.
        content = sys.stdin.read() if text == "-" else text and Path(text).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        content = text
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{text} cannot be read as a list of tiles: {error}") from None
    names = [name for name in re.split(r"[\s,;]+", content) if name]
    if not names:
        raise Rejected(f"'{text}' names no tile: write it like x215y075", reason=Reason.BAD_TILE)
    return [Tile.parse(name) for name in names]


def read_model_name(text: str) -> Recipe | Path:
    """Recipe of a model of the region, or path of a model file."""
    for recipe in RECIPES:
        if text == recipe:
            return recipe
    path = Path(text)
    if not path.suffix and not path.is_file():
        raise click.BadParameter(f"'{text}' is neither {' nor '.join(RECIPES)} nor a model file")
    return path


Suggest = Callable[[click.Context, str], Iterable[str]]
"""From what was typed so far to words that may be meant."""


class _Parsed(click.types.FuncParamType):  # type: ignore[type-arg]  # not generic in older versions
    """A value that a function parses; what it refuses is wrong with the command line."""

    def __init__(
        self,
        name: str,
        parse: Callable[[str], object],
        suggest: Suggest | None,
        path_kind: str | None,
    ) -> None:
        super().__init__(parse)
        self.name = name
        self._suggest = suggest
        self._path_kind = path_kind

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Words that the shell offers; none where anything is wrong."""
        try:
            known = self._suggest(ctx, incomplete) if self._suggest else ()
            words = [word for word in known if word.startswith(incomplete)]
        except Exception:  # noqa: BLE001 (no traceback into a line that somebody types)
            words = []
        if not words and self._path_kind is not None:
            return [CompletionItem(incomplete, type=self._path_kind)]
        return [CompletionItem(word) for word in words]

    def convert(
        self,
        value: Any,  # noqa: ANN401 (as click has it)
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Parse a text."""
        try:
            return super().convert(value, param, ctx)
        except Rejected as error:
            self.fail(str(error), param, ctx)


def parsed(
    name: str,
    parse: Callable[[str], object] = str,
    suggest: Suggest | None = None,
    path_kind: str | None = None,
) -> _Parsed:
    """Kind of a value that help shows by a name, such as ``FILE``, and that a function parses.

    ``suggest`` says which words a shell offers, ``path_kind`` what it completes where none is
    meant: a ``file``, a ``dir``, or nothing.
    """
    return _Parsed(name, parse, suggest, path_kind)


def _parse_degrees(text: str, number: int, example: str) -> tuple[float, ...]:
    """Longitudes and latitudes by turns, of ``36.8,-1.3`` or ``36,-2,37,-1``."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    edges = (180, 90) * 2
    # NaN is not within them either.
    if len(values) != number or not all(-e <= v <= e for v, e in zip(values, edges, strict=False)):
        raise Rejected(
            f"'{text}' is not a place in degrees: write it like {example}", reason=Reason.BAD_VALUE
        )
    return values


def split_names(text: str | None) -> tuple[str, ...]:
    """Words with commas between them; none of nothing."""
    return tuple(word for word in map(str.strip, (text or "").split(",")) if word)


def parse_place(text: str) -> tuple[float, float]:
    """Longitude and latitude of ``36.82,-1.29``."""
    longitude, latitude = _parse_degrees(text, 2, "36.82,-1.29")
    return longitude, latitude


def _parse_box(text: str) -> tuple[float, ...]:
    west, south, east, north = box = _parse_degrees(text, 4, "36.6,-1.5,37.1,-1.1")
    if not (west < east and south < north):
        raise Rejected(
            f"'{text}' is empty: give west, south, east and north, in this order",
            reason=Reason.BAD_VALUE,
        )
    return box


_FIRST_YEAR: Final = 2017
"""Of Sentinel-2 GeoMAD."""


def _suggest_regions(context: click.Context, _typed: str) -> Iterable[str]:
    from cropmask.region.region import region_names

    return region_names(_typed_models(context))


def _typed_models(context: click.Context) -> Path | None:
    """Folder of regions of a command line that is not finished."""
    given = context.params.get("models") or context_config(context).texts.get(ENV_MODELS)
    return Path(given) if given else None


def _suggest_tiles(context: click.Context, _typed: str) -> Iterable[str]:
    """Tiles of the region that was typed before."""
    region = context.params.get("region")
    if not region:
        return ()
    from cropmask.grid import tiles_within
    from cropmask.region.region import load_region
    from cropmask.sources.boundary import load_boundary

    boundary = load_region(region, _typed_models(context)).boundary
    return map(str, tiles_within(load_boundary(boundary)))


def _suggest_more_tiles(context: click.Context, typed: str) -> Iterable[str]:
    """Further tiles after those that were typed, with commas between."""
    before = typed.rpartition(",")[0]
    known = before.split(",")
    more = (tile for tile in _suggest_tiles(context, typed) if tile not in known)
    return (f"{before},{tile}" for tile in more) if before else more


def _suggest_years(_context: click.Context, _typed: str) -> Iterable[str]:
    return map(str, range(_FIRST_YEAR, date.today().year))


def _read_bands(text: str) -> str:
    """Extra bands as a site takes them."""
    try:
        return format_bands(parse_bands(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _suggest_bands(_context: click.Context, typed: str) -> Iterable[str]:
    """Further bands after those that were typed, with commas between."""
    before = typed.rpartition(",")[0]
    known = before.split(",") if before else []
    more = [f"+{band.name}" for band in EXTRA_BANDS if f"+{band.name}" not in known]
    return (",".join([*known, word]) for word in more)


def _read_percents(text: str) -> tuple[int, ...]:
    """Growing percentages, such as 20,50,80."""
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or list(found) != sorted({*found}) or not 0 < found[0] <= found[-1] <= 100:
        raise click.BadParameter(f"'{text}' is no list of growing percentages, such as 20,50,80")
    return found


def _read_shares(text: str) -> tuple[float, float]:
    """Two shares, such as 0.8,0.05."""
    try:
        one, other = (float(word) for word in text.split(","))
    except ValueError:
        one = other = -1.0
    if not (0 <= one <= 1 and 0 <= other <= 1):
        raise click.BadParameter(f"'{text}' is no pair of shares, such as 0.8,0.05")
    return one, other


def _read_bounds(text: str) -> tuple[float, float]:
    """Lowest and highest percentage, such as 5,60."""
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        low = high = -1.0
    if not 0 <= low <= high <= 100:
        raise click.BadParameter(f"'{text}' is no pair of growing percentages, such as 5,60")
    return low, high


BOUNDS: Final = parsed("low,high", _read_bounds)
PERCENTS: Final = parsed("percents", _read_percents)
SHARES: Final = parsed("shares", _read_shares)
NAME: Final = parsed("name")
RUN: Final = parsed("run")
PLACE: Final = parsed("place", path_kind="file")
SIZE: Final = parsed("size")
REGION: Final = parsed("name_or_path", str, _suggest_regions, "file")
FILE: Final = parsed("file", Path, path_kind="file")
FOLDER: Final = parsed("folder", Path, path_kind="dir")
PLACE_ON_EARTH: Final = parsed("lon,lat", parse_place)
BOX: Final = parsed("west,south,east,north", _parse_box)
TILE: Final = parsed("tile", Tile.parse, _suggest_tiles)
TILES: Final = parsed("tiles", read_tiles, _suggest_more_tiles, "file")
PERIOD: Final = parsed("period", Period.year_of, _suggest_years)
PERIOD_HELP: Final = (
    "Year of the map, such as 2019--P1Y or 2019; or its season from July to June, 2020-07--P1Y."
)
TASK_PERIOD: Final = parsed("period", Period.of_task, _suggest_years)
"""Also one of several years: of a series."""
YEARS: Final = parsed("first-last", Period.of_span)
SERIES_YEARS: Final = parsed("first-last", lambda text: Period.of_span(text).check_series())
TASK_PERIOD_HELP: Final = (
    f"{PERIOD_HELP} Several years, such as 2019--P6Y, or seasons, 2019-07--P6Y, are a series."
)
RESOLUTION: Final = click.Choice(RESOLUTIONS)
RECIPE: Final = click.Choice(RECIPES)
BAND: Final = click.Choice([band.name for band in (*ALL_BANDS, *SERIES_BANDS)])
BANDS: Final = parsed("bands", _read_bands, _suggest_bands)
MODEL: Final = parsed("recipe_or_file", read_model_name, lambda _context, _typed: RECIPES, "file")


def check_bands(bands: Iterable[Band], period: Period) -> None:
    """Raise UsageError if results of a period have no such band."""
    known = list_bands(SERIES_FAMILY if period.is_series else FAMILY)
    for band in bands:
        if band not in known:
            which = "the series of" if period.is_series else "the map of"
            names = ", ".join(each.name for each in known)
            raise click.UsageError(f"{which} {period} has no band '{band.name}': choose of {names}")


class SettingOption(click.Option):
    """An option of a setting: where neither it nor its variable is given, the file may say it."""

    def consume_value(
        self,
        ctx: click.Context,
        opts: Mapping[str, Any],
    ) -> tuple[Any, ParameterSource]:
        """Value and where it is from: line, variable, file or default."""
        value, source = super().consume_value(ctx, opts)
        if source is not ParameterSource.DEFAULT:
            return value, source
        try:
            said = context_config(ctx).texts.get(str(self.envvar))
        except CropmaskError:
            if not ctx.resilient_parsing:  # as it is where a shell completes a line
                raise
            said = None
        return (said, ParameterSource.DEFAULT_MAP) if said else (value, source)


def given_config() -> Path | None:
    """What ``--config`` names, for a command that does not take it as a parameter."""
    found: Path | None = click.get_current_context().meta.get(CONFIG)
    return found


config_option = make_config_option(expose_value=True)
"""For ``open_site``, which takes its value by name."""
plain_config_option = make_config_option(expose_value=False)
"""For commands that ask for :func:`given_config`, or need it for other options only."""


def combine(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in the order given."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


region_option = click.option(
    "--region",
    required=True,
    type=REGION,
    help="Region, such as eastern, or the path of a region.toml of your own. 'cropmask models "
    "list' shows the regions.",
)
period_option = click.option("--period", default="2019--P1Y", type=PERIOD, help=PERIOD_HELP)
task_period_option = click.option(
    "--period", default="2019--P1Y", type=TASK_PERIOD, help=TASK_PERIOD_HELP
)


def _check_variables(
    _context: click.Context, _option: click.Parameter, value: Path | None
) -> Path | None:
    """Refuse misspelled environment variables, also where no site is opened."""
    check_variables(os.environ)
    return value


_models_option = click.option(
    "--models",
    cls=SettingOption,
    type=FOLDER,
    callback=_check_variables,
    envvar=ENV_MODELS,
    show_envvar=True,
    help="Folder of regions to look in, in place of the ones that come with cropmask.",
)
env_option = click.option(
    "--env",
    type=click.Choice(ENVIRONMENTS),
    help="local: the made-up demo world. dev, prod: Digital Earth Africa's public data; name a "
    "place for the output.  [default: local]",
)
catalog_option = click.option(
    "--catalog",
    type=PLACE,
    help="Where the GeoMAD items are: a STAC API, a static catalog or a folder of items, as a "
    "path, http(s):// or s3://.  [default: the demo world with local, else Digital Earth Africa]",
)
output_option = click.option(
    "--output",
    type=PLACE,
    help="Folder or s3:// prefix of results.  [default: ./output with local]",
)
models_option = combine(_models_option, plain_config_option)
"""Where regions are, for a command that opens no site."""
place_options = combine(env_option, catalog_option, output_option, _models_option, config_option)
"""Where things are; ``open_site`` takes their values by name."""
source_options = combine(env_option, catalog_option, _models_option, config_option)
"""The same of a command that reads inputs and writes no results."""
strict_option = click.option(
    "--strict-inputs/--no-strict-inputs",
    default=None,
    help="Refuse a tile that has several versions of GeoMAD or of a layer, instead of using the "
    "newest with a warning.  [default: use the newest]",
)
queue_option = click.option(
    "--queue",
    type=PLACE,
    help="Queue of tasks: URL of an SQS queue, or a folder.  [default: _queue in the folder of "
    "the output]",
)

resolution_option = click.option(
    "--resolution",
    type=RESOLUTION,
    help="Pixel size in meters. 10 is the product; the others are quick looks.  [default: 60 for "
    "the demo world and with dev, else 10]",
)
bands_option = click.option(
    "--bands",
    type=BANDS,
    help="Extra bands beside mask, prob and filtered: any of +calibrated,+spread,+dissimilarity.  "
    "[default: none]",
)
_MODEL_HELP: Final = (
    "forest is the published method; boosted is smaller and faster, see its card ('cropmask models "
    "show REGION')"
)
seamless_option = click.option(
    "--seamless/--per-tile",
    default=None,
    help="Objects across the edges of tiles: with the colors that 'cropmask colors fit' has made "
    "for the region and year, and a margin of neighbors' pixels.  [default: --per-tile, as "
    "published]",
)
model_option = click.option("--model", type=RECIPE, default="forest", help=f"{_MODEL_HELP}.")
task_options = combine(
    task_period_option, model_option, resolution_option, bands_option, seamless_option
)
"""What to map, and how."""
tile_options = combine(
    period_option,
    click.option(
        "--model",
        type=MODEL,
        default="forest",
        help=f"{_MODEL_HELP}; or a model file of your own, as 'cropmask models import' makes it.",
    ),
    resolution_option,
    bands_option,
    seamless_option,
)
"""What to map of one tile, and how."""
tiles_option = click.option(
    "--tiles",
    type=TILES,
    help="Only these: names such as x215y075,x216y075, or a file with one on each line ('-': "
    "standard input), as 'cropmask tiles' prints them.",
)
aoi_option = click.option(
    "--aoi", type=FILE, help="GeoJSON of polygons: only tiles that these reach as well."
)
boundary_option = click.option(
    "--boundary", type=FILE, help="GeoJSON of polygons to use in place of the region's boundary."
)

limit_options = combine(
    click.option(
        "--max-cost",
        metavar="USD",
        type=FiniteNumber(0, min_open=True),
        help="Dollars that the run may cost: no task of it is done once it has cost more.  "
        "[default: any]",
    ),
    click.option(
        "--max-tiles",
        type=WholeNumber(1),
        help="Tiles that the run may compute.  [default: any]",
    ),
)
"""What a run may need."""


def switch(name: str, help: str) -> Callable[[Command], Command]:  # noqa: A002 (click's word)
    """A flag that may also be given a value, ``--index=false``, by whoever writes no shell."""
    return click.option(
        name, type=click.BOOL, is_flag=False, flag_value=True, default=False, help=help
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be done, and do nothing."
)
log_format_option = click.option(
    "--log-format",
    cls=SettingOption,
    is_eager=True,  # known before anything else is found wrong
    type=click.Choice(LOG_FORMATS),
    envvar=ENV_LOG_FORMAT,
    default="auto",
    help="text with a progress bar, or JSON lines; auto is JSON where there is no terminal.",
)
machine_options = combine(
    click.option(
        "--threads", type=WholeNumber(1, 256), help="[default: CPUs that the container may use]"
    ),
    click.option(
        "--memory",
        type=SIZE,
        help="To stay below, such as 4GB.  [default: the container's limit, else none]",
    ),
)
"""What of the machine may be used."""


def find_typed(names: Iterable[str]) -> list[str]:
    """Those of some parameters that stand on the command line, as options are written there."""
    context = click.get_current_context()
    source = context.get_parameter_source
    wanted = [
        parameter
        for parameter in context.command.params
        if parameter.name in names and source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    return ["/".join([*found.opts, *found.secondary_opts]) for found in wanted]


def refuse_with_series(period: Period) -> None:
    """Raise UsageError if an option says how a year is to be mapped, and a series is asked for."""
    typed = find_typed(("model", "bands", "seamless", "strict_inputs"))
    if period.is_series and typed:
        raise click.UsageError(
            f"{typed[0]} says how a year is mapped, and {period} is a series, which is made of "
            "maps that are there: leave it out, or name one year"
        )


def pick_limits(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of :data:`limit_options` that were given."""
    return {name: given[name] for name in ("max_cost", "max_tiles") if given[name] is not None}


def open_site(given: Mapping[str, object]) -> Site:
    """Site of options that say where things are; it loads what commands do without for long."""
    from cropmask.site import site

    return site.open_site(options=given)


def pick_site_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options that say where things are, and how they are reached."""
    from cropmask.site.site import SITE_OPTIONS

    return {name: value for name, value in given.items() if name in SITE_OPTIONS}
