"""Environment variables that nobody reads: a misspelled one must not be passed over in silence."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from cropmask.contract import ENV_PREFIX, ENVIRONMENT_VARIABLES
from cropmask.errors import Misconfigured, Reason, find_closest

_LIKENESS: Final = 0.7
"""How much a name is like one of ours, of 1, from which it counts as a misspelling of it."""
_OF_SERVICES: Final = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$"
)
"""Ends of names that Kubernetes gives to every container beside a service called like us."""

log = logging.getLogger(__name__)


def check_variables(environ: Mapping[str, str]) -> None:
    """Refuse a variable whose name is nearly one of ours, and warn of others with our prefix.

    Raises Misconfigured: with a default in place of what was asked for, a run may take the wrong
    inputs.
    """
    unknown = sorted(
        name
        for name, value in environ.items()
        if value and name.upper().startswith(ENV_PREFIX) and name not in ENVIRONMENT_VARIABLES
    )
    words = {known.removeprefix(ENV_PREFIX): known for known in ENVIRONMENT_VARIABLES}
    others = []
    for name in unknown:
        if _OF_SERVICES.search(name):
            continue
        close = find_closest(name[len(ENV_PREFIX) :], words, _LIKENESS)
        if close is not None:
            raise Misconfigured(
                f"the environment variable {name} is unknown: did you mean {words[close]}?",
                reason=Reason.BAD_VALUE,
            )
        others.append(name)
    if others:
        _warn(", ".join(others))


@cache
def _warn(names: str) -> None:
    log.warning("unknown environment variables are ignored: %s", names)
