"""Make the picture of a report: of a made-up run of twelve tiles, sampled and labeled.

Run ``.venv/bin/python docs/make_report_figure.py``; it needs Chromium.
"""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from cropmask.assess.samplefiles import load_sample
from cropmask.cli.area import report
from cropmask.cli.sample import sample
from cropmask.grid import Tile
from tests.assessed import AssessedRun, make_run, truth_of
from tests.browser import browse

FIGURE: Final = Path(__file__).parent / "figures" / "report.png"
SIZE: Final = (1280, 1000)


def main() -> None:
    """Draw it."""
    with TemporaryDirectory(prefix="cropmask-") as temporary:
        folder = Path(temporary)
        run = make_run(folder / "run")
        points, labels, page = (folder / name for name in ("s.geojson", "l.csv", "report.html"))
        type_words(run, sample, "--points", "400", "--allocation", "equal", "--out", points)
        drawn = load_sample(points)
        with labels.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("id", "class"))
            for name, tile, row, column in zip(
                drawn.id, drawn.tile, drawn.row, drawn.column, strict=True
            ):
                is_crop = truth_of(Tile.parse(tile))[row, column]
                rows.writerow((name, "crop" if is_crop else "other-land"))
        districts = run.district_file(folder, "eastern")
        given = ("--sample", points, "--labels", labels, "--other-values", "other-land")
        type_words(run, report, *given, "--districts", districts, "--out", page)
        browse(page.as_uri(), FIGURE, size=SIZE)
    click.echo(f"wrote {FIGURE}")


def type_words(run: AssessedRun, command: click.Command, *words: str | Path) -> None:
    """Run a command on the eastern tiles."""
    given = ["--region", "eastern", *map(str, words), *run.arguments]
    command.main(given, standalone_mode=False)


if __name__ == "__main__":
    main()
