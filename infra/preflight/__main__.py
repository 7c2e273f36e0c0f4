"""``python -m infra.preflight ENV``: every answer in a line, with what to do.

Exit codes: 0 ready; 2 no such environment; 13 AWS cannot be asked; 20 something must be done first.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cropmask.contract import ExitCode
from infra.places import BUDGETS_REGION
from infra.preflight.account import (
    check_bootstrap,
    check_names,
    check_placeholders,
    check_quotas,
    check_region,
    check_roles,
    check_zones,
)
from infra.preflight.charts import check_charts, check_images
from infra.preflight.finding import Ask, Check, Finding, Level, unknown
from infra.preflight.image import check_own_images
from infra.preflight.nodes import check_addons, check_kubernetes, check_prices, check_types
from infra.settings import load_settings

ANYWHERE: Final[tuple[Check, ...]] = (
    check_placeholders,
    check_charts,
    check_images,
    check_own_images,
)
"""What can be asked although the region is not enabled."""
IN_THE_REGION: Final[tuple[Check, ...]] = (
    *(check_zones, check_bootstrap, check_quotas, check_types, check_kubernetes),
    *(check_addons, check_roles, check_names, check_prices),
)
_SECONDS: Final = 30
_NOT_THERE: Final = (401, 403, 404)


@dataclass(frozen=True, slots=True)
class _Here:
    """The machine that this runs on."""

    def runs(self, *command: str) -> bool:
        if shutil.which(command[0]) is None:
            return False
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        return done.returncode == 0

    def architecture(self) -> str:
        return platform.machine()


def fetch(url: str, headers: dict[str, str]) -> bytes | None:
    """Content at an address; None if there is nothing for everybody."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (https, by our own pins)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        if error.code in _NOT_THERE:
            return None
        raise
    return content


def _client(service: str, region: str) -> Any:  # noqa: ANN401 (boto3's own)
    return boto3.client(service, region_name=region)


def look(ask: Ask) -> Iterator[Finding]:
    """Every answer; what cannot be asked is one too."""
    enabled = list(_try(check_region, ask))
    yield from enabled
    for check in ANYWHERE:
        yield from _try(check, ask)
    if any(found.level is Level.MISSING for found in enabled):
        yield unknown(f"nothing else can be asked in {ask.settings.region} before it is enabled")
        return
    for check in IN_THE_REGION:
        yield from _try(check, ask)


def _try(check: Check, ask: Ask) -> Iterator[Finding]:
    about = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        yield from check(ask)
    except ClientError as error:
        yield unknown(
            f"{about}: {error.response['Error'].get('Code')} for {error.operation_name}",
            "ask with credentials that may read it",
        )
    except (BotoCoreError, OSError) as error:
        yield unknown(f"{about}: {' '.join(str(error).split())}", "try again")


def main(arguments: list[str] | None = None) -> int:
    """Print what was found about the environment on the command line."""
    named = sys.argv[1:] if arguments is None else arguments
    try:
        settings = load_settings(named[0] if named else "")
    except ValueError as error:
        return _stop(str(error), ExitCode.USAGE)
    try:
        account = _client("sts", BUDGETS_REGION).get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        return _stop(f"AWS cannot be asked: {error}", ExitCode.MISCONFIGURED)
    if account != settings.account:
        return _stop(
            f"credentials are of account {account}, the settings of {settings.name} say "
            f"{settings.account}: write yours into infra/environments/{settings.name}.py, or "
            "change credentials",
            ExitCode.MISCONFIGURED,
        )
    return report(Ask(settings, _client, fetch, _Here()))


def report(ask: Ask) -> int:
    """Print every answer and, last, what they mean together."""
    found = []
    for finding in look(ask):
        found.append(finding)
        print(finding, flush=True)  # noqa: T201 (a command)
    todo = sum(finding.level is Level.MISSING for finding in found)
    doubtful = sum(finding.level is Level.UNKNOWN for finding in found)
    also = f", {doubtful} could not be asked" if doubtful else ""
    name = ask.settings.name
    verdict = f"{todo} things to do before {name} can be deployed" if todo else f"{name} is ready"
    print(f"{verdict}{also}")  # noqa: T201 (a command)
    return int(ExitCode.PLAN_HAS_CHANGES if todo else ExitCode.DONE)


def _stop(why: str, code: ExitCode) -> int:
    print(f"cropmask: {' '.join(why.split())}", file=sys.stderr)  # noqa: T201 (a command)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
