"""Runs in the Open Data Cube's own Python: its programs one after another, and questions to it.

Given a JSON list of steps, ``["program", [arguments]]`` or ``["ask", [products]]``, it answers each
with a line of JSON that begins with a mark. One process does all steps, since datacube takes
seconds to load. Nothing of ours is imported here: this file is handed over as text.
"""

import json
import os
import sys
from importlib.metadata import entry_points

MARK = "#cropmask# "


def _say(**answer: object) -> None:
    sys.stdout.flush()
    print(f"\n{MARK}{json.dumps(answer)}", flush=True)  # noqa: T201 (this is a program)


def _call(name: str, arguments: list[str]) -> None:
    found = list(entry_points(group="console_scripts", name=name))
    if not found:
        _say(step=name, error=f"there is no program {name}", absent=True)
        return
    try:
        found[0].load().main(arguments, standalone_mode=False)
        _say(step=name)
    except SystemExit as ended:
        _say(step=name, code=ended.code)
    except Exception as error:  # noqa: BLE001 (whatever the programs raise is told)
        _say(step=name, error=f"{type(error).__name__}: {error}"[:500])


def _ask(names: list[str], environment: str) -> None:
    try:
        import datacube  # type: ignore[import-not-found,unused-ignore]

        cube = datacube.Datacube(env=environment or None, app="cropmask-index")
        known = {product.name for product in cube.index.products.get_all()} & set(names)
        runs = {
            str(found.id): str(found.metadata_doc.get("properties", {}).get("cropmask:run_key"))
            for name in sorted(known)
            for found in cube.index.datasets.search(product=name)
        }
        _say(step="ask", products=sorted(known), datasets=runs)
    except Exception as error:  # noqa: BLE001
        absent = isinstance(error, ImportError)
        _say(step="ask", error=f"{type(error).__name__}: {error}"[:500], absent=absent)


def main(steps: list[tuple[str, list[str]]], environment: str) -> None:
    """Do the steps in order."""
    for name, arguments in steps:
        if name == "ask":
            _ask(arguments, environment)
        else:
            _call(name, arguments)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
    sys.stderr.flush()
    # Where s3-to-dc fails it leaves a thread behind for which an exit would wait for ever.
    os._exit(0)
