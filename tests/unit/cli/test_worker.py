"""The worker's command line: mistakes give one line and their code, before anything is taken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cropmask.contract import ExitCode
from cropmask.grid import Tile
from cropmask.queue.folder import FolderQueue
from cropmask.queue.protocol import Message
from cropmask.task import Period, Task

CROPMASK = Path(sys.executable).with_name("cropmask")


def run(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), **environ}
    return subprocess.run(
        [CROPMASK, "worker", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "environ", "code", "text"),
    [
        (["--lease", "0"], {}, ExitCode.USAGE, "--lease"),
        (["--time-limit", "50000"], {}, ExitCode.USAGE, "--time-limit"),
        (["--tasks", "none.jsonl"], {}, ExitCode.MISCONFIGURED, "JOB_COMPLETION_INDEX"),
        (
            [],
            {"CROPMASK_TASKS": "none.jsonl", "JOB_COMPLETION_INDEX": "0"},
            ExitCode.MISCONFIGURED,
            "no task file",
        ),
        (["--output", "s3://bucket/x"], {}, ExitCode.MISCONFIGURED, "no queue is named"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, words: list[str], environ: dict[str, str], code: ExitCode, text: str
) -> None:
    result = run(tmp_path, *words, "--log-format", "text", **environ)
    assert result.returncode == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("cropmask-*"))


def test_errors_of_a_pod_are_json(tmp_path: Path) -> None:
    result = run(tmp_path, "--env", "prod", CROPMASK_LOG_FORMAT="json")
    assert result.returncode == ExitCode.MISCONFIGURED
    line = json.loads(result.stderr.splitlines()[-1])
    assert (line["level"], line["exit_code"]) == ("error", 13)


@pytest.mark.parametrize(
    ("words", "code", "dead"),
    [(["--breaker", "2"], ExitCode.MISCONFIGURED, 1), (["--breaker", "0"], ExitCode.DONE, 3)],
)
def test_the_same_cause_in_a_row_stops_it(
    tmp_path: Path, words: list[str], code: ExitCode, dead: int
) -> None:
    queue = FolderQueue(tmp_path / "output" / "_queue")
    tasks = [Task(Tile(x, 20), "atlantis", Period.parse("2019")) for x in (10, 11, 12)]
    queue.send([Message(task.to_json()) for task in tasks])
    ended = run(tmp_path, *words, "--log-format", "json")
    assert ended.returncode == code, ended.stderr
    said = [line for line in ended.stderr.splitlines() if "in a row, from" in line]
    assert len(said) == (1 if code else 0)
    assert queue.counts().dead == dead
    assert queue.counts().waiting == 3 - dead


def test_a_heartbeat_replaces_no_file_of_others(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three summers of notes")
    done = run(tmp_path, "--heartbeat", "thesis.txt", "--idle-exit", "0")
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "is no file of this kind" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "three summers of notes"
    for _ in range(2):
        assert run(tmp_path, "--heartbeat", "alive", "--idle-exit", "0").returncode == 0
