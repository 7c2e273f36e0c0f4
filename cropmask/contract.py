"""Words that the package, the manifests and the infrastructure share.

Standard library only, imports nothing of ours: ``jobs/`` and ``infra/`` read
names from here and never need the computing packages.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, Self, get_args

VERSION = "0.1.0"
"""Version of the package; part of every run key."""


class ExitCode(IntEnum):
    """What a process of ours says when it ends; a Job's podFailurePolicy reads it.

    Each member carries what it means, and whether another try is worth it.
    """

    meaning: str
    retry: str

    def __new__(cls, code: int, meaning: str, retry: str) -> Self:
        """A member from its number, what it means, and whether another try is worth it."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.retry = retry
        return member

    DONE = 0, "done, or skipped because the same result is there", ""
    USAGE = 2, "the command line is wrong", "no"
    REJECTED = (
        3,
        "the task is wrong: unknown region, tile outside it, GeoMAD missing or doubled, band "
        "missing, wrong CRS, an input that does not exist, is no raster or answers 403, model "
        "digest differs, another result is there",
        "no",
    )
    DRAINED = (
        4,
        "stopped by SIGTERM or Ctrl-C; an unfinished tile is not published, an unfinished file not "
        "left",
        "yes",
    )
    FAILED = (
        10,
        "reading or writing failed: network, server error, truncated file, disk full",
        "yes",
    )
    TIMED_OUT = 11, "the time limit of the attempt was exceeded (`cropmask worker --tasks`)", "yes"
    MEMORY = 12, "the memory limit was exceeded", "with more memory"
    MISCONFIGURED = (
        13,
        "configuration or credentials are wrong, or a worker met the same failure on 10 tiles of "
        "several runs in a row: unreadable region file, output that cannot be written, no such "
        "catalog, access to catalog or output denied, credentials missing, expired or unknown",
        "no, stop everything",
    )
    PLAN_HAS_CHANGES = (
        20,
        "`cropmask plan --check` found work to do, or `cropmask reconcile`, or `cropmask submit "
        "--canary` among the first tiles of a run, something that is not as it must be",
        "",
    )


LEASE_SECONDS = 300
"""How long a worker may keep a message without renewing its lease (visibility timeout)."""
LONGEST_LEASE_SECONDS = 43_200
"""SQS keeps no message in flight for longer, however often its lease is renewed."""
MAX_RECEIVES = 5
"""Receives of a message before the queue moves it to its dead letters (maxReceiveCount)."""
POLL_SECONDS = 20
"""How long a receive waits for a message (long poll)."""
GRACE_SECONDS = 100
"""Time from SIGTERM to SIGKILL; a spot instance is taken 120 s after its notice."""
TIME_LIMIT_SECONDS = 3600
"""Time after which an attempt is stopped."""
BREAKER_TILES = 10
"""Different tiles of a run in a row that fail for the same reason, at which it is stopped."""
BACKOFF_SECONDS = 15
"""First wait before a failed task is tried again; doubles with every receive."""
LONGEST_BACKOFF_SECONDS = 900
"""Longest such wait."""
HEARTBEAT_SECONDS = 10
"""Interval of the heartbeat file."""
HEARTBEAT_LATE_SECONDS = 120
"""Age of the heartbeat file at which a worker counts as dead."""

APP = "cropmask"
"""Value of the label ``app.kubernetes.io/name``, namespace, and prefix of names."""
NAMESPACE = APP
SERVICE_ACCOUNT = f"{APP}-worker"
WORKER = f"{APP}-worker"
"""Name of the worker's container and of its Jobs' prefix."""
BATCH_TAINT = f"{APP}/batch"
"""Label and taint of the nodes that run tiles; the value is ``true``."""
WORKER_CPUS = 2
"""Threads of one worker, and CPUs of a node that it takes and that its time costs."""
WORKER_CPU = "1800m"
WORKER_MEMORY = "3300Mi"
"""What one worker asks for, so that four fill a node of 8 CPUs and 16 or 32 GiB beside what runs on
every node (`docs/deploy.md`); a 10 m tile needs less than two thirds of the memory."""
WORKER_DISK = "6Gi"
"""Disk that one worker asks for: for the folders that it writes to (`kube/workermanifests.py`)."""
METRICS_NAMESPACE = "CropMask"
COLORS = "_colors"
"""Folder of colors that tiles share in the store of results; no product is named so."""
SERIES = "_series"
"""Folder of what series of a region are smoothed with, in the store of results; no product is named
so."""
RUNS = "_runs"
"""Folder of runs and attempts in the store of results; no product is named so."""

