from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.offers import CAPE_TOWN
from infra.settings import architecture_of, known_environments, load_settings
from infra.tests.synthesized import CDK_OUT, PARTS, load

INFRA = Path(__file__).parents[1]
DEV = load_settings("dev")
UNDATED = dataclasses.replace(DEV.workers.cpu_hour_price, date="lately")
NAMES = {"cropmask", "cropmask.contract", "cropmask.product", "cropmask.kube.workermanifests"}


def test_there_are_dev_and_prod() -> None:
    assert set(known_environments()) >= {"dev", "prod"}


def test_an_unknown_environment_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"no environment 'test': choose .* dev, prod"):
        load_settings("test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Dev!"}, "cannot name an environment"),
        ({"account": "123"}, "12 digits"),
        ({"network": dataclasses.replace(DEV.network, zones=("a",))}, "two avail"),
        (
            {"cluster": dataclasses.replace(DEV.cluster, endpoint_from=("::/0",))},
            "open to everybody",
        ),
        ({"network": dataclasses.replace(DEV.network, zones=("af-south-1a", "b"))}, "letters"),
        ({"budget": dataclasses.replace(DEV.budget, emails=())}, "one to ten addresses"),
        (
            {"workers": dataclasses.replace(DEV.workers, image="cropmask:0.1.0")},
            "no image by digest",
        ),
        (
            {"workers": dataclasses.replace(DEV.workers, cpu_hour_price=UNDATED)},
            "no day of a price",
        ),
        ({"cluster": dataclasses.replace(DEV.cluster, architecture="arm64")}, "no arm64 processor"),
        ({"cluster": dataclasses.replace(DEV.cluster, types=CAPE_TOWN[:8])}, "too few for spot"),
        (
            {"cluster": dataclasses.replace(DEV.cluster, types=(*CAPE_TOWN, "c5.xlarge"))},
            "one size",
        ),
        ({"cluster": dataclasses.replace(DEV.cluster, types=("big", *CAPE_TOWN))}, "no instance"),
    ],
)
def test_settings_that_would_fail_later_fail_now(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(load_settings("dev"), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "architecture"),
    [
        ("c5.2xlarge", "x86_64"),
        ("c7i-flex.2xlarge", "x86_64"),
        ("m6gd.2xlarge", "arm64"),
        ("c8gn.2xlarge", "arm64"),
        ("g5.xlarge", "x86_64"),
    ],
)
def test_types_say_their_processor(type_: str, architecture: str) -> None:
    assert architecture_of(type_) == architecture


def test_another_account_needs_no_answer_of_aws() -> None:
    """Nothing is kept that AWS answered, and nothing is left to ask."""
    assert not (INFRA.parent / "cdk.context.json").exists()
    for environment in known_environments():
        manifest = json.loads((CDK_OUT / environment / "manifest.json").read_text())
        assert "missing" not in manifest


def test_a_deployment_asks_about_security_only() -> None:
    assert json.loads((INFRA.parent / "cdk.json").read_text())["requireApproval"] == "broadening"


