"""Words that the package, the manifests and the infrastructure share.

Standard library only, imports nothing of ours: ``jobs/`` and ``infra/`` read
names from here and never need the computing packages.
"""

from __future__ import annotations

from enum import IntEnum

VERSION = "0.1.0"
"""Version of the package; part of every run key."""


class ExitCode(IntEnum):
    """What a process of ours says when it ends; a Job's podFailurePolicy reads it."""

    DONE = 0
    """Done, or skipped because the result is there."""
    USAGE = 2
    """The command line is wrong."""
    REJECTED = 3
    """The task is wrong; never worth a retry."""
    DRAINED = 4
    """Stopped by SIGTERM; the work was returned."""
    FAILED = 10
    """The world failed; a retry may help."""
    TIMED_OUT = 11
    """The attempt exceeded its time limit."""
    MEMORY = 12
    """The attempt exceeded its memory limit."""
    MISCONFIGURED = 13
    """Configuration or credentials are wrong; the whole Job should stop."""
    PLAN_HAS_CHANGES = 20
    """``plan --check`` found work to do."""


ENV_PREFIX = "CROPMASK_"
ENV_ENVIRONMENT = "CROPMASK_ENV"
ENV_CATALOG = "CROPMASK_CATALOG"
ENV_OUTPUT = "CROPMASK_OUTPUT"
ENV_MODELS = "CROPMASK_MODELS"
ENV_CACHE = "CROPMASK_CACHE"
ENV_RESOLUTION = "CROPMASK_RESOLUTION"
ENV_THREADS = "CROPMASK_THREADS"
ENV_MEMORY = "CROPMASK_MEMORY"
ENV_LOG_FORMAT = "CROPMASK_LOG_FORMAT"
ENV_S3_ENDPOINT = "CROPMASK_S3_ENDPOINT"
ENV_S3_ACL = "CROPMASK_S3_ACL"
ENV_S3_UNSIGNED = "CROPMASK_S3_UNSIGNED"
ENV_S3_REQUESTER_PAYS = "CROPMASK_S3_REQUESTER_PAYS"

ENVIRONMENT_VARIABLES = {
    ENV_ENVIRONMENT: "named environment: local, dev or prod",
    ENV_CATALOG: "STAC API, static catalog or folder that holds the GeoMAD items",
    ENV_OUTPUT: "folder or s3:// prefix that results are written to",
    ENV_MODELS: "folder of regions and models, instead of the ones in the package",
    ENV_CACHE: "folder of the made-up demo world",
    ENV_RESOLUTION: "pixel size in meters: 10, 20, 60 or 100",
    ENV_THREADS: "computing threads, instead of the CPUs that the container may use",
    ENV_MEMORY: "memory to stay below, such as 4GB, instead of the container's limit",
    ENV_LOG_FORMAT: "text or json",
    ENV_S3_ENDPOINT: "S3 endpoint, for object stores other than AWS",
    ENV_S3_ACL: "canned ACL of written objects, such as bucket-owner-full-control",
    ENV_S3_UNSIGNED: "1 to read public buckets without credentials",
    ENV_S3_REQUESTER_PAYS: "1 to pay for reads from requester-pays buckets",
}
"""Every environment variable that the package reads, and what it means."""
