"""The run key part by part, so that it can be said why a result is not the one asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Self

from cropmask.product import NO_EXTRA, format_bands
from cropmask.task import RunKey

SHORT: Final = 16
"""Digits of a part's digest that an item keeps: enough to tell parts apart."""


OWN_COLORS: Final = "of the tile alone"
"""The colors of a tile that shares none, in words."""


class ChangeCause(StrEnum):
    """Why a result is another one than asked for, as operators group it."""

    MODEL = "model"
    CONFIGURATION = "configuration"
    INPUTS = "inputs"
    SOFTWARE = "software"
    OTHER = "other"
    """The item does not tell."""


CAUSE_OF_PART: Final[Mapping[str, ChangeCause]] = {
    "model": ChangeCause.MODEL,
    "region": ChangeCause.CONFIGURATION,
    "limits": ChangeCause.CONFIGURATION,
    "boundary": ChangeCause.CONFIGURATION,
    "resolution": ChangeCause.CONFIGURATION,
    "bands": ChangeCause.CONFIGURATION,
    "colors": ChangeCause.CONFIGURATION,
    "neighbors": ChangeCause.INPUTS,
    "geomad": ChangeCause.INPUTS,
    "ancillary": ChangeCause.INPUTS,
    "years": ChangeCause.INPUTS,
    "features": ChangeCause.SOFTWARE,
    "code": ChangeCause.SOFTWARE,
}
"""ChangeCause by part."""


@dataclass(frozen=True, slots=True)
class RunKeyParts:
    """Digests of everything that the pixels of a result depend on, 64 hexadecimal digits each.

    A part that is None is no part of the key.
    """

    @classmethod
    def of(cls, **values: Any) -> Self:  # noqa: ANN401 (any JSON value)
        """Parts of JSON values by their names: all of them, in any order.

        Raises TypeError if a part is missing, or there is no such part.
        """
        return cls(**{name: digest_json(value) for name, value in values.items()})

    @property
    def key(self) -> RunKey:
        """The run key: a hash of all parts."""
        return RunKey.of(**self._digests)

    @property
    def _digests(self) -> dict[str, str]:
        return {name: digest for name, digest in asdict(self).items() if digest is not None}

    @property
    def short(self) -> dict[str, str]:
        """First digits of every part, as an item keeps them."""
        return {name: digest[:SHORT] for name, digest in self._digests.items()}

    def differing(self, known: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the parts that are not as an item keeps them, in the order of the fields."""
        short = self.short
        return tuple(f.name for f in fields(self) if known.get(f.name) != short.get(f.name))


@dataclass(frozen=True, slots=True)
class SeriesParts(RunKeyParts):
    """Parts of a series."""

    model: str
    """How years are smoothed."""
    region: str
    """Name and version of the region."""
    resolution: str
    years: str
    """Run keys of the maps of all years; None of a year without one."""
    code: str
    """Version of the package."""


@dataclass(frozen=True, slots=True)
class KeyParts(RunKeyParts):
    """Parts of a map."""

    model: str
    """The model file."""
    region: str
    """Name and version of the region."""
    limits: str
    boundary: str
    """The region's polygons."""
    resolution: str
    geomad: str
    """Ids of the two items and identities of their rasters."""
    ancillary: str
    """Identities of the layers beside GeoMAD."""
    features: str
    """Names and order of the published features; which ones a model takes its file says."""
    code: str
    """Version of the package."""
    bands: str | None = None
    """Names of extra bands and how they are made; None, and no part of the key, without any."""
    colors: str | None = None
    """Colors that tiles share and the margin around them; None, and no part of the key, for a tile
    by itself."""
    neighbors: str | None = None
    """Identities of the neighbors' inputs; None likewise."""


def digest_json(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """SHA-256 of a JSON value, 64 hexadecimal digits; the order of names does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One way in which a result is not the one asked for."""

    cause: ChangeCause
    part: str
    """Field of :class:`KeyParts`; ``run_key`` if the item does not tell; ``item`` if it is none."""
    old: str | None = None
    """What the result was made with, if the item says it in words."""
    new: str | None = None

    def __str__(self) -> str:
        words = {
            "code": "software",
            "geomad": "GeoMAD",
            "ancillary": "layers beside GeoMAD",
            "bands": "choice of extra bands",
            "colors": "colors of objects",
            "neighbors": "GeoMAD of neighbors",
            "years": "maps of years",
        }
        name = words.get(self.part, self.part)
        if self.part == "item":
            return "an item that is not ours"
        if self.part == "run_key":
            return "another run key, and its item does not tell why"
        return f"another {name} ({self.old}, now {self.new})" if self.old else f"other {name}"


def list_changes(
    properties: Mapping[str, Any], parts: RunKeyParts, words: Mapping[str, str]
) -> tuple[Change, ...]:
    """Why a result is not the one asked for now; empty if it is, since run keys are equal."""
    if properties.get("cropmask:run_key") == str(parts.key):
        return ()
    old, kept = (
        {"bands": NO_EXTRA, "colors": OWN_COLORS, **item_words(properties)},
        properties.get("cropmask:run_key_parts"),
    )
    if isinstance(kept, dict):
        names = parts.differing(kept)
    else:
        names = tuple(name for name in words if old.get(name) != words[name])
    changes = tuple(
        Change(CAUSE_OF_PART[name], name, old.get(name), words.get(name)) for name in names
    )
    return changes or (Change(ChangeCause.OTHER, "run_key"),)


def item_words(properties: Mapping[str, Any]) -> dict[str, str]:
    """Parts that the properties of an item say in words."""
    model = properties.get("cropmask:model")
    found = {
        "model": model_words(model.get("recipe"), model.get("sha256"))
        if isinstance(model, dict)
        else None,
        "resolution": properties.get("cropmask:resolution"),
        "region": properties.get("odc:dataset_version"),
        "code": properties.get("processing:version"),
        "bands": bands_words(properties.get("cropmask:bands")),
        "colors": _find_colors(properties.get("cropmask:seamless")),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def bands_words(names: object) -> str | None:
    """Extra bands in words; None if it is no list of names."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    return format_bands(names)


def colors_words(digest: object) -> str:
    """Shared colors in words: the first digits of their digest."""
    return f"shared {str(digest)[:12]}"


def _find_colors(said: object) -> str | None:
    """Shared colors in words, of what an item says of its seams; None if it says nothing."""
    return colors_words(said["colors"]) if isinstance(said, dict) and "colors" in said else None


def model_words(recipe: object, digest: object) -> str:
    """A model in words: recipe and the first digits of its file's digest."""
    return f"{recipe} {str(digest)[:12]}"
