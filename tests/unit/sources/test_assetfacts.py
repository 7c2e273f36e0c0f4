"""What items say of their assets: every spelling, at every place, in STAC 1.0 and 1.1."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.core.scaling import KEPT, UNDECLARED, Declared, Scaling
from cropmask.errors import Rejected
from cropmask.sources.assetfacts import BAND_LISTS, FACT_RULES, Statements
from cropmask.sources.bands import ALIASES, find_asset
from cropmask.sources.matching import StacFile
from tests.conftest import REPOSITORY

BLUE = KEPT["blue"]
PLACES = ("in_band", "in_asset", "shared", "in_item")
"""Where a fact may stand, the nearest first."""
SILENT = st.sampled_from([None, "", "none", "null", "None", " NULL "])
NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**6), 10**6)


def spell_number(number: float) -> st.SearchStrategy[object]:
    """Every way in which a number is written in JSON."""
    texts = [repr(float(number)), f" {number!r} "]
    if math.isnan(number):
        return st.sampled_from([number, "nan", "NaN", "NAN"])
    if math.isinf(number):
        sign = "-" if number < 0 else ""
        words = [f"{sign}{word}" for word in ("inf", "Inf", "INF", "infinity", "Infinity")]
        return st.sampled_from([number, *words])
    if float(number).is_integer() and abs(number) < 2**53:
        texts += [str(int(number)), f"{int(number)}.0"]
        return st.sampled_from([number, int(number), *texts])
    return st.sampled_from([number, *texts])


SPELLERS = {
    "data type": (
        st.sampled_from(["uint16", "float32"]),
        lambda name: st.sampled_from(
            [name, name.upper(), name.title(), {"uint16": "u2", "float32": "<f4"}[name]]
        ),
    ),
    "nodata": (NUMBERS, spell_number),
    "scale": (st.sampled_from([1e-4, 2.75e-5, 0.01]), spell_number),
    "offset": (st.sampled_from([-0.1, -0.2, 0.0]), spell_number),
}


@st.composite
def stated(draw: st.DrawFn, fact: str) -> tuple[StacFile, object]:
    """An item that says a fact of its asset ``x`` in some places, and what it is."""
    values, spell = SPELLERS[fact]
    rule = FACT_RULES[fact]
    asset: dict[str, Any] = {"href": "x.tif"}
    properties: dict[str, Any] = {}
    name = draw(st.sampled_from(["B02", "Band 1"]))
    meant = None
    for place in PLACES:
        fields = {"shared": rule.in_band}.get(place) or getattr(rule, place)
        said = draw(st.lists(st.sampled_from(fields), max_size=2, unique=True))
        value = draw(values)
        if said and meant is None:
            meant = value
        written = {field: draw(spell(value)) for field in said}
        written.update({field: draw(SILENT) for field in fields if field not in said})
        if place == "in_asset":
            asset.update(written)
        elif place == "in_item":
            properties.update(written)
        elif place == "in_band":
            for field, text in written.items():
                bands = asset.setdefault(draw(st.sampled_from(BAND_LISTS)), [{}])
                bands[0][field] = text
            asset.setdefault("bands", [{}])[0]["name"] = name
        else:
            entry = {"name": draw(st.sampled_from([name, "x"])), **written}
            other = {"name": "another", **{field: draw(spell(draw(values))) for field in fields}}
            properties[draw(st.sampled_from(["bands", "eo:bands"]))] = [other, entry]
    item = {"type": "Feature", "id": "i", "properties": properties, "assets": {"x": asset}}
    return StacFile(item, "/i.json"), meant


def same(one: object, other: object) -> bool:
    return str(one) == str(other) or one == other


@given(stated("data type"))
def test_data_types(case: tuple[StacFile, object]) -> None:
    item, meant = case
    assert Statements.of(item, "x").data_type("usual") == (meant or "usual")


@given(stated("nodata"))
def test_nodata(case: tuple[StacFile, Any]) -> None:
    item, meant = case
    found = Statements.of(item, "x").declared(BLUE).nodata
    assert same(found, None if meant is None else float(meant))


@given(stated("scale"), st.sampled_from([0, -0.1, None]))
def test_scales(case: tuple[StacFile, Any], offset: float | None) -> None:
    item, meant = case
    item.content["assets"]["x"]["offset"] = offset if meant == 1e-4 else None
    wanted = Scaling(1.0 if meant is None else meant, (meant == 1e-4 and offset) or 0.0)
    assert Statements.of(item, "x").declared(BLUE).scaling == wanted


@given(stated("offset"))
def test_offsets(case: tuple[StacFile, Any]) -> None:
    item, meant = case
    item.content["properties"]["raster:scale"] = 1e-4
    assert Statements.of(item, "x").declared(BLUE).scaling == Scaling(1e-4, meant or 0.0)


def asset_of(**fields: Any) -> Statements:
    item = {"id": "i", "assets": {"x": {name.replace("__", ":"): v for name, v in fields.items()}}}
    return Statements.of(StacFile(item, "/i.json"), "x")


def test_nothing_said() -> None:
    assert asset_of().declared(BLUE) == UNDECLARED
    assert asset_of(bands="red", raster__bands=None, eo__bands=[3, None]).declared(BLUE) == (
        UNDECLARED
    )
    assert asset_of(raster__bands=[{}], nodata=0).declared(BLUE) == Declared(0.0)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"raster__bands": [{"nodata": 0}], "bands": [{"nodata": 1}]}, "nodata 0.0 and 1.0"),
        ({"bands": [{"scale": 1e-4, "raster:scale": 1e-3}]}, "scale 0.0001 and 0.001"),
        ({"nodata": True}, "nodata 'True', which is none"),
        ({"nodata": []}, "nodata 'a list', which is none"),
        ({"nodata": "1_000"}, "nodata '1_000', which is none"),
        ({"nodata": "\u0661"}, "which is none"),
        ({"nodata": 10**400}, "which is none"),
        ({"scale": "1e-4x"}, "scale '1e-4x', which is none"),
        ({"scale": "nan"}, "cannot have scale nan"),
        ({"offset": -0.1}, "cannot have scale 1 and offset -0.1"),
    ],
)
def test_what_cannot_be_meant(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(Rejected) as error:
        asset_of(**fields).declared(BLUE)
    assert text in str(error.value)
    assert str(error.value).startswith("asset 'x' of item i: ")


def test_an_offset_that_was_applied_already_is_not_applied_again() -> None:
    applied = {"earthsearch:boa_offset_applied": True}
    asset = {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}
    item = {"id": "i", "properties": applied, "assets": {"x": asset}}
    with pytest.raises(Rejected, match="boa_offset_applied says that the offset was applied"):
        Statements.of(StacFile(item, "/i.json"), "x").declared(BLUE)
    applied["earthsearch:boa_offset_applied"] = False
    declared = Statements.of(StacFile(item, "/i.json"), "x").declared(BLUE)
    assert declared.scaling == Scaling(1e-4, -0.1)


@given(st.data())
def test_names_of_every_place(data: st.DataObject) -> None:
    """Twelve assets with keys that say nothing, or count: each band is found by its name."""
    assets: dict[str, Any] = {}
    shared: list[dict[str, Any]] = []
    for number, (band, aliases) in enumerate(ALIASES.items()):
        key = data.draw(st.sampled_from([f"band_{number:02d}", f"asset{number}"]))
        name = data.draw(st.sampled_from([band, *aliases]))
        field = data.draw(st.sampled_from(["name", "common_name", "eo:common_name"]))
        bands = data.draw(st.sampled_from(BAND_LISTS))
        place = data.draw(st.sampled_from(["band", "asset", "item"]))
        assets[key] = {"href": band}
        if place == "asset":
            assets[key]["eo:common_name"] = name
        elif place == "band":
            assets[key][bands] = [{field: name}]
        else:
            assets[key][bands] = [{"name": f"b{number}"}]
            shared.append({"name": f"b{number}", "common_name": name})
    assets["COUNT"] = {"href": "count", "bands": [{"name": "count"}]}
    item = StacFile({"id": "i", "properties": {"bands": shared}, "assets": assets}, "/i.json")
    for band, aliases in ALIASES.items():
        key = find_asset(item, band, aliases)
        assert key is not None
        assert assets[key]["href"] == band


def test_a_key_that_counts_is_not_believed_against_a_name() -> None:
    count = {"href": "c.tif", "bands": [{"name": "count"}]}
    item = StacFile({"id": "i", "assets": {"band_12": count}}, "/i.json")
    assert find_asset(item, "swir_2", ALIASES["swir_2"]) is None
    item = StacFile({"id": "i", "assets": {"B12": count}}, "/i.json")
    assert find_asset(item, "swir_2", ALIASES["swir_2"]) == "B12"
    red = {"href": "r.tif", "bands": [{"name": "red"}]}
    item = StacFile({"id": "i", "assets": {"blue": red}}, "/i.json")
    assert find_asset(item, "blue", ALIASES["blue"]) is None
    assert find_asset(item, "red", ALIASES["red"]) == "blue"


def test_the_table_of_the_documentation_is_that_of_the_code() -> None:
    def cell(fields: tuple[str, ...]) -> str:
        return ", ".join(f"`{field}`" for field in fields)

    rows = [
        f"| {fact} | {cell(rule.in_band)} | {cell(rule.in_asset)} | {cell(rule.in_item)} |"
        for fact, rule in FACT_RULES.items()
    ]
    text = (REPOSITORY / "docs" / "inputs.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in text
    assert " or ".join(f"`{name}`" for name in BAND_LISTS) in text
