"""The image: how it is built, and the workflow that publishes it."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cropmask import contract
from cropmask.operate import campaign

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
PROCESSORS = ["amd64", "arm64"]


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((WORKFLOWS / "image.yml").read_text())
    return document


def steps_of(workflow: dict[str, Any], job: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = workflow["jobs"][job]["steps"]
    return steps


def at(steps: list[dict[str, Any]], words: str) -> int:
    """Number of the only step in which these words stand."""
    (found,) = [number for number, step in enumerate(steps) if words in yaml.safe_dump(step)]
    return found


def test_the_base_is_pinned_by_digest() -> None:
    text = (ROOT / "jobs/Dockerfile").read_text()
    assert re.search(
        r"^ARG BASE=docker\.io/library/python:[\w.-]+@sha256:[0-9a-f]{64}$", text, re.M
    )
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"${BASE}", "build", "base"}


def test_both_images_have_what_a_campaign_in_a_pod_needs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = extras["optional-dependencies"]
    (extra,) = [
        name
        for name, packages in extras.items()
        if {re.split("[>=]", package)[0] for package in packages} >= set(campaign.NEEDED)
    ]
    synced = re.findall(r"^RUN /uv/bin/uv sync .*$", (ROOT / "jobs/Dockerfile").read_text(), re.M)
    assert len(synced) == 3
    assert all(f" --extra {extra} " in line for line in synced), synced


def test_what_the_workflow_uses_is_pinned_by_commit() -> None:
    used = re.findall(r"uses: (.+)", (WORKFLOWS / "image.yml").read_text())
    assert len(used) > 5
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_it_runs_on_a_new_version_and_publishes_none_twice(workflow: dict[str, Any]) -> None:
    triggers = workflow[True]  # YAML 1.1 reads "on" so
    assert triggers["push"] == {"branches": ["main"], "paths": ["cropmask/contract.py"]}
    (find,) = [step for step in steps_of(workflow, "version") if step.get("id") == "find"]
    sed = re.search(r"sed -n '(.+)' cropmask/contract\.py", find["run"])
    assert sed is not None
    found = subprocess.run(
        ["sed", "-n", sed[1], ROOT / "cropmask/contract.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout == f"{contract.VERSION}\n"
    asked = workflow["jobs"]["publish"]["if"]
    (push,) = [step for step in steps_of(workflow, "build") if step.get("name") == "push"]
    assert asked == push["if"] == "needs.version.outputs.publish == 'true'"


@pytest.mark.parametrize(
    ("answer", "code", "event", "publish"),
    [
        ("Name: ghcr.io/example/cropmask:0.1.0", 0, "push", "false"),
        ("ERROR: ghcr.io/example/cropmask:0.1.0: not found", 1, "push", "true"),
        ("ERROR: ghcr.io/example/cropmask:0.1.0: not found", 1, "pull_request", "false"),
        ("ERROR: dial tcp: connection refused", 1, "push", None),
    ],
)
def test_only_a_version_that_is_not_there_is_new(
    workflow: dict[str, Any],
    tmp_path: Path,
    answer: str,
    code: int,
    event: str,
    publish: str | None,
) -> None:
    (find,) = [step for step in steps_of(workflow, "version") if step.get("id") == "find"]
    make_program(tmp_path / "docker", f"echo '{answer}'; exit {code}")
    output = tmp_path / "output"
    variables = {
        "GITHUB_OUTPUT": str(output),
        "GITHUB_EVENT_NAME": event,
        "GITHUB_REPOSITORY_OWNER": "Example",
    }
    done = run(["bash", "-e", "-o", "pipefail", "-c", find["run"]], tmp_path, **variables)
    if publish is None:
        assert (done.returncode, output.exists()) == (1, False)
        assert "connection refused" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    said = dict(line.split("=") for line in output.read_text().splitlines())
    assert said == {
        "version": contract.VERSION,
        "registry": "ghcr.io/example",
        "publish": publish,
    }


def test_nothing_is_pushed_before_it_was_scanned(workflow: dict[str, Any]) -> None:
    build = steps_of(workflow, "build")
    order = [at(build, words) for words in ("jobs/build.sh", "digests.py", "output-file", "sbom: ")]
    assert order == sorted(order)
    scan = build[order[-1]]["with"]
    assert (scan["fail-build"], scan["severity-cutoff"]) == (True, "high")
    assert at(build, "docker push") > order[-1]
    assert workflow["jobs"]["build"]["strategy"]["matrix"]["processor"] == PROCESSORS


def test_what_is_published_is_compared_listed_and_signed(workflow: dict[str, Any]) -> None:
    publish = workflow["jobs"]["publish"]
    assert set(publish["needs"]) == {"version", "build", "compare"}
    assert publish["permissions"] == {"packages": "write", "id-token": "write"}
    (together,) = [step["run"] for step in publish["steps"] if "cosign sign" in step.get("run", "")]
    assert f"for processor in {' '.join(PROCESSORS)}" in together
    order = [together.index(w) for w in ("cosign attest", "imagetools create", "cosign sign")]
    assert order == sorted(order)
    assert "--recursive" in together


def test_no_job_may_more_than_it_needs(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}
    granted = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert [name for name, rights in granted.items() if "id-token" in rights] == ["publish"]
    assert all("contents" not in r or r["contents"] == "read" for r in granted.values())


def make_program(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def run(command: list[str], programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{programs}:{os.environ['PATH']}"
    environ = {**os.environ, **variables, "PATH": path}
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("engine", "variables", "words"),
    [
        ("docker", {}, "buildx build --provenance=false --load --file jobs/Dockerfile"),
        ("docker", {"PLATFORMS": "linux/arm64"}, "--tag cropmask:{version} --platform linux/arm64"),
        (
            "docker",
            {"PLATFORMS": "linux/amd64,linux/arm64", "PUSH": "1", "TAG": "here/cropmask:1"},
            "--push --tag here/cropmask:1 --platform linux/amd64,linux/arm64",
        ),
        ("podman", {"PLATFORMS": "linux/arm64"}, "build --tag cropmask:{version}"),
        (
            "buildah",
            {"PLATFORMS": "linux/amd64,linux/arm64", "TARGET": "indexer"},
            "bud --target indexer --manifest cropmask-indexer:{version} "
            "--platform linux/amd64,linux/arm64",
        ),
    ],
)
def test_an_image_is_built_for_the_processors_that_are_named(
    tmp_path: Path, engine: str, variables: dict[str, str], words: str
) -> None:
    make_program(tmp_path / engine, 'echo "$@"')
    done = run(["bash", "jobs/build.sh"], tmp_path, ENGINE=engine, **variables)
    assert done.returncode == 0, done.stderr
    wanted = words.format(version=contract.VERSION).split()
    said = iter(done.stdout.split())
    assert all(word in said for word in wanted), done.stdout


def test_docker_keeps_no_image_of_several_processors(tmp_path: Path) -> None:
    make_program(tmp_path / "docker", "exit 0")
    several = {"PLATFORMS": "linux/amd64,linux/arm64"}
    done = run(["bash", "jobs/build.sh"], tmp_path, ENGINE="docker", **several)
    assert done.returncode == 2
    assert "add PUSH=1" in done.stderr