CAMPAIGN_STEPS = (
    *("doctor", "plan", "canary", "submit", "wait"),
    *("reconcile", "catalog", "index", "report"),
)
"""What a campaign does, in this order."""

LABEL_RUN = f"{APP}/run"
LABEL_REGION = f"{APP}/region"
LABEL_ENVIRONMENT = f"{APP}/environment"

METRIC_SUCCEEDED = "TilesSucceeded"
METRIC_SKIPPED = "TilesSkipped"
METRIC_FAILED = "TilesFailed"
METRIC_INVALID = "TilesInvalid"
METRIC_SECONDS = "TileSeconds"
METRIC_PEAK_MEMORY = "TilePeakMemory"
METRIC_LOST = "AttemptsLost"
METRIC_ALIVE = "WorkersAlive"
METRIC_STOPPED = "RunsStopped"
METRIC_BUDGET = "RunBudgetUsed"
METRICS = {
    METRIC_SUCCEEDED: "Count",
    METRIC_SKIPPED: "Count",
    METRIC_FAILED: "Count",
    METRIC_INVALID: "Count",
    METRIC_SECONDS: "Seconds",
    METRIC_PEAK_MEMORY: "Bytes",
    METRIC_LOST: "Count",
    METRIC_ALIVE: "Count",
    METRIC_STOPPED: "Count",
    METRIC_BUDGET: "Percent",
}
"""Metrics that workers put, with their units."""
METRIC_DIMENSIONS = ("Environment", "Region")
"""Dimensions of metrics: the environment of the worker's site, and the region mapped; the first
alone where no region is known, as of a message that names none, or of the worker itself."""
METRIC_SECONDS_APART = 60
"""A worker puts its metrics, and that it is alive, about so often."""

INDEX_VARIABLES = ("JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX")
"""Where Kubernetes and AWS Batch say which task of a task file a process is to run."""

Environment = Literal["local", "dev", "prod"]
ENVIRONMENTS: tuple[Environment, ...] = get_args(Environment)
"""Named environments: the made-up demo world, and two that read public data."""

ENV_PREFIX = "CROPMASK_"
ENV_CONFIG = "CROPMASK_CONFIG"
ENV_ENVIRONMENT = "CROPMASK_ENV"
ENV_CATALOG = "CROPMASK_CATALOG"
ENV_OUTPUT = "CROPMASK_OUTPUT"
ENV_MODELS = "CROPMASK_MODELS"
ENV_REGION_FILES = "CROPMASK_REGION_FILES"
ENV_CACHE = "CROPMASK_CACHE"
ENV_RESOLUTION = "CROPMASK_RESOLUTION"
ENV_BANDS = "CROPMASK_BANDS"
ENV_SEAMLESS = "CROPMASK_SEAMLESS"
ENV_THREADS = "CROPMASK_THREADS"
ENV_MEMORY = "CROPMASK_MEMORY"
ENV_LOG_FORMAT = "CROPMASK_LOG_FORMAT"
ENV_QUEUE = "CROPMASK_QUEUE"
ENV_DEAD_LETTERS = "CROPMASK_DEAD_LETTERS"
ENV_TASKS = "CROPMASK_TASKS"
ENV_MAX_TASKS = "CROPMASK_MAX_TASKS"
ENV_MAX_MINUTES = "CROPMASK_MAX_MINUTES"
ENV_IDLE_EXIT = "CROPMASK_IDLE_EXIT"
ENV_TIME_LIMIT = "CROPMASK_TIME_LIMIT"
ENV_BREAKER = "CROPMASK_BREAKER"
ENV_HEARTBEAT = "CROPMASK_HEARTBEAT"
ENV_METRICS = "CROPMASK_METRICS"
ENV_SQS_ENDPOINT = "CROPMASK_SQS_ENDPOINT"
ENV_IMAGE = "CROPMASK_IMAGE"
ENV_NAMESPACE = "CROPMASK_NAMESPACE"
ENV_TOPIC = "CROPMASK_TOPIC"
ENV_CPU_HOUR_PRICE = "CROPMASK_CPU_HOUR_PRICE"
ENV_S3_ENDPOINT = "CROPMASK_S3_ENDPOINT"
ENV_VERIFY_INPUTS = "CROPMASK_VERIFY_INPUTS"
ENV_STRICT_INPUTS = "CROPMASK_STRICT_INPUTS"
ENV_TRUST_CATALOG = "CROPMASK_TRUST_CATALOG"
ENV_LIMITS = "CROPMASK_LIMITS"
ENV_S3_ACL = "CROPMASK_S3_ACL"
ENV_S3_UNSIGNED = "CROPMASK_S3_UNSIGNED"
ENV_S3_REQUESTER_PAYS = "CROPMASK_S3_REQUESTER_PAYS"

