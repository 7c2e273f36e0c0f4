from __future__ import annotations

import json
import re
from pathlib import Path

from infra.settings import Settings
from infra.tests.synthesized import Synthesized, statements

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "jobs/Dockerfile").read_text()


def copied() -> set[str]:
    """What the Dockerfile takes out of the clone."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return {name for line in lines for name in line.split()[:-1]}


def test_images_are_built_and_pushed_by_the_deployment(dev: Synthesized, prod: Synthesized) -> None:
    assert set(dev.images()) == {"worker"}
    assert set(prod.images()) == {"worker", "indexer"}  # prod indexes
    cron = prod.manifest("CronJob", "cropmask-indexer")["spec"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]
    assert cron["containers"][0]["image"] == prod.image("indexer")


def test_stages_platform_and_tag_are_what_runs(cloud: Synthesized, settings: Settings) -> None:
    platform = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}[settings.cluster.architecture]
    for stage, image in cloud.images().items():
        assert re.search(rf"^FROM \S+ AS {stage}$", DOCKERFILE, re.MULTILINE)
        assert image["source"]["platform"] == platform
        assert image["source"]["dockerFile"] == "jobs/Dockerfile"
        (place,) = image["destinations"].values()
        # Of what it was built of: a tag that means one image for ever.
        assert re.fullmatch("[0-9a-f]{64}", place["imageTag"])
        assert image["source"]["directory"] == f"asset.{place['imageTag']}"


def test_the_image_is_built_of_what_it_copies_and_of_nothing_else(cloud: Synthesized) -> None:
    for image in cloud.images().values():
        folder = cloud.folder / image["source"]["directory"]
        for name in copied():
            assert (folder / name).exists(), name
        assert (folder / "jobs/Dockerfile").read_text() == DOCKERFILE
        top = {entry.name for entry in folder.iterdir()}
        assert top == {name.split("/")[0] for name in copied()}


def test_images_that_stay_are_scanned_and_never_replaced(
    cloud: Synthesized, settings: Settings
) -> None:
    repositories = cloud.properties("AWS::ECR::Repository")
    names = {found["RepositoryName"] for found in repositories}
    assert names == {f"cropmask-{settings.name}/{stage}" for stage in ("worker", "indexer")}
    for found in repositories:
        assert found["ImageScanningConfiguration"] == {"ScanOnPush": True}
        assert found["ImageTagMutability"] == "IMMUTABLE"
        rules = json.loads(found["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
        counts = {rule["selection"]["tagStatus"]: rule["selection"] for rule in rules}
        assert counts["any"]["countNumber"] == settings.images.keep
        assert counts["untagged"]["countType"] == "sinceImagePushed"


def test_images_that_are_built_are_scanned_too(cloud: Synthesized) -> None:
    scan = cloud.one("AWS::ECR::RegistryScanningConfiguration")
    (rule,) = scan["Rules"]
    assert rule["ScanFrequency"] == "SCAN_ON_PUSH"
    patterns = [f["Filter"].replace("*", ".*") for f in rule["RepositoryFilters"]]
    for image in cloud.images().values():
        (place,) = image["destinations"].values()
        assert any(re.fullmatch(pattern, place["repositoryName"]) for pattern in patterns)


def test_only_named_accounts_pull_and_none_pushes(dev: Synthesized, prod: Synthesized) -> None:
    assert all(
        "RepositoryPolicyText" not in found for found in prod.properties("AWS::ECR::Repository")
    )
    for found in dev.properties("AWS::ECR::Repository"):
        (pull,) = statements(found["RepositoryPolicyText"])
        assert ":iam::222222222222:root" in json.dumps(pull["Principal"])
        assert set(pull["Action"]) == {
            *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"),
            "ecr:GetDownloadUrlForLayer",
        }