def test_nothing_but_the_settings_knows_an_environment() -> None:
    files = [INFRA / "app.py", *INFRA.glob("*.py"), *(INFRA / "stacks").glob("*.py")]
    for file in files:
        words = [
            node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        named = [word for word in words if word in known_environments()]
        # The type of a site, and the default of a command line, are no decisions.
        assert named == {"settings.py": ["dev", "prod"], "app.py": ["dev"]}.get(file.name, [])


def test_environments_have_the_same_resources_but_for_what_settings_switch() -> None:
    """By type: what one has and the other lacks is switched on in its settings file."""
    switched = {
        "AWS::CloudFront::Distribution",
        "AWS::CloudFront::OriginAccessControl",
        "AWS::SNS::Subscription",
    }
    counted = {"AWS::EC2::SecurityGroup", "AWS::EC2::VPCEndpoint"}
    dev, prod = ({r.type for r in load(env).resources()} for env in ("dev", "prod"))
    assert dev ^ prod <= switched | counted


SYNTHESIZE = """
import json, sys
from aws_cdk import App
from infra.app import build
from infra.naming import SHARED_RUN, tag_everything
from infra.offers import CAPE_TOWN
from infra.settings import load_settings
heavy = [m for m in ("numpy", "pydantic", "boto3", "rasterio") if m in sys.modules]
context = json.load(open("cdk.json"))["context"]
app = App(context=context, analytics_reporting=False)
settings = load_settings("stage")
build(app, settings)
tag_everything(app, settings, SHARED_RUN)
templates = {stack.stack_name.rpartition("-")[2]: stack.template for stack in app.synth().stacks}
print(json.dumps({"heavy": heavy, "templates": templates}))
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is synthesized after the settings file of dev was copied and its name changed."""
    folder = tmp_path_factory.mktemp("copy")
    left_out = shutil.ignore_patterns("cdk.out", "__pycache__", "*.log")
    shutil.copytree(INFRA, folder / "infra", ignore=left_out)
    (folder / "jobs").mkdir()
    for name in ("cdk.json", "jobs/Dockerfile", "jobs/Dockerfile.dockerignore"):
        shutil.copy(INFRA.parent / name, folder / name)
    environments = folder / "infra/environments"
    text = (environments / "dev.py").read_text()
    (environments / "stage.py").write_text(text.replace('name="dev"', 'name="stage"'))
    done = subprocess.run(
        [sys.executable, "-c", SYNTHESIZE],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{INFRA.parent}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def without_hashes(resources: dict[str, Any]) -> dict[str, Any]:
    """Resources as they stand, but for the name of the environment and what is made of it."""
    text = json.dumps({k: v for k, v in resources.items() if k != "CDKMetadata"}, sort_keys=True)
    known: dict[str, Any] = json.loads(
        re.sub(r"[0-9A-F]{8}|[0-9a-f]{64}", "#", re.sub("[Ss]tage", "dev", text))
    )
    return {id_: {k: v for k, v in r.items() if k != "Metadata"} for id_, r in known.items()}


def test_a_new_environment_needs_only_its_file(stage: dict[str, Any]) -> None:
    """An environment with dev's settings under another name is dev's templates, renamed."""
    assert set(stage["templates"]) == set(PARTS)
    for part, template in load("dev").templates.items():
        new, old = (
            without_hashes(r)
            for r in (stage["templates"][part]["Resources"], template["Resources"])
        )
        assert new.keys() == old.keys(), part
        for id_, resource in old.items():
            assert new[id_] == resource, (part, id_)


def test_only_names_of_the_package_are_imported() -> None:
    for file in [*INFRA.glob("*.py"), *INFRA.glob("stacks/*.py"), *INFRA.glob("environments/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cropmask"):
                module = str(node.module)
                assert module in NAMES or module.startswith("cropmask.kube"), file.name


def test_names_load_without_any_package_of_ours_that_computes(stage: dict[str, Any]) -> None:
    assert stage["heavy"] == []


def test_everything_that_can_be_tagged_is_tagged() -> None:
    for environment in known_environments():
        missing = []
        for resource in load(environment).resources():
            tags = resource.properties.get("Tags")
            if tags is None:
                continue
            flat = tags if isinstance(tags, dict) else {t["Key"]: t["Value"] for t in tags}
            if flat.get("cropmask:environment") != environment or "cropmask:run" not in flat:
                missing.append(resource.id)
        assert missing == []


def test_important_things_have_tags() -> None:
    tagged = {r.type for r in load("prod").resources() if "Tags" in r.properties}
    assert tagged >= {
        *("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::EKS::Cluster", "AWS::EKS::Nodegroup"),
        *("AWS::EC2::VPC", "AWS::EC2::NatGateway", "AWS::IAM::Role", "AWS::KMS::Key"),
        *("AWS::CloudWatch::Alarm", "AWS::CloudFront::Distribution", "AWS::Logs::LogGroup"),
    }


def test_prod_is_protected_from_being_deleted() -> None:
    for environment, protected in (("dev", False), ("prod", True)):
        manifest = json.loads((CDK_OUT / environment / "manifest.json").read_text())
        stacks = [
            artifact["properties"]
            for artifact in manifest["artifacts"].values()
            if artifact["type"] == "aws:cloudformation:stack"
        ]
        assert len(stacks) == len(PARTS)
        assert {s.get("terminationProtection", False) for s in stacks} == {protected}
