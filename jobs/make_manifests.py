"""Print the files in this folder: ``make manifests``. A test compares them with what is printed.

Names, exit codes and limits come from ``cropmask/contract.py``; the values below stand for those
of an environment, which ``infra/`` fills in when it deploys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from cropmask import contract
from cropmask.kube import awsbatch, index, namespace, scaled, workflow
from cropmask.kube.workermanifests import (
    WorkerPod,
    job_name,
    make_indexed_job,
    make_labels,
    make_queue_job,
)

FOLDER: Final = Path(__file__).parent
REGIONS: Final = tuple(
    sorted(file.parent.name for file in FOLDER.parent.glob("models/*/region.toml"))
)
ACCOUNT: Final = "123456789012"
REGION: Final = "af-south-1"
REGISTRY: Final = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
QUEUE: Final = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/cropmask-dev-tasks"
OUTPUT: Final = f"s3://cropmask-dev-results-{ACCOUNT}/crop_mask"
RUN: Final = "my-run"
TASK_FILE: Final = f"{OUTPUT}/{contract.RUNS}/crop_mask_eastern/2019--P1Y/{RUN}/tasks.jsonl"
SETTINGS: Final = {
    contract.ENV_ENVIRONMENT: "dev",
    contract.ENV_OUTPUT: OUTPUT,
    contract.ENV_QUEUE: QUEUE,
    contract.ENV_DEAD_LETTERS: QUEUE.replace("tasks", "dead-letters"),
    contract.ENV_METRICS: contract.METRICS_NAMESPACE,
    contract.ENV_MAX_MINUTES: "60",
    contract.ENV_IDLE_EXIT: str(contract.LEASE_SECONDS),
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}
IMAGE: Final = f"{REGISTRY}/cropmask:{contract.VERSION}"
INDEXER_IMAGE: Final = f"{REGISTRY}/cropmask-indexer:{contract.VERSION}"
_HEAD: Final = "# Printed by 'make manifests' from cropmask/contract.py: do not edit.\n"


def _worker(**more: Any) -> WorkerPod:  # noqa: ANN401 (fields of Worker)
    return WorkerPod(IMAGE, config_map=namespace.CONFIG_MAP, **more)


def make_files() -> dict[str, list[dict[str, Any]]]:
    """Documents by the name of their file."""
    labels = make_labels(run=RUN, region="eastern", environment="dev")
    tasks = _worker(environment={contract.ENV_TASKS: TASK_FILE}, labels=labels)
    steps = WorkerPod(
        f"{REGISTRY}/cropmask",
        config_map=namespace.CONFIG_MAP,
        service_account=workflow.WORKFLOW,
        any_node=True,
    )
    indexer = WorkerPod(INDEXER_IMAGE, config_map=namespace.CONFIG_MAP, any_node=True)
    return {
        "namespace.yaml": [
            namespace.make_namespace(),
            namespace.make_service_account(contract.SERVICE_ACCOUNT),
            namespace.make_config_map(SETTINGS),
            namespace.make_network_policy(),
            namespace.make_quota(10),
            namespace.make_limit_range(),
        ],
        "worker-scaledjob.yaml": [
            scaled.make_scaled_job(
                _worker(), queue=QUEUE, aws_region=REGION, most=10, max_minutes=60
            )
        ],
        "worker-job.yaml": [make_queue_job(job_name(RUN), _worker(labels=labels), workers=10)],
        "tile-job.yaml": [
            scaled.make_tile_job(
                f"{contract.APP}-x215y075",
                _worker(labels=make_labels(region="eastern", environment="dev")),
                tile="x215y075",
                region="eastern",
                period="2019--P1Y",
            )
        ],
        "indexed-job.yaml": [make_indexed_job(job_name(RUN), tasks, tasks=390, workers=10)],
        "index-cronjob.yaml": [
            namespace.make_service_account(namespace.INDEXER),
            index.make_index_cron_job(
                WorkerPod(INDEXER_IMAGE, config_map=namespace.CONFIG_MAP),
                index.INDEX_COMMAND,
                "15 3 * * *",
            ),
            index.make_database_policy("10.0.0.0/8"),
        ],
        "argo-workflowtemplate.yaml": [
            namespace.make_service_account(workflow.WORKFLOW),
            *workflow.make_workflow_role(),
            workflow.make_workflow_template(steps, f"{REGISTRY}/cropmask-indexer"),
        ],
        "argo-cronworkflows.yaml": [
            workflow.make_cron_workflow(region, schedule) for region, schedule in _schedules()
        ],
        "campaign-cronjobs.yaml": [
            workflow.make_campaign_cron_job(indexer, workflow.make_parameters(region), schedule)
            for region, schedule in _schedules()
        ],
    }


def _schedules() -> Iterator[tuple[str, str]]:
    """Every region once a day, a few minutes after each other."""
    for number, region in enumerate(REGIONS):
        yield region, f"{7 * number} 4 * * *"


def make_batch() -> dict[str, Any]:
    """AWS Batch's job definition."""
    roles = {
        "job_role": f"arn:aws:iam::{ACCOUNT}:role/cropmask-worker",
        "execution_role": f"arn:aws:iam::{ACCOUNT}:role/ecsTaskExecutionRole",
    }
    left = {contract.ENV_QUEUE, contract.ENV_DEAD_LETTERS}
    settings = {name: value for name, value in SETTINGS.items() if name not in left}
    return awsbatch.make_job_definition(IMAGE, settings, **roles)


def encode_files() -> dict[str, str]:
    """Text by the name of its file."""
    texts = {
        name: _HEAD + yaml.safe_dump_all(_plain(documents), sort_keys=False, width=100)
        for name, documents in make_files().items()
    }
    texts |= {
        f"campaigns/{region}.yaml": _HEAD
        + yaml.safe_dump(workflow.make_parameters(region), sort_keys=False)
        for region in REGIONS
    }
    texts["batch-job-definition.json"] = json.dumps(make_batch(), indent=2) + "\n"
    return texts


def _plain(documents: list[dict[str, Any]]) -> Any:  # noqa: ANN401 (JSON)
    """Without values that stand twice, which YAML would write as anchors."""
    return json.loads(json.dumps(documents))


def main() -> None:
    """Write the files."""
    for name, text in encode_files().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text)
        print(FOLDER / name)  # noqa: T201 (a command)


if __name__ == "__main__":
    main()