ENVIRONMENT_VARIABLES = {
    ENV_CONFIG: "file of settings, instead of a cropmask.toml here or in a folder above",
    ENV_ENVIRONMENT: "named environment: local, dev or prod",
    ENV_CATALOG: "STAC API, static catalog or folder that holds the GeoMAD items",
    ENV_OUTPUT: "folder or s3:// prefix that results are written to",
    ENV_MODELS: "folder of regions and models, instead of the ones in the package",
    ENV_REGION_FILES: "region files that a worker knows beside that folder, separated by ':'",
    ENV_CACHE: "folder of the made-up demo world",
    ENV_RESOLUTION: "pixel size in meters: 10, 20, 60 or 100",
    ENV_BANDS: "extra bands, such as +calibrated,+spread,+dissimilarity",
    ENV_SEAMLESS: "1 to segment tiles with shared colors and a margin of their neighbors",
    ENV_THREADS: "computing threads, instead of the CPUs that the container may use",
    ENV_MEMORY: "memory to stay below, such as 4GB, instead of the container's limit",
    ENV_LOG_FORMAT: "text or json",
    ENV_QUEUE: "queue of tasks: the URL of an SQS queue, or a folder",
    ENV_DEAD_LETTERS: "URL of the queue's dead letters, if its redrive policy may not be read",
    ENV_TASKS: "task file from which a worker picks its task by index, instead of a queue",
    ENV_MAX_TASKS: "tasks after which a worker leaves",
    ENV_MAX_MINUTES: "minutes after which a worker takes no more tasks",
    ENV_IDLE_EXIT: "seconds without a task after which a worker leaves",
    ENV_TIME_LIMIT: "seconds after which an attempt is stopped",
    ENV_BREAKER: "different tiles of a run in a row with the same failure that stop it; 0: never",
    ENV_HEARTBEAT: "file that a worker touches while it is alive",
    ENV_METRICS: "CloudWatch namespace of the worker's metrics; none are put without it",
    ENV_SQS_ENDPOINT: "SQS endpoint, for stand-ins of AWS",
    ENV_IMAGE: "container image of the workers that 'cropmask submit' starts",
    ENV_NAMESPACE: "Kubernetes namespace of the workers",
    ENV_TOPIC: "SNS topic that is told of the start, the end and troubles of a campaign",
    ENV_CPU_HOUR_PRICE: "dollars for an hour of one CPU, and where wanted date and source",
    ENV_S3_ENDPOINT: "S3 endpoint, for object stores other than AWS",
    ENV_VERIFY_INPUTS: "0 to trust GeoMAD files whose items declare a checksum or size; "
    "all to fetch remote files whole for it, however little of them is read",
    ENV_STRICT_INPUTS: "1 to refuse a tile with several versions of an input",
    ENV_TRUST_CATALOG: "1 to let items point outside the catalog's folder, or to any server",
    ENV_LIMITS: "limits on what is read from others, such as pages=500,levels=80",
    ENV_S3_ACL: "canned ACL of written objects, such as bucket-owner-full-control",
    ENV_S3_UNSIGNED: "1 to read public buckets without credentials",
    ENV_S3_REQUESTER_PAYS: "1 to pay for reads from requester-pays buckets",
}
"""Every environment variable that the package reads, and what it means."""
