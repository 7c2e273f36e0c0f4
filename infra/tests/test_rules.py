"""The rules of AWS Solutions (cdk-nag) are really asked, and every exception has a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.tests.synthesized import CDK_OUT, PARTS, Synthesized

ROOT = Path(__file__).parents[2]
OPEN_BUCKET = """
import sys
from aws_cdk import App, Stack, Validations
from aws_cdk.aws_s3 import Bucket
from cdk_nag import AwsSolutionsChecks
app = App(analytics_reporting=False)
Bucket(Stack(app, "s"), "b")
Validations.of(app).add_plugins(AwsSolutionsChecks(app))
app.synth()
"""


def acknowledgments(environment: str) -> Iterator[tuple[str, str, str]]:
    """Path, rule and reason of every exception."""
    for part in PARTS:
        file = CDK_OUT / environment / f"cropmask-{environment}-{part}.metadata.json"
        for path, entries in json.loads(file.read_text()).items():
            for entry in entries:
                yield from _rules(path, entry)


def _rules(path: str, entry: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if "acknowledged" not in entry["type"].lower():
        return
    for rule, reason in entry["data"].items():
        if "AwsSolutions" in rule:  # others are CDK's own
            yield path, rule, reason


def test_the_rules_refuse_an_open_bucket(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_BUCKET],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    report = done.stdout + done.stderr + _report(tmp_path)
    assert "AwsSolutions-S10" in report or "AwsSolutions-S1" in report


def _report(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.rglob("validation-report.json"))


def test_the_rules_find_nothing(cloud: Synthesized) -> None:
    report = json.loads((CDK_OUT / cloud.environment / "validation-report.json").read_text())
    violations = [v for plugin in report["pluginReports"] for v in plugin["violations"]]
    assert violations == []


def test_every_exception_has_a_reason_of_its_own(cloud: Synthesized) -> None:
    found = list(acknowledgments(cloud.environment))
    assert len(found) > 10
    for path, rule, reason in found:
        assert len(reason.split()) > 4, (path, rule)


def test_exceptions_stand_at_a_part_and_not_at_a_whole_stack(cloud: Synthesized) -> None:
    for path, rule, _ in acknowledgments(cloud.environment):
        assert len(path.strip("/").split("/")) >= 2, (path, rule)
