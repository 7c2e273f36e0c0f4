"""Make the picture of a run's page: a made-up run over the real tiles of Eastern Africa.

Run ``.venv/bin/python docs/make_status_figure.py``; it needs Chromium.
"""

from __future__ import annotations

import math
import random
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cropmask.fleet.records import AttemptRecord, State
from cropmask.grid import tiles_within
from cropmask.operate.findrun import load_run_status
from cropmask.operate.statuspage import Surroundings, make_status_page
from cropmask.queue.protocol import Counts
from cropmask.region.region import load_region
from cropmask.site.price import Price
from cropmask.sources.boundary import load_boundary
from cropmask.testing.store import MemoryStore
from tests.browser import browse
from tests.runs import START, make_attempt, make_run, put_records

FIGURE: Final = Path(__file__).parent / "figures" / "status.png"
BEGUN: Final = 262
WORKERS: Final = 6
TROUBLES: Final = {
    State.FAILED: ("unreachable", "s3://my-bucket: the server answers 503 SlowDown: run again"),
    State.INVALID: ("missing geomad", "no GeoMAD item for 2019-07--P6M"),
}


def main() -> None:
    """Draw it."""
    outline = load_boundary(load_region("eastern").boundary)
    tiles = tiles_within(outline)
    record = make_run(tiles[14:], unchanged=14)
    chance = random.Random(4)  # noqa: S311 (a picture)
    # From the south, in waves, so that neighbors are not all of one state.
    order = sorted(tiles[14:], key=lambda tile: tile.y + 3 * math.sin(tile.x))
    attempts: list[AttemptRecord] = []
    for number, tile in enumerate(order[:BEGUN]):
        state = chance.choices(
            (State.SUCCEEDED, State.SKIPPED, State.FAILED, State.INVALID), (300, 25, 8, 6)
        )[0]
        if number >= BEGUN - WORKERS or number == 7:
            state = State.PROCESSING
        reason, error = TROUBLES.get(state, (None, None))
        attempts.append(
            make_attempt(
                record, tile, state, number * 0.42, number, threads=2, reason=reason, error=error,
                lease_seconds=300.0, host="cropmask-worker-7",
                seconds=2.0 if state is State.SKIPPED else chance.uniform(110, 190),
            )
        )  # fmt: skip
    store, now = MemoryStore(), START + timedelta(minutes=0.42 * BEGUN + 1)
    put_records(store, record, attempts)
    queue = Counts(len(order) - BEGUN, WORKERS, 4, 6)
    standing = load_run_status(store, record, now)
    around = Surroundings(Price(), queue, outline, tiles)
    with TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(make_status_page(standing, around), encoding="utf-8")
        browse(page.as_uri(), FIGURE, size=(1180, 1500))


if __name__ == "__main__":
    main()
