"""What operators set where they work: ``eval "$(make -s variables ENV=dev)"``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from cropmask import contract
from infra.places import Places
from infra.settings import Settings, load_settings

_PROGRAMS = Path(__file__).parents[1] / ".venv/bin"


def operator_variables(settings: Settings) -> dict[str, str]:
    """Variables of the package for an environment; workers have them too."""
    places = Places(settings)
    return {
        contract.ENV_ENVIRONMENT: settings.workers.site,
        contract.ENV_OUTPUT: places.output,
        contract.ENV_QUEUE: places.tasks.url,
        contract.ENV_DEAD_LETTERS: places.dead_letters.url,
        contract.ENV_CPU_HOUR_PRICE: str(settings.workers.cpu_hour_price),
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
    }


def main(arguments: list[str]) -> int:
    """Print them as a shell reads them, and where the command ``cropmask`` is."""
    try:
        settings = load_settings(arguments[0] if arguments else "")
    except ValueError as error:
        print(f"cropmask: {error}", file=sys.stderr)  # noqa: T201 (a command)
        return int(contract.ExitCode.USAGE)
    for name, value in operator_variables(settings).items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201
    print(f'export PATH={shlex.quote(str(_PROGRAMS))}:"$PATH"')  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
