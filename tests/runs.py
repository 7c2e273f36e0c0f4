"""Made-up runs for tests: their documents, as submitting and workers leave them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cropmask.fleet.recordfiles import put_attempt, put_run
from cropmask.fleet.records import AttemptRecord, RunRecord, State
from cropmask.grid import Tile
from cropmask.store.protocol import Store

PRODUCT = "crop_mask_eastern"
PERIOD = "2019--P1Y"
START = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


def make_run(tiles: Sequence[Tile], run: str = "20260102t030000-00aa", **more: Any) -> RunRecord:
    words = {
        "region": "eastern",
        "product": PRODUCT,
        "period": PERIOD,
        "submitted": "2026-01-02T03:00:00Z",
        "recipe": "forest",
        "resolution": 100,
        "overwrite": False,
        "sent": len(tiles),
    }
    return RunRecord(run, tiles=tuple(map(str, tiles)), **{**words, **more})


def make_attempt(
    record: RunRecord, tile: Tile, state: State, minutes: float = 0, number: int = 1, **more: Any
) -> AttemptRecord:
    """An attempt that began so many minutes after :data:`START`."""
    return AttemptRecord(
        tile=str(tile),
        region=record.region,
        period=record.period,
        product=record.product,
        run=record.run,
        attempt=f"{number:08x}",
        state=state,
        started=(START + timedelta(minutes=minutes)).isoformat(),
        **more,
    )


def put_records(store: Store, record: RunRecord, attempts: Sequence[AttemptRecord] = ()) -> None:
    put_run(store, record)
    for attempt in attempts:
        put_attempt(store, attempt)
