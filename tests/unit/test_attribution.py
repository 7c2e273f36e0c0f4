"""License and providers: parsed with limits, put together without making anything up."""

from __future__ import annotations

from typing import Any

import pytest

from cropmask.region.attribution import (
    MAX_LINE,
    MAX_PROVIDERS,
    UNSTATED,
    Attribution,
    Provider,
    find_license,
    parse_attribution,
)

AGENCY = Provider(name="An Agency", roles=("producer", "licensor"), url="https://a.example.org")
CLOUD = Provider(name="A Cloud", roles=("host",))


def collection(**fields: Any) -> dict[str, Any]:
    return {"type": "Collection", "id": "c", "license": "CC-BY-4.0", "links": [], **fields}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("MIT", "MIT"),
        ("CC BY 4.0", None),
        ("MIT AND CC-BY-4.0", None),  # STAC's schema takes one identifier
        ("proprietary", None),
        ("various", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_licenses_are_those_of_spdx(text: str, expected: str | None) -> None:
    assert find_license(text) == expected


@pytest.mark.parametrize("said", ["proprietary", "various", "other", "all rights", "MIT OR ISC"])
def test_a_license_without_identifier_is_other_and_keeps_its_link(said: str) -> None:
    links = [
        {"rel": "license", "href": "javascript:alert(1)"},
        {"rel": "license", "href": "https://a.example.org/terms"},
    ]
    found = parse_attribution(collection(license=said, links=links))
    assert (found.license, found.license_url) == ("other", "https://a.example.org/terms")


def test_what_is_malformed_counts_as_not_said() -> None:
    providers = [
        3,
        {"name": ["x"]},
        {"name": " "},
        {"name": "x" * (MAX_LINE + 1)},
        {"name": "A\x1b[31mB"},
        {"name": "An  Agency", "url": "javascript:alert(1)", "roles": ["producer", "owner", {}]},
        {"name": "Another", "description": 7, "roles": "host", "more": 1},
        {"name": "an agency"},
    ]
    found = parse_attribution(collection(license=4, providers=providers, links="none"))
    assert found.license is None
    assert found.providers == (
        Provider(name="An Agency", roles=("producer",)),
        Provider(name="Another"),
    )
    for odd in ({}, {"providers": {}}, {"properties": 3, "links": [None, 3, {}]}):
        assert parse_attribution(odd) == UNSTATED


def test_no_document_names_providers_without_end() -> None:
    many = [{"name": f"Agency {number}"} for number in range(10_000)]
    assert len(parse_attribution(collection(providers=many)).providers) == MAX_PROVIDERS


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": "gm_s2_semiannual"}, True),
        ({"title": "Sentinel-2 composites"}, True),
        ({"summaries": {"platform": ["sentinel-2a"]}}, True),
        ({"summaries": {"constellation": ["landsat"]}, "id": "gm_s2_like"}, False),
        ({"properties": {"odc:product": "gm_s2_annual"}}, True),
        ({"properties": {"platform": "landsat-8", "title": "of S2"}}, False),
        ({"id": "maps2"}, False),
    ],
)
def test_sentinel_data_are_told_by_platform_or_name(fields: Any, expected: bool) -> None:
    assert (parse_attribution(collection(**fields)).sensed is not None) == expected


def test_what_the_region_says_goes_first_and_providers_add_up() -> None:
    region = Attribution("ODbL-1.0", None, (CLOUD, Provider(name="Mappers")))
    inputs = Attribution("other", "https://a.example.org/terms", (AGENCY,), (2019,))
    found = region.over(inputs)
    assert (found.license, found.license_url) == ("ODbL-1.0", None)
    assert [each.name for each in found.providers] == ["Mappers", "An Agency", "A Cloud"]
    assert found.sensed == (2019,)
    assert UNSTATED.over(inputs) == inputs


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("MIT", "MIT", "MIT"),
        ("MIT", None, "MIT"),
        (None, "MIT", "MIT"),
        (None, None, None),
        ("MIT", "CC-BY-4.0", "other"),
        ("other", "MIT", "other"),
    ],
)
def test_two_inputs_have_a_license_only_if_it_is_one(
    first: str | None, second: str | None, expected: str | None
) -> None:
    both = Attribution(first).beside(Attribution(second))
    assert both.license == expected
    one, other = (Attribution("other", f"https://{name}.example.org") for name in "ab")
    assert one.beside(other) == Attribution("other", None)
    assert one.beside(one) == one


def test_whoever_hosts_the_inputs_does_not_host_the_map() -> None:
    both = Provider(name="Both", roles=("producer", "host"))
    found = Attribution(providers=(CLOUD, both)).handed_on()
    assert found.providers == (Provider(name="Both", roles=("producer",)),)


def test_the_line_of_credit() -> None:
    assert UNSTATED.line == Attribution("other").line == ""
    assert Attribution("MIT").line == "license MIT"
    assert Attribution("MIT", None, (CLOUD, AGENCY)).line == "An Agency, MIT"
    notice = "Contains modified Copernicus Sentinel data"
    assert Attribution(sensed=()).line == notice
    assert Attribution(sensed=(2019, 2020)).line == f"{notice} 2019, 2020"
    owed = Attribution("MIT", None, (AGENCY,), (2019,))
    assert owed.line == f"An Agency, MIT. {notice} 2019"
