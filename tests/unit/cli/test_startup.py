"""Help is quick: a program that only explains itself loads nothing that it does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median

import pytest

BARE = "import click\n@click.command()\ndef bare(): pass\nbare()"
RUNS, TRIES = 7, 3

HEAVY = (
    "boto3 botocore joblib numba numpy odc pydantic pyproj pystac pystac_client rasterio requests "
    "rio_cogeo shapely sklearn starlette tqdm xarray yaml"
).split()
LOADED_BY_HELP = """
import json, sys
import click
from cropmask.cli.job import job
from cropmask.cli.main import cropmask

def show_help(command, path):
    try:
        command.main([*path, "--help"], standalone_mode=False)
    finally:
        print(json.dumps([" ".join(path), sorted(sys.modules)]), file=sys.stderr)

def walk(command, path):
    show_help(cropmask, path)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            walk(command.get_command(context, name), [*path, name])

show_help(job, [])
walk(cropmask, [])
"""


def cpu_seconds(code: str) -> float:
    """CPU time of a Python program that shows its help: a busy machine does not make it longer."""
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code, "--help"],
        {**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("program", ["cropmask", "cropmask_job"])
def test_help_takes_at_most_twice_the_time_of_a_bare_program(program: str) -> None:
    ours = f"from cropmask.cli.entry import {program}; {program}()"
    ratios = []
    for _ in range(TRIES):
        times = [(cpu_seconds(BARE), cpu_seconds(ours)) for _ in range(RUNS)]
        bare, own = zip(*times, strict=True)
        ratios.append(median(own) / median(bare))
        if ratios[-1] <= 2:
            return
    pytest.fail(f"help takes {ratios} times as long as that of a bare click program")


def test_no_help_loads_a_heavy_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_HELP], capture_output=True, text=True, check=True
    )
    shown = [json.loads(line) for line in done.stderr.splitlines()]
    names = {name for name, _ in shown}
    assert {"", "worker", "catalog serve", "models import"} <= names
    for name, modules in shown:
        loaded = {module.partition(".")[0] for module in modules}
        assert loaded & set(HEAVY) == set(), f"cropmask {name} --help"
