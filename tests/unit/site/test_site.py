"""The environment, opened: what goes before what, and one line for what cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmask import contract
from cropmask.errors import Misconfigured
from cropmask.region.region import load_region
from cropmask.site.site import EXPLORER, PUBLIC_ANCILLARY, open_site


def test_without_configuration_the_site_is_the_demo_world() -> None:
    site = open_site({})
    assert (site.environment, site.output, site.resolution) == ("local", "./output", 60)
    assert site.synthetic
    assert not site.read.s3_unsigned


def test_production_reads_public_data_at_full_resolution() -> None:
    site = open_site({"CROPMASK_ENV": "prod", "CROPMASK_OUTPUT": "s3://bucket/maps"})
    assert (site.catalog, site.resolution, site.synthetic) == (EXPLORER, 10, False)
    assert (site.read.s3_unsigned, site.read.s3_region) == (True, "af-south-1")
    world = site.inputs(load_region("eastern"))
    assert world.ancillary.rain_first_half == PUBLIC_ANCILLARY.rain_first_half
    assert str(world.ancillary.protected_areas).endswith("WDPA_eastern.tif")
    assert site.inputs(load_region("sahel")).ancillary.protected_areas is None


def test_results_are_read_with_credentials_unless_the_user_says_otherwise() -> None:
    environ = {"CROPMASK_ENV": "prod", "CROPMASK_OUTPUT": "s3://bucket/maps"}
    found = open_site(environ).read_results
    assert (found.s3_unsigned, found.s3_region) == (False, None)
    found = open_site({**environ, "CROPMASK_S3_UNSIGNED": "1"}).read_results
    assert (found.s3_unsigned, found.s3_region) == (True, None)
    assert not open_site({}).read_results.s3_unsigned


def test_development_is_a_quick_look() -> None:
    assert open_site({}, {"env": "dev", "output": "here"}).resolution == 60


@pytest.mark.parametrize("name", ["ouput", "OUTPUT", "model", "CROPMASK_OUTPUT"])
def test_options_that_nobody_reads_are_refused(name: str) -> None:
    with pytest.raises(Misconfigured, match=f"no option '{name}'"):
        open_site({}, {name: "/elsewhere"})


def test_options_go_before_the_environment() -> None:
    environ = {"CROPMASK_RESOLUTION": "20", "CROPMASK_THREADS": "3", "CROPMASK_OUTPUT": "there"}
    site = open_site(environ, {"resolution": "100", "threads": None, "output": "here"})
    assert (site.resolution, site.threads, site.output) == (100, 3, "here")


def test_a_catalog_of_ones_own_is_read_at_full_resolution() -> None:
    site = open_site({"CROPMASK_CATALOG": "items"})
    assert (site.resolution, site.synthetic) == (10, False)
    world = site.inputs(load_region("eastern"))
    assert world.boundary == load_region("eastern").boundary


def test_empty_variables_count_as_not_set() -> None:
    assert open_site(dict.fromkeys(contract.ENVIRONMENT_VARIABLES, "")) == open_site({})


def test_caches_follow_the_desktop_convention() -> None:
    assert open_site({"XDG_CACHE_HOME": "/var/cache/me"}).cache == Path("/var/cache/me/cropmask")
    assert open_site({"CROPMASK_CACHE": "/fast"}).cache == Path("/fast")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CROPMASK_ENV": "test"}, "choose one of local, dev, prod"),
        ({"CROPMASK_ENV": "dev"}, "give --output"),
        ({"CROPMASK_RESOLUTION": "30"}, "choose one of 10, 20, 60, 100"),
        ({"CROPMASK_RESOLUTION": "ten"}, "CROPMASK_RESOLUTION is 'ten'"),
        ({"CROPMASK_THREADS": "0"}, "CROPMASK_THREADS is '0'"),
        ({"CROPMASK_MEMORY": "much"}, "write it like 4GB"),
        ({"CROPMASK_S3_UNSIGNED": "maybe"}, "CROPMASK_S3_UNSIGNED is 'maybe'"),
    ],
)
def test_what_cannot_be_used_is_one_line(environ: dict[str, str], expected: str) -> None:
    with pytest.raises(Misconfigured, match=expected):
        open_site(environ)


def test_s3_settings_reach_both_sides() -> None:
    site = open_site(
        {
            "CROPMASK_S3_ENDPOINT": "http://127.0.0.1:9000",
            "CROPMASK_S3_ACL": "bucket-owner-full-control",
            "CROPMASK_S3_REQUESTER_PAYS": "1",
        }
    )
    assert site.read.s3_endpoint == site.write.endpoint_url == "http://127.0.0.1:9000"
    assert site.write.acl == "bucket-owner-full-control"
    assert site.read.s3_requester_pays


def test_the_docs_name_every_variable_and_exit_code() -> None:
    tables = Path(__file__).parents[3] / "docs" / "reference"
    text = (tables / "configuration.md").read_text()
    for name, meaning in contract.ENVIRONMENT_VARIABLES.items():
        assert f"| `{name}` | {meaning} |" in text
    text = (tables / "exit-codes.md").read_text()
    for code in contract.ExitCode:
        assert f"\n| {int(code)} | {code.meaning} |" in text


def test_every_variable_of_the_contract_is_described() -> None:
    named = {value for key, value in vars(contract).items() if key.startswith("ENV_")}
    assert named - {contract.ENV_PREFIX} == set(contract.ENVIRONMENT_VARIABLES)


def test_results_in_a_public_bucket_are_looked_at_without_credentials_if_asked_for() -> None:
    asked = {"CROPMASK_OUTPUT": "s3://bucket/maps", "CROPMASK_S3_UNSIGNED": "1"}
    assert open_site(asked).write.unsigned
    assert not open_site({**asked, "CROPMASK_S3_UNSIGNED": "0"}).write.unsigned
    assert not open_site({"CROPMASK_OUTPUT": "s3://b/m", "CROPMASK_ENV": "prod"}).write.unsigned
