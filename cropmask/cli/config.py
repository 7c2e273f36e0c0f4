"""``cropmask config``: every setting, its value, and what says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cropmask.cli import options
from cropmask.cli.output import print_result, print_table

if TYPE_CHECKING:
    from cropmask.site.site import Setting


@click.command()
@options.place_options
@options.queue_option
@click.option("--resolution", type=options.RESOLUTION, help="Pixel size in meters.")
@options.strict_option
@options.machine_options
@options.json_option
def config(as_json: bool, **site_options: object) -> None:
    """Show every setting, its value, and what says it.

    Options go before environment variables, and these before the file of settings: the one that
    --config or CROPMASK_CONFIG names, else the nearest cropmask.toml, from the working directory
    upwards. What none of them says has a default. A setting OUTPUT is 'output = ...' in the file,
    CROPMASK_OUTPUT among the variables, and an option of the commands that have one.

    \b
    Examples:
      cropmask config
      cropmask config --env prod --output ./kenya
      cropmask config --json | jq '.[] | select(.from == "file")'
    """
    from cropmask.site.site import describe_settings

    source = click.get_current_context().get_parameter_source
    # An option that stands for a variable has its value, too.
    typed = {
        name: value
        for name, value in site_options.items()
        if name == "config" or source(name) is ParameterSource.COMMANDLINE
    }
    found = describe_settings(options=typed)
    if as_json:
        print_result(list(map(_make_document, found)), (), as_json=True)
        return
    print_table([("setting", "value", "from"), *_make_rows(found)])


def _make_rows(found: tuple[Setting, ...]) -> Iterator[tuple[str, str, str]]:
    for setting in found:
        place = setting.place or ""
        yield setting.name, setting.text or "none", f"{setting.origin} {place}".rstrip()


def _make_document(setting: Setting) -> dict[str, str | None]:
    return {
        "setting": setting.name,
        "variable": setting.variable,
        "value": setting.text,
        "from": setting.origin,
        "place": setting.place,
    }
