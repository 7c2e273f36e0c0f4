"""The demo world as the inputs of measured processes; made here, before the clock runs."""

from __future__ import annotations

from benchmarks.measure import Result
from cropmask.site.site import open_site
from cropmask.testing.world.demoworld import (
    DEMO_PERIOD,
    DEMO_TILE,
    EDITION,
    ensure_world,
    is_complete,
)


def find_resolution(wanted: int | None, *, quick: bool = False) -> int:
    """Pixel size of the demo world to use: the wanted one, else 10 m unless that takes too long."""
    if wanted is not None:
        return wanted
    ready = is_complete(open_site().cache / EDITION / "10m")
    return 60 if quick and not ready else 10


def ensure_inputs(resolution: int) -> Result:
    """Make the demo world if it is not there; what a request says of it."""
    world = ensure_world(open_site().cache, resolution)
    return {
        "catalog": str(world.catalog),
        "ancillary": world.ancillary.model_dump(mode="json"),
        "boundary": str(world.boundary),
        "tile": str(DEMO_TILE),
        "year": str(DEMO_PERIOD),
        "resolution": resolution,
    }
