"""What a run would do, tile by tile, and its document: written once, sent later."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from cropmask.contract import ENVIRONMENTS
from cropmask.errors import Reason, Rejected
from cropmask.fleet.strictjson import check_fields, describe_fault, read_object
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.operate.estimate import Estimate
from cropmask.product import Product, Recipe, parse_bands
from cropmask.task import Period, choose_product
from cropmask.tile.runkey import Change, ChangeCause

PLAN_FORMAT: Final = 1
"""Format of the plan's document."""


class Need(StrEnum):
    """What a tile needs."""

    NEW = "new"
    """No result yet."""
    UNCHANGED = "unchanged"
    """The result asked for is there."""
    CHANGED = "changed"
    """Another result is there."""
    NO_INPUT = "no input"
    """No GeoMAD for the period."""
    INVALID = "invalid"
    """Inputs that are not as they must be: the task would be rejected."""
    ORPHAN = "orphan"
    """A result that is not asked for: its tile is not in the region."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """What becomes of one tile."""

    tile: Tile
    need: Need
    run_key: str | None = None
    """Of the result asked for; None where there can be none."""
    changes: tuple[Change, ...] = ()
    """Why the result that is there is another one."""
    reason: str | None = None
    """Groups tiles that cannot be computed."""
    detail: str | None = None
    """One line about it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do."""

    region: str
    """As it was asked for: a name, or the absolute path of a region file."""
    name: str
    """Name of the region."""
    version: str
    period: Period
    recipe: Recipe
    resolution: int
    environment: str
    catalog: str | None
    """None for the made-up demo world."""
    output: str
    whole_region: bool
    """Whether all tiles of the region were asked for: only then orphans are found."""
    made: str
    """UTC, RFC 3339."""
    tiles: tuple[TilePlan, ...]
    """Sorted by tile."""
    estimate: Estimate
    """Of the tiles that are new or changed."""
    strict_inputs: bool = False
    """Whether tiles with several versions of an input are refused."""
    bands: str | None = None
    """Extra bands, such as ``+spread``; None for none."""
    seamless: bool = False
    """Whether objects go across the edges of tiles."""

    @property
    def product(self) -> Product:
        """Product of the region."""
        return choose_product(Product(self.name, self.version), self.period)

    @property
    def counts(self) -> dict[Need, int]:
        """Tiles by what they need, all of :class:`Need`."""
        found = Counter(planned.need for planned in self.tiles)
        return {need: found[need] for need in Need}

    @property
    def has_work(self) -> bool:
        """Whether there is a tile to compute."""
        return any(planned.need in (Need.NEW, Need.CHANGED) for planned in self.tiles)

    def of(self, *needs: Need) -> tuple[TilePlan, ...]:
        """Tiles with one of some needs."""
        return tuple(planned for planned in self.tiles if planned.need in needs)

    def to_json(self) -> str:
        """The document."""
        document = {
            "plan": PLAN_FORMAT,
            **asdict(self),
            "period": str(self.period),
            "counts": {str(need): count for need, count in self.counts.items()},
            "tiles": [{**asdict(planned), "tile": str(planned.tile)} for planned in self.tiles],
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Plan of a document; Rejected if it is none of this format, naming the field."""
        try:
            found = read_object(text)
            if found.pop("plan", None) != PLAN_FORMAT or not isinstance(
                found.pop("counts", None), dict
            ):
                raise ValueError(f"it does not say that its format is {PLAN_FORMAT}")
            found["period"] = Period.of_task(_text(found, "period"))
            found["estimate"] = check_fields(Estimate, found["estimate"])
            found["tiles"] = tuple(map(_parse_tile, found["tiles"]))
            plan = check_fields(cls, found)
            plan._check_offered()
        except (ValueError, TypeError, KeyError, Rejected) as error:
            raise Rejected(
                f"it is no plan of this version ({describe_fault(error)}): make one anew",
                reason=Reason.BAD_PLAN,
            ) from None
        return plan

    def _check_offered(self) -> None:
        parse_bands(self.bands or "")
        if self.resolution not in RESOLUTIONS:
            raise ValueError(f"resolution: {self.resolution} m is not offered")
        if self.environment not in ENVIRONMENTS:
            raise ValueError(f"environment: there is no '{self.environment}'")


def _text(found: Mapping[str, Any], name: str) -> str:
    if not isinstance(found[name], str):
        raise TypeError(f"{name}: Input should be a valid string")
    return str(found[name])


def _parse_tile(found: Mapping[str, Any]) -> TilePlan:
    changes = tuple(
        check_fields(Change, {**change, "cause": ChangeCause(change["cause"])})
        for change in found["changes"]
    )
    tile, need = Tile.parse(_text(found, "tile")), Need(found["need"])
    return check_fields(TilePlan, {**found, "tile": tile, "need": need, "changes": changes})
